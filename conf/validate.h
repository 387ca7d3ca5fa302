// conf/validate.h -- from a draft to a Config that can be served: what was left open is filled in, and keys
// are checked against each other.
#pragma once
#include <vector>

#include "conf/config.h"
#include "conf/diagnostic.h"

namespace sidepool::conf {

// Names, listeners (127.0.0.1 from port 5432 on), socket files, the opt-in of listeners, the slash of the
// endpoint. Applying it again changes nothing.
void complete(Config& config);

// Every rule across keys that a completed configuration breaks, each at the place where the file says it.
std::vector<Diagnostic> validate(const Config& config, const Places& places);

}  // namespace sidepool::conf
