// src/check/check.h -- `sidepool check`: the troubleshooting section of the Auth Proxy's guide as a command.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "conf/config.h"

namespace sidepool::check {

// Checks what a start with this configuration would need, from credentials to a login, and prints one line a
// check. Serves nobody and changes nothing. `environment` as in cli::Inputs: PGUSER, PGPASSWORD and
// PGDATABASE choose the login that is tried. The exit code: 0, or 1 if a check has failed. REQUIRES: SIGPIPE
// is ignored.
int run(const conf::Config& config,
        const std::function<std::optional<std::string>(const std::string& name)>& environment,
        const std::function<void(std::string_view line)>& print);

}  // namespace sidepool::check
