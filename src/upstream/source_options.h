// src/upstream/source_options.h -- what the configuration says about Google, in cloudsql/'s words.
#pragma once
#include <string_view>

#include "conf/config.h"
#include "src/cloudsql/source.h"

namespace sidepool::upstream {

// Everything but the hooks; reads the process's environment. `version` is sidepool's own, for the user agent.
cloudsql::SourceOptions source_options(const conf::CloudSqlConfig& conf, std::string_view version);

}  // namespace sidepool::upstream
