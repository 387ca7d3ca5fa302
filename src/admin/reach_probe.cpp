// src/admin/reach_probe.cpp -- see reach_probe.h.
#include "src/admin/reach_probe.h"

namespace sidepool::admin {

std::string ReachProbe::ask() {
  std::unique_lock lock(mutex_);
  if (!running_ && younger_than(kFresh)) return last_->why;
  if (!running_) {
    running_ = true;
    patient_until_ = steady_now() + kPatience;
    lock.unlock();
    test_();
    lock.lock();
  }
  changed_.wait_until(lock, patient_until_, [this] { return !running_; });
  if (younger_than(kStale)) return last_->why;
  return "the connections to the database are being tested";
}

void ReachProbe::tested(const std::vector<std::string>& failures) {
  std::string all;
  for (const auto& failure : failures) all.append(all.empty() ? "" : "; ").append(failure);
  {
    const std::lock_guard lock(mutex_);
    running_ = false;
    last_ = Result{steady_now(), std::move(all)};
  }
  changed_.notify_all();
}

}  // namespace sidepool::admin
