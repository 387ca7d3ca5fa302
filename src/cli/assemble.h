// src/cli/assemble.h -- flags and instances laid over what the file says.
#pragma once
#include <string>
#include <vector>

#include "conf/config.h"
#include "conf/diagnostic.h"
#include "src/cli/instance.h"
#include "src/cli/options.h"
#include "src/cli/parse.h"

namespace sidepool::cli {

struct Assembly {
  conf::Config config{};  // as the file says it; changed in place
  conf::Places places{};
  std::vector<Note> notes{};
  std::vector<std::string> errors{};
};

// Instances replace the list of upstreams; an [[upstream]] of the same instance lends them its other keys.
// Without instances the flags change the upstreams of the file that are Cloud SQL instances. Afterwards the
// configuration is still to be completed and validated.
void lay_over(const Options& options, const std::vector<InstanceArgument>& instances, Assembly& assembly);

}  // namespace sidepool::cli
