// src/worker/route_request.cpp -- see route_request.h.
#include "src/worker/route_request.h"

#include <utility>

#include "src/worker/dial_result.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

RouteRequest::RouteRequest() noexcept
    : timer_([](TimerNode& n) noexcept { owner_of<&RouteRequest::timer_>(n).on_timeout(); }) {}

void RouteRequest::start(Worker& worker, Upstream& upstream, bool unix_listener, Found found) {
  cancel();
  worker_ = &worker;
  upstream_ = &upstream;
  unix_ = unix_listener;
  again_ = false;
  waited_ = {};
  if (!upstream.is_cloudsql()) return found(upstream.host_route(), 0);
  if (auto info = upstream.cloudsql()->current(upstream.instance_key())) {
    return found(route_by(*info), info->epoch);
  }
  found_ = std::move(found);
  ask(0);
}

bool RouteRequest::look_again(const upstream::Failure& failure, Time until, Found found) {
  const bool address = failure.phase == upstream::Phase::Connect || failure.phase == upstream::Phase::Resolve;
  if (!address || !upstream_->is_cloudsql() || std::exchange(again_, true)) return false;
  if (worker_->loop().now() >= until) return false;
  cancel();
  found_ = std::move(found);
  ask(tried_epoch_);
  worker_->loop().arm(timer_, until);
  return true;
}

void RouteRequest::ask(std::uint64_t newer_than) {
  began_ = steady_now();
  waiting_ = true;
  number_ = worker_->await_route(*this);
  upstream_->cloudsql()->request(
      upstream_->instance_key(),
      [worker = worker_, number = number_](Result<cloudsql::InfoPtr> answer) {
        worker->post(InstanceInfo{number, std::move(answer)});
      },
      newer_than);
}

void RouteRequest::answered(Result<cloudsql::InfoPtr> answer) {
  waited_ += steady_now() - began_;
  const auto found = stop_waiting();
  if (!answer) {
    auto& metrics = upstream_->metrics;
    metrics.phase_failed(metrics::DialPhase::Api);
    metrics.dial_failed();
    auto& error = answer.error();
    // What is wrong with our own credentials names files, programs and what they print; the log has it.
    constexpr int kHttpErrors = 400;
    const bool own = error.code == Errc::Auth || error.reason == "command";
    if (own && error.sys < kHttpErrors) error.reason = "credentials";
    return found(tl::unexpected(std::move(error)), 0);
  }
  const auto epoch = (*answer)->epoch;
  const auto before = std::exchange(tried_, {});
  auto route = route_by(**answer);
  if (again_ && route && route->endpoints == before)
    route = fail(Errc::Io, "the instance has not moved", 0, "not_moved");
  found(std::move(route), epoch);
}

// The api thread logs its own errors; that the instance has no address of the wanted type is found here.
Result<upstream::Route> RouteRequest::route_by(const cloudsql::ConnectionInfo& info) {
  auto route = upstream_->instance_route(info, unix_);
  if (route) {
    tried_epoch_ = info.epoch;
    tried_ = route->endpoints;
  } else {
    log_upstream_error(*upstream_, route.error());
    // It may have got the address that it lacks since its settings were read.
    upstream_->cloudsql()->report_dial_failure(upstream_->instance_key(), info.epoch,
                                               cloudsql::DialFailure::Tcp);
  }
  return route;
}

void RouteRequest::on_timeout() noexcept {
  const Worker::Turn turn(*worker_);
  stop_waiting()(fail(Errc::Timeout, "the settings of the instance did not come in time", 0, "timeout"), 0);
}

RouteRequest::Found RouteRequest::stop_waiting() noexcept {
  auto found = std::exchange(found_, nullptr);
  cancel();
  return found;
}

void RouteRequest::cancel() noexcept {
  if (std::exchange(waiting_, false)) worker_->forget_route(number_);
  timer_.disarm();
  found_ = nullptr;
}

}  // namespace sidepool::worker
