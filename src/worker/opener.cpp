// src/worker/opener.cpp -- see opener.h.
#include "src/worker/opener.h"

#include <algorithm>

#include "src/base/log.h"
#include "src/base/random.h"
#include "src/worker/dial_result.h"

namespace sidepool::worker {

namespace {

std::uint64_t random_bits() noexcept {
  std::array<std::uint8_t, 8> bytes;
  fill_random(bytes);
  std::uint64_t n = 0;
  std::memcpy(&n, bytes.data(), sizeof n);
  return n;
}

// What a server calls its SQLSTATE becomes a label only if it is one (the manual's appendix A).
bool is_sqlstate(std::string_view code) {
  return code.size() == 5 && std::all_of(code.begin(), code.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
         });
}

pool::OpenError open_error(const upstream::Failure& f) {
  if (f.error.reason == "no_password") {  // what is kept does not fit: a client has to bring the new password
    return {pool::OpenFailure::BadCredential, "28P01",
            "the database does not accept the password it did before"};
  }
  if (f.server_error.empty()) {
    auto told = for_client(f.error);
    return {told.sqlstate == "28000" ? pool::OpenFailure::Refused : pool::OpenFailure::Unreachable,
            std::string(told.sqlstate), std::move(told.message), std::string(told.hint)};
  }
  const auto e = protocol::ErrorView::decode(f.server_error);
  if (!e) return {pool::OpenFailure::Unreachable, "08006", for_client(f.error).message};
  return {pool::classify_login_error(e->code), std::string(e->code), std::string(e->message)};
}

}  // namespace

Opener::Opener(Worker& worker, Upstream& upstream, pool::OpenOne order)
    : worker_(worker),
      upstream_(upstream),
      pool_(upstream.find(order.pool)),
      order_(order),
      connector_(worker.loop(), *worker.shared().resolver, *this) {}

void Opener::start() {
  if (!pool_) return failed({pool::OpenFailure::Unreachable, "08006", "the pool is gone"});
  route_.start(worker_, upstream_, false, [this](Result<upstream::Route> route, std::uint64_t epoch) {
    epoch_ = epoch;
    on_route(std::move(route));
  });
}

void Opener::on_route(Result<upstream::Route> route) {
  if (!route) {
    upstream::Failure f;
    f.error = route.error();
    return failed(open_error(f));
  }
  const auto& conf = worker_.local(upstream_).conf->pool;
  connector_.start(std::move(*route),
                   login_parameters(pool_->database, pool_->user, conf, pool_->startups.of(order_.startup)),
                   worker_.loop().now() + conf.server_connect_timeout);
}

void Opener::on_need_password(upstream::Connector& c) noexcept {
  const Worker::Turn turn(worker_);
  const auto& up = *worker_.local(upstream_).conf;
  bool answered = false;
  if (up.client_auth == conf::ClientAuth::Trust) {
    const auto* user = worker_.configured_user(pool_->user, up.name);
    answered = user && c.login().answer_password(user->password.reveal());
  } else {
    answered = pool_->remembered.answer(c.login(), c.connection().may_send_cleartext);
  }
  if (!answered) {
    pool_->remembered.distrust();
    c.login().refuse_password();
  }
  c.resume();
}

void Opener::on_ready(upstream::Connector&, upstream::Ready ready) noexcept {
  const Worker::Turn turn(worker_);
  note_dial(upstream_, ready.connection.timings, route_.waited());
  const auto rest = std::exchange(ready.rest, {});
  auto server = make_server(order_.server, upstream_, pool_, std::move(ready), order_.startup);
  worker_.counters(*pool_).server_logins.add();
  if (!Worker::idle_bytes(*server, rest) || !worker_.quiet(*server) || !server->watch_on(worker_)) {
    failed({pool::OpenFailure::NotReady, "53000", "the new server connection cannot be used"}, false);
    return worker_.begin_close(std::move(server), true);
  }
  over_ = true;
  pool::Orders out;
  const auto answer = upstream_.broker.opened(server->id, worker_.id(), 0, steady_now(), out);
  worker_.place(std::move(server), answer);
  worker_.carry_out(upstream_, out);
  done();
}

void Opener::on_connect_failed(upstream::Connector&, upstream::Failure failure) noexcept {
  const Worker::Turn turn(worker_);
  note_dial_failure(upstream_, failure, epoch_, route_.waited());
  // Once more with a new certificate, before any client hears of it.
  if (failure.certificate_refused && upstream_.is_cloudsql() && !std::exchange(retried_, true))
    return start();
  auto error = open_error(failure);
  if (error.kind == pool::OpenFailure::BadCredential &&
      worker_.local(upstream_).conf->client_auth == conf::ClientAuth::Trust) {
    // No client brings another password here: only a corrected configuration does.
    error.kind = pool::OpenFailure::Refused;
    failure.error.reason = kUserPassword;
    error.hint = remedy(failure.error);
  }
  log_upstream_error(upstream_, failure.error);
  if (error.kind == pool::OpenFailure::BadCredential) pool_->remembered.distrust();
  failed(error);
}

void Opener::failed(const pool::OpenError& error, bool peer_closed) {
  if (std::exchange(over_, true)) return;
  if (pool_)
    worker_.counters(*pool_).login_failures.add(is_sqlstate(error.sqlstate) ? error.sqlstate : "other");
  pool::Orders orders;
  const auto failed =
      upstream_.broker.open_failed(order_.server, error, peer_closed, steady_now(), random_bits(), orders);
  for (const auto& waiter : failed) {
    worker_.shared().workers[static_cast<std::size_t>(waiter.session.worker)]->post(
        WaiterError{waiter.session, error});
  }
  worker_.carry_out(upstream_, orders);
  done();
}

void Opener::give_up() {
  connector_.cancel();
  failed({pool::OpenFailure::Unreachable, "57P03", "sidepool is shutting down"});
}

void Opener::done() {
  route_.cancel();
  worker_.opener_done(*this);
}

}  // namespace sidepool::worker
