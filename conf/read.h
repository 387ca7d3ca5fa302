// conf/read.h -- the text of a configuration file to a Config, as the file says it: nothing is filled in and
// no two keys have been compared yet. The command line is laid over it, then see conf/validate.h.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.h"
#include "conf/diagnostic.h"
#include "conf/value.h"

namespace sidepool::conf {

struct Draft {
  Config config{};  // where a key was refused, its default
  Places places{};
  std::vector<Diagnostic> diagnostics{};  // in the order of the file; empty: everything was understood
};

// `file` is the name for diagnostics.
Draft read_config(std::string_view text, const std::string& file, const ResolveSecret& resolve);

}  // namespace sidepool::conf
