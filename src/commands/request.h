// src/commands/request.h -- one HTTP request to a sidepool nearby.
#pragma once
#include <string>

#include "src/base/clock.h"
#include "src/base/result.h"

namespace sidepool::commands {

enum class Method : unsigned char { Get, Post };

// The status of the answer, whose body is not read; or in words why there is none. Never by a proxy of the
// environment: these addresses are on this machine or beside it. Blocks for `most` at most.
Result<long> request(Method method, const std::string& url, Duration most);

}  // namespace sidepool::commands
