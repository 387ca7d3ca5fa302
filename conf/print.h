// conf/print.h -- a Config as TOML text, which reads back as the same Config except for the secrets.
#pragma once
#include <string>

#include "conf/config.h"

namespace sidepool::conf {

// Every key with its effective value; secrets masked; keys without a value as comments.
std::string print_config(const Config& config);

}  // namespace sidepool::conf
