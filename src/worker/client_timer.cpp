// src/worker/client_timer.cpp -- the time-outs of a client. One timer, moved only when it is set too late: an
// event that ends a phase leaves it alone, and when it fires too early it is set again.
#include "src/base/log.h"
#include "src/worker/client.h"
#include "src/worker/login.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

using protocol::ErrorFields;

namespace {

struct Limit {
  Duration after{};
  Time since{};
};

constexpr ErrorFields kQueryWait{"ERROR", "53300",
                                 "no server connection became free in time (query_wait_timeout)",
                                 "All server connections of this pool are in use.",
                                 "Raise pool.size, or look for clients that keep transactions open."};
constexpr ErrorFields kIdleTransaction{"FATAL",
                                       "25P03",
                                       "terminating connection due to idle-in-transaction timeout "
                                       "(idle_transaction_timeout)",
                                       {},
                                       {}};
constexpr ErrorFields kTransaction{
    "FATAL", "25P04", "terminating connection due to transaction timeout (transaction_timeout)", {}, {}};
constexpr ErrorFields kQuery{
    "FATAL", "57014", "terminating connection due to query timeout (query_timeout)", {}, {}};
constexpr ErrorFields kIdle{
    "FATAL", "57P05", "terminating connection due to idle-session timeout (client_idle_timeout)", {}, {}};
constexpr Duration kLastWrite =
    std::chrono::seconds(10);  // for the last words to a client that does not read

}  // namespace

std::optional<Time> Client::deadline() const {
  std::optional<Time> first;
  const auto consider = [&first](Duration after, Time since) {
    if (after > Duration::zero() && (!first || since + after < *first)) first = since + after;
  };
  if (gone_) return first;
  if (finishing_) {
    consider(kLastWrite, phase_since_);
    return first;
  }
  if (login_) return login_->deadline();
  if (pass_) return pass_->deadline();
  if (!session_) return first;
  const auto& c = up_->conf->pool;
  if (!out_.empty()) consider(c.client_write_timeout, output_since_);
  switch (phase_) {
    case pool::Phase::Idle:
    case pool::Phase::Holding:
      consider(c.client_idle_timeout, phase_since_);
      break;
    case pool::Phase::Waiting:
      if (queued()) consider(c.query_wait_timeout, request_since_);
      break;
    case pool::Phase::IdleInTransaction:
      consider(c.idle_transaction_timeout, phase_since_);
      consider(c.transaction_timeout, transaction_since_);
      break;
    case pool::Phase::Running:
      consider(c.query_timeout, phase_since_);
      consider(c.transaction_timeout, transaction_since_);
      break;
    case pool::Phase::Draining:
    case pool::Phase::Closed:
      break;
  }
  return first;
}

void Client::update_timer() {
  const auto due = deadline();
  if (!due || (timer_.armed() && timer_at_ <= *due)) return;
  timer_at_ = *due;
  worker_.loop().arm(timer_, *due);
}

void Client::on_timer(TimerNode& node) noexcept {
  auto& c = owner_of<&Client::timer_>(node);
  const Worker::Turn turn(c.worker_);
  const auto due = c.deadline();
  if (due && *due <= c.worker_.loop().now()) c.on_deadline();
  c.after();
}

void Client::on_deadline() {
  if (finishing_) return client_gone();
  if (login_) return login_->on_deadline();
  if (pass_) return pass_->on_deadline();
  if (!session_) return;
  const auto now = worker_.loop().now();
  const auto& c = up_->conf->pool;
  const bool transaction_over =
      c.transaction_timeout > Duration::zero() && now - transaction_since_ >= c.transaction_timeout;
  if (!out_.empty() && c.client_write_timeout > Duration::zero() &&
      now - output_since_ >= c.client_write_timeout) {
    counters().errors.add("timeout");
    ended_by_ = EndedBy::Us;
    return client_gone();  // it does not read: there is no way to tell it
  }
  const ErrorFields* why = nullptr;
  switch (phase_) {
    case pool::Phase::Idle:
    case pool::Phase::Holding:
      why = &kIdle;
      break;
    case pool::Phase::Waiting:
      if (!queued() || !leave_queue()) return;  // or a server is on its way
      return refuse(wait_error());
    case pool::Phase::IdleInTransaction:
      why = transaction_over ? &kTransaction : &kIdleTransaction;
      break;
    case pool::Phase::Running:
      why = transaction_over ? &kTransaction : &kQuery;
      break;
    case pool::Phase::Draining:
    case pool::Phase::Closed:
      return;
  }
  counters().errors.add(why->code == "57P05" ? "idle" : "timeout");
  dismiss(*why);
}

// What a client that waited in vain is told: the reason why no server could be opened, if that is it.
ErrorFields Client::wait_error() {
  auto error = up_->shared->broker.open_error(pool_->id);
  if (!error) return kQueryWait;
  open_error_ = std::make_unique<const pool::OpenError>(std::move(*error));
  ErrorFields f = kQueryWait;
  f.code = open_error_->sqlstate;
  f.message = open_error_->message;
  f.detail = "The request waited for a server connection until query_wait_timeout.";
  f.hint = open_error_->hint;
  return f;
}

void Client::on_refused_by_broker() {
  if (!session_ || session_->phase() != pool::Phase::Waiting || server_ || queued()) return;
  refuse({"ERROR",
          "53300",
          "too many clients wait for a server connection (max_waiting)",
          {},
          "Raise pool.size or pool.max_waiting."});
  after();
}

// Logins of the pool's own are refused by the database: it tells the waiting clients why.
void Client::on_upstream_error(const pool::OpenError& error) {
  if (!session_ || session_->phase() != pool::Phase::Waiting) return;
  ticket_ = pool::Ticket::None;
  refuse({"ERROR", error.sqlstate, error.message, {}, error.hint});
  after();
}

}  // namespace sidepool::worker
