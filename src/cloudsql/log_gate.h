// cloudsql/log_gate.h -- an error that repeats is logged once a minute, with a count. Pure: time is an
// argument.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidepool::cloudsql {

// Remembers the last eight texts, so that errors which take turns are not news each time. One thread at a
// time.
class LogGate {
 public:
  struct Pass {
    bool first = true;           // of its series: the line that tells the remedy, too
    std::uint64_t left_out = 0;  // of the same since the last line
  };
  // nullopt: stay silent.
  std::optional<Pass> admit(std::string_view text, std::chrono::milliseconds now) {
    constexpr std::size_t kMost = 8;
    // A series has ended when nothing of it came for so long.
    constexpr std::chrono::milliseconds kInterval = std::chrono::minutes{1},
                                        kForgotten = std::chrono::hours{1};
    auto it = std::find_if(series_.begin(), series_.end(), [&](const Series& s) { return s.text == text; });
    if (it != series_.end() && now - it->last > kForgotten) it = series_.erase(it), it = series_.end();
    if (it == series_.end()) {
      if (series_.size() == kMost)
        series_.erase(std::min_element(series_.begin(), series_.end(),
                                       [](const Series& a, const Series& b) { return a.last < b.last; }));
      series_.push_back({std::string{text}, now, now + kInterval, 0});
      return Pass{};
    }
    it->last = now;
    if (now < it->until) {
      ++it->left_out;
      return std::nullopt;
    }
    it->until = now + kInterval;
    return Pass{false, std::exchange(it->left_out, 0)};
  }
  // The trouble is over: the same error later is news again.
  void reset() { series_.clear(); }

 private:
  struct Series {
    std::string text;
    std::chrono::milliseconds last, until;
    std::uint64_t left_out = 0;
  };
  std::vector<Series> series_;
};

}  // namespace sidepool::cloudsql
