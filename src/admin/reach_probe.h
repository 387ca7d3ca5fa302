// src/admin/reach_probe.h -- /readiness?deep=1: are the upstreams reached? Tested when somebody asks, by one
// connection to each at a time and not more often than kFresh, however many ask: the Auth Proxy dialled for
// every probe, and gave that up because probes alone could overload an instance.
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/clock.h"

namespace sidepool::admin {

// Thread-safe.
class ReachProbe {
 public:
  static constexpr Duration kFresh = std::chrono::seconds(5);
  // How long a result may stand in for the one that is under way.
  static constexpr Duration kStale = std::chrono::seconds(30);
  // From the beginning of a test, for all who ask meanwhile together: they do so on the HTTP thread, which
  // serves nobody else then; a kubelet gives up after 1 s by default.
  static constexpr Duration kPatience = std::chrono::milliseconds(300);

  // `test` is called by who asks; tested() has to follow sooner or later, from any thread.
  explicit ReachProbe(std::function<void()> test) : test_(std::move(test)) {}

  // What cannot be reached, in one line; empty: everything was. Waits for kPatience at
  // most, and not for a test that is older than that.
  std::string ask();
  void tested(const std::vector<std::string>& failures);

 private:
  struct Result {
    Time at;
    std::string why;
  };
  bool younger_than(Duration age) const { return last_ && steady_now() - last_->at < age; }

  const std::function<void()> test_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool running_ = false;
  Time patient_until_{};
  std::optional<Result> last_;
};

}  // namespace sidepool::admin
