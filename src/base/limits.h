// src/base/limits.h -- what main asks of the operating system before anything else.
#pragma once
#include <cstdint>

#include "src/base/result.h"

namespace sidepool {

struct OpenFiles {
  std::uint64_t before, now;  // soft limits; UINT64_MAX: unlimited
};
// Raises RLIMIT_NOFILE to its hard limit. On failure the old limit stays.
Result<OpenFiles> raise_open_files() noexcept;

// A peer that is gone must be an error value, not a signal: OpenSSL writes with write(2), which has no
// MSG_NOSIGNAL.
void ignore_sigpipe() noexcept;

}  // namespace sidepool
