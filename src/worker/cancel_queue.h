// src/worker/cancel_queue.h -- which CancelRequests of an upstream may be on their way (pool.max_cancels).
#pragma once
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

namespace sidepool::worker {

// First come, first served over all workers; a turn is somebody's from the moment it is given. Thread-safe.
class CancelQueue {
 public:
  // True: it is the caller's turn. False: it will be told when it is.
  bool enter(std::uint16_t worker, std::uint32_t most) {
    const std::lock_guard lock(mutex_);
    if (running_ < most) {
      ++running_;
      return true;
    }
    waiting_.push_back(worker);
    return false;
  }
  // Ends a turn. The worker to be told that the first of its waiting ones has the next.
  std::optional<std::uint16_t> leave(std::uint32_t most) {
    const std::lock_guard lock(mutex_);
    --running_;
    if (waiting_.empty() || running_ >= most) return std::nullopt;
    const auto next = waiting_.front();
    waiting_.pop_front();
    ++running_;
    return next;
  }
  bool empty() const {
    const std::lock_guard lock(mutex_);
    return running_ == 0 && waiting_.empty();
  }

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::uint32_t running_ = 0;
  std::deque<std::uint16_t> waiting_;
};

}  // namespace sidepool::worker
