// src/worker/pass_through_dial.cpp -- how a pass-through client gets its server.
#include <utility>

#include "src/worker/client.h"
#include "src/worker/dial_result.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

void PassThrough::connect() {
  route_.start(worker_, *up_.shared, client_.entrance().reach == io::Reach::UnixSocket,
               [this](Result<upstream::Route> route, std::uint64_t epoch) {
                 dial(std::move(route), epoch, worker_.loop().now() + up_.conf->pool.server_connect_timeout);
               });
}

void PassThrough::dial(Result<upstream::Route> route, std::uint64_t epoch, Time until) {
  epoch_ = epoch;
  connect_until_ = until;
  if (!route) return fail(route.error());
  if (!route->prologue.empty()) reply_.emplace();
  out_.append(route->prologue);
  dialer_.start(std::move(*route), until);
}

void PassThrough::on_connected(upstream::Dialer&, upstream::Connected connected) noexcept {
  const Worker::Turn turn(worker_);
  server_ = std::make_unique<Server>(*slot_, *up_.shared, PoolRef{});
  server_->stream = std::move(connected.stream);
  server_->endpoint = std::move(connected.endpoint);
  server_->user = this;
  note_dial(*up_.shared, connected.timings, route_.waited());
  if (!server_->watch_on(worker_)) {
    fail({Errc::Limit, 0, "out of file descriptors", "limit"});
  } else {
    out_.append(first_);
    sent_ += first_.size();
    if (out_.flush(server_->stream).status == io::Io::Failed)
      out_.clear();  // what it said is read, then its end
    update();
  }
  client_.event_done();
}

void PassThrough::on_dial_failed(upstream::Dialer&, upstream::Failure failure) noexcept {
  const Worker::Turn turn(worker_);
  note_dial_failure(*up_.shared, failure, epoch_, route_.waited());
  if (once_more(failure.certificate_refused)) {
    connect();
  } else if (!look_again(failure)) {
    log_upstream_error(*up_.shared, failure.error);
    fail(failure.error);
  }
  client_.event_done();
}

bool PassThrough::look_again(const upstream::Failure& failure) {
  return route_.look_again(failure, connect_until_,
                           [this, failure](Result<upstream::Route> route, std::uint64_t epoch) {
                             if (!route) {
                               log_upstream_error(*up_.shared, failure.error);
                               return fail(failure.error);
                             }
                             out_.clear();
                             reply_.reset();
                             dial(std::move(route), epoch, connect_until_);
                           });
}

// Before any client hears of it: a certificate that the instance refuses is replaced, once.
bool PassThrough::once_more(bool certificate_refused) {
  if (!certificate_refused || !up_.shared->is_cloudsql() || std::exchange(retried_, true)) return false;
  out_.clear();
  reply_.reset();
  return true;
}

}  // namespace sidepool::worker
