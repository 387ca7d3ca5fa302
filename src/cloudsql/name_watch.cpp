// cloudsql/name_watch.cpp -- see the header.
#include "src/cloudsql/name_watch.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace sidepool::cloudsql {
namespace {
// A condition variable's clock stops while the machine sleeps; poll times do not.
constexpr Millis kMaxSleep = std::chrono::seconds{30};
}  // namespace

NameWatch::NameWatch(DnsLookups dns, std::function<Now()> now, Moved moved, Warn warn)
    : dns_(std::move(dns)), now_(std::move(now)), moved_(std::move(moved)), warn_(std::move(warn)) {}

Status NameWatch::watch(const std::string& name, const NameAnswer& answer) {
  if (google_name(name)) return {};
  {
    const std::lock_guard lock{mutex_};
    if (stopped_) return {};
    names_.insert_or_assign(name, Watched{NamePoll{answer, now_().boot}, {}});
    woken_ = true;
    if (!thread_.joinable()) {
      try {
        thread_ = std::thread{[this] { run(); }};
      } catch (const std::system_error& e) {
        return fail(Errc::Limit, "the thread that watches DNS names could not be started", e.code().value(),
                    "threads");
      }
    }
  }
  changed_.notify_one();
  return {};
}

void NameWatch::forget(const std::string& name) {
  const std::lock_guard lock{mutex_};
  names_.erase(name);
}

void NameWatch::wake() {
  {
    const std::lock_guard lock{mutex_};
    woken_ = true;
  }
  changed_.notify_one();
}

void NameWatch::stop() {
  std::thread thread;
  {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
    thread = std::move(thread_);
  }
  changed_.notify_one();
  if (thread.joinable()) thread.join();
}

void NameWatch::run() {
  std::unique_lock lock{mutex_};
  while (!stopped_) {
    woken_ = false;
    const BootTime now = now_().boot;
    const auto next = std::min_element(names_.begin(), names_.end(), [](const auto& a, const auto& b) {
      return a.second.poll.due() < b.second.poll.due();
    });
    if (next != names_.end() && next->second.poll.due() <= now) {
      ask(std::string{next->first}, lock);
      continue;
    }
    const Millis left = next == names_.end() ? kMaxSleep : next->second.poll.due() - now;
    changed_.wait_for(lock, std::clamp(left, Millis{1}, kMaxSleep), [this] { return stopped_ || woken_; });
  }
}

// The lock is held before and after, not during the lookup and the calls out.
void NameWatch::ask(const std::string& name, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  auto answer = look_up(name, dns_);
  lock.lock();
  const auto found = names_.find(name);
  if (found == names_.end() || stopped_) return;
  Watched& w = found->second;
  const BootTime now = now_().boot;
  if (!answer) {
    w.poll.failed(now);
    const auto left_out = w.gate.admit(answer.error().what, now);
    if (!left_out) return;
    lock.unlock();
    warn_(name + " keeps its instance although the lookup failed: " + answer.error().what);
    return lock.lock();
  }
  w.gate.reset();
  const auto moved = w.poll.answered(std::move(*answer), now);
  if (!moved) return;
  lock.unlock();
  moved_(name, *moved);
  lock.lock();
}

}  // namespace sidepool::cloudsql
