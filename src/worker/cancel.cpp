// src/worker/cancel.cpp -- see cancel.h.
#include "src/worker/cancel.h"

#include "protocol/encode.h"
#include "src/base/log.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"

namespace sidepool::worker {

CancelConnection::CancelConnection(Worker& worker, const Server& server,
                                   std::optional<pool::SessionId> session, io::Stream requester)
    : worker_(worker),
      upstream_(*server.upstream),
      server_(server.id),
      endpoint_(server.endpoint),
      session_(session),
      requester_(std::move(requester)),
      dialer_(worker.loop(), *worker.shared().resolver, *this),
      timer_(&CancelConnection::on_timer) {
  protocol::cancel_request(request_, server.state.backend_pid, server.cancel_key);
}

CancelConnection::~CancelConnection() { watch_.stop(); }

void CancelConnection::start() {
  waiting_ = !upstream_.cancels.enter(worker_.number(), worker_.local(upstream_).conf->pool.max_cancels);
  if (!waiting_) return begin();
  static log::Limiter limiter(std::chrono::seconds(60));
  if (const auto more = limiter.pass(steady_now()))
    log::warn("cancel requests wait for each other (max_cancels)",
              {{"upstream", upstream_.name}, {"left_out", *more}});
}

void CancelConnection::on_turn() {
  waiting_ = false;
  const bool for_closing = !session_ && !requester_.open();
  if (for_closing && !worker_.closes(server_)) return over(true);  // it has ended by itself
  begin();
}

void CancelConnection::begin() {
  worker_.loop().arm_after(timer_, worker_.local(upstream_).conf->pool.cancel_timeout);
  find_way();
}

void CancelConnection::find_way() {
  route_.start(worker_, upstream_, false, [this](Result<upstream::Route> r, std::uint64_t epoch) {
    epoch_ = epoch;
    on_route(std::move(r));
  });
}

void CancelConnection::on_route(Result<upstream::Route> route) {
  if (!route) return over(false);
  route->endpoints.assign(1, endpoint_);
  out_ = route->prologue;
  out_.insert(out_.end(), request_.begin(), request_.end());
  sent_ = 0;
  dialer_.start(std::move(*route), worker_.loop().now() + worker_.local(upstream_).conf->pool.cancel_timeout);
}

void CancelConnection::on_connected(upstream::Dialer&, upstream::Connected connected) noexcept {
  const Worker::Turn turn(worker_);
  stream_ = std::move(connected.stream);
  if (watch_.start(worker_.loop().uv(), stream_.fd(), this, &CancelConnection::on_event) != 0) {
    over(false);
  } else {
    advance();
  }
}

void CancelConnection::on_dial_failed(upstream::Dialer&, upstream::Failure failure) noexcept {
  const Worker::Turn turn(worker_);
  broke(failure.certificate_refused);
}

// A certificate that the instance does not accept any more is no reason to give up the server: once more with
// a new one.
void CancelConnection::broke(bool certificate_refused) {
  if (!certificate_refused || !upstream_.is_cloudsql() || std::exchange(retried_, true)) return over(false);
  upstream_.cloudsql()->report_dial_failure(upstream_.instance_key(), epoch_,
                                            cloudsql::DialFailure::Certificate);
  watch_.stop();
  stream_.close();
  find_way();
}

void CancelConnection::advance() {
  if (over_) return;
  if (sent_ < out_.size() || stream_.holds_output()) {
    const auto r = stream_.write(protocol::Bytes(out_).subspan(sent_));
    sent_ += r.n;
    if (r.status == io::Io::Failed) return over(false);
    if (r.status != io::Io::Done) return void(watch_.arm(UV_WRITABLE | UV_READABLE));
  }
  for (;;) {  // nothing but the end is expected; an answer to the metadata exchange may come before it
    const auto r = stream_.read(worker_.scratch());
    if (r.status == io::Io::Closed) return over(true);
    if (r.status == io::Io::Failed) {  // whether the server has read it cannot be known
      const auto* t = stream_.tls();
      return broke(t && !t->received_any() && t->failure().certificate_refused());
    }
    if (r.status != io::Io::Done) break;
  }
  watch_.arm(UV_READABLE);
}

void CancelConnection::on_event(void* self, int) noexcept {
  auto& c = *static_cast<CancelConnection*>(self);
  const Worker::Turn turn(c.worker_);
  c.advance();
}

void CancelConnection::on_timer(TimerNode& node) noexcept {
  auto& c = owner_of<&CancelConnection::timer_>(node);
  const Worker::Turn turn(c.worker_);
  c.over(false);
}

void CancelConnection::over(bool delivered) {
  if (std::exchange(over_, true)) return;
  timer_.disarm();
  watch_.stop();
  dialer_.cancel();
  stream_.close();
  requester_.close();
  if (session_) worker_.cancel_over(*session_, !delivered);
  worker_.cancel_done(*this);
}

}  // namespace sidepool::worker
