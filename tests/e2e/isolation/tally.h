// tests/e2e/isolation/tally.h -- what happened in a run, counted by all threads; the findings are what must
// not happen.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace sidepool::isolation {

struct Tally {
  using Count = std::atomic<std::uint64_t>;
  Count logins{0}, refused_logins{0}, checks{0}, transactions{0}, rows{0}, errors_expected{0};
  Count prepared{0}, settings{0}, temp_tables{0}, locks{0}, copies{0}, large{0};
  Count resets{0}, half_messages{0}, abandoned{0}, cancels{0}, cancelled{0};
  Count lost_connections{0}, killed{0}, sweeps{0}, writes{0}, uncertain{0};

  // One line each; more than a few say nothing new.
  void find(std::string what) {
    std::lock_guard lock(mutex_);
    ++found_;
    if (findings_.size() < 20) findings_.push_back(std::move(what));
  }
  std::uint64_t found() const {
    std::lock_guard lock(mutex_);
    return found_;
  }
  std::vector<std::string> findings() const {
    std::lock_guard lock(mutex_);
    return findings_;
  }

 private:
  mutable std::mutex mutex_;
  std::uint64_t found_ = 0;
  std::vector<std::string> findings_;
};

}  // namespace sidepool::isolation
