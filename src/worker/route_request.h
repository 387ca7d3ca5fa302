// src/worker/route_request.h -- who waits for the way to an upstream.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "src/base/timer_wheel.h"
#include "src/upstream/attempt.h"
#include "src/worker/messages.h"
#include "src/worker/upstream.h"

namespace sidepool::worker {

class Worker;

// Lives on one worker. Destroying it takes the wish back.
class RouteRequest {
 public:
  using Found = std::function<void(Result<upstream::Route>, std::uint64_t epoch)>;
  RouteRequest() noexcept;
  RouteRequest(const RouteRequest&) = delete;
  RouteRequest& operator=(const RouteRequest&) = delete;
  ~RouteRequest() { cancel(); }

  // `found` is called from the loop, or before this returns when the answer is at hand.
  void start(Worker& worker, Upstream& upstream, bool unix_listener, Found found);
  // After a dial of what was found has failed: the instance may have moved. `found` is called from the loop
  // with a way that leads elsewhere, when the settings have been fetched anew; or with an error, if they lead
  // to the same addresses, may not be fetched now, or are not there at `until`. False, and no call: the
  // failure says nothing about addresses, or it is the second one since start().
  bool look_again(const upstream::Failure& failure, Time until, Found found);
  void cancel() noexcept;
  // How long the way was waited for: part of a dial, as the connector counts it.
  Duration waited() const noexcept { return waited_; }

 private:
  friend class Worker;
  void ask(std::uint64_t newer_than);
  // What the api thread says; REQUIRES: waiting.
  void answered(Result<cloudsql::InfoPtr> answer);
  void on_timeout() noexcept;
  Found stop_waiting() noexcept;
  Result<upstream::Route> route_by(const cloudsql::ConnectionInfo& info);

  Worker* worker_ = nullptr;
  Upstream* upstream_ = nullptr;
  bool unix_ = false;
  bool waiting_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t tried_epoch_ = 0;
  std::vector<upstream::Endpoint> tried_;
  bool again_ = false;  // it is looked, or has been
  Time began_{};
  Duration waited_{};
  TimerNode timer_;
  Found found_;
};

}  // namespace sidepool::worker
