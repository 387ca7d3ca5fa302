// src/base/clock.h -- the two clocks. Monotonic time orders and limits things; wall time is only for dates
// that the outside world gave us (certificates, tokens, log lines).
#pragma once
#include <chrono>
#include <cstdint>

namespace sidepool {

using Time = std::chrono::steady_clock::time_point;  // the same type as pool::Time
using Duration = std::chrono::steady_clock::duration;
using WallTime = std::chrono::system_clock::time_point;

// Reads the clock; code on a loop prefers io::Loop::now(), which is read once a turn.
inline Time steady_now() noexcept { return std::chrono::steady_clock::now(); }
inline WallTime wall_now() noexcept { return std::chrono::system_clock::now(); }

// Whole microseconds for metrics; negative spans count as 0.
inline std::uint64_t micros(Duration d) noexcept {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  return us > 0 ? static_cast<std::uint64_t>(us) : 0;
}

}  // namespace sidepool
