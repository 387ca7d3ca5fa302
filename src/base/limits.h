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

// SIGTERM, SIGINT and SIGHUP stay pending until release_signals(), in threads that begin meanwhile for ever.
// What comes before there are handlers would end the process, or be lost if that is process 1 of a container.
void hold_signals() noexcept;
// For this thread alone.
void release_signals() noexcept;

// While it exists SIGTERM and SIGINT end the process at once, with 128 and their number, also where it is
// process 1: for what waits before anything is served. Afterwards they are held.
class EndOnSignals {
 public:
  EndOnSignals() noexcept;
  ~EndOnSignals();
  EndOnSignals(const EndOnSignals&) = delete;
  EndOnSignals& operator=(const EndOnSignals&) = delete;
};

// A file that is opened later must not get the number of a standard stream that was closed at the start: what
// is printed would go into it.
void open_standard_streams() noexcept;

// A peer that is gone must be an error value, not a signal: OpenSSL writes with write(2), which has no
// MSG_NOSIGNAL.
void ignore_sigpipe() noexcept;

}  // namespace sidepool
