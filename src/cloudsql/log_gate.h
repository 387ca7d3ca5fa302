// cloudsql/log_gate.h -- an error that repeats is logged once a minute, with a count. Pure: time is an
// argument.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidepool::cloudsql {

class LogGate {
 public:
  // nullopt: stay silent. Otherwise log, and say that so many of the same were left out since the last line.
  std::optional<std::uint64_t> admit(std::string_view text, std::chrono::milliseconds now) {
    if (text == last_ && now < until_) {
      ++left_out_;
      return std::nullopt;
    }
    const std::uint64_t count = text == last_ ? left_out_ : 0;
    last_ = text;
    until_ = now + std::chrono::minutes{1};
    left_out_ = 0;
    return count;
  }
  // The trouble is over: the same error later is news again.
  void reset() {
    last_.clear();
    left_out_ = 0;
  }

 private:
  std::string last_;
  std::chrono::milliseconds until_{0};
  std::uint64_t left_out_ = 0;
};

}  // namespace sidepool::cloudsql
