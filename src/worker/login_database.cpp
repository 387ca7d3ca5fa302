// src/worker/login_database.cpp -- the database's side of a login: a slot, a connection as this user, and
// what comes of it.
#include "protocol/messages.h"
#include "src/base/log.h"
#include "src/base/random.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"
#include "src/worker/login.h"
#include "src/worker/pass_through.h"
#include "src/worker/principal_hint.h"

namespace sidepool::worker {

using protocol::AuthMethod;

// A login at the database counts in the same bound as every server.
void Login::want_slot(bool trial) {
  step_ = Step::WaitingSlot;
  const auto& s = accept_.startup();
  pool::Orders orders;
  const pool::LoginFor what = trial
                                  ? pool::LoginFor{pool::TrialLogin{pool_->id}}
                                  : pool::LoginFor{pool::FirstLogin{Upstream::identity(s.database, s.user)}};
  const auto answer =
      up_->shared->broker.acquire_login_slot(client_.id(), what, steady_now(), orders, rank());
  worker_.carry_out(*up_->shared, orders);
  if (const auto* granted = std::get_if<pool::LoginGranted>(&answer)) {
    slot_ = granted->server;
    return connect();
  }
  if (const auto* queued = std::get_if<pool::Queued>(&answer)) {
    ticket_ = queued->ticket;
    return;
  }
  refuse({"FATAL", "57P03", "the pool is being closed", {}, "Connect again."});
}

// A password that was right before is tried before those that strangers guess.
pool::LoginRank Login::rank() const {
  if (pool_ && password_ && pool_->remembered.resembles(password_->view())) return pool::LoginRank::Likely;
  return up_->shared->failed_peers.recently(client_.peer(), worker_.loop().now()) ? pool::LoginRank::Suspect
                                                                                  : pool::LoginRank::Unknown;
}

// The database has refused this client, so those that come from where it comes wait behind others.
void Login::note_refused() {
  up_->shared->failed_peers.failed(client_.peer(), worker_.loop().now());
  if (pool_ && password_) pool_->remembered.refused(password_->view());
}

void Login::on_slot(pool::ServerId slot) {
  ticket_.reset();
  if (step_ != Step::WaitingSlot) {
    pool::Orders orders;
    up_->shared->broker.login_ended(slot, true, steady_now(), orders);
    return worker_.carry_out(*up_->shared, orders);
  }
  slot_ = slot;
  if (known_by_now()) {  // the trial ahead of this one was of the same password
    end_slot({}, false);
    return admit();
  }
  connect();
}

// The client types on, without a connection: with its answer another one is made.
void Login::on_yield(pool::ServerId slot) {
  if (slot_ == slot && asking_ && database_asks_) lose_turn();
}

void Login::lose_turn() {
  auto connection = connector_ ? connector_->give_up() : io::Stream{};
  connector_.reset();
  database_asks_ = waits_ = false;
  end_slot(std::move(connection), false);
}

// Another client's first login has succeeded: the pool is there now.
void Login::on_look_again() {
  ticket_.reset();
  if (step_ == Step::WaitingSlot) decide();
}

// A slot is free when the peer has closed (product.md §5, The bound), also that of a login nobody wants any
// more.
void Login::end_slot(io::Stream stream, bool say_terminate) {
  if (!slot_) return;
  worker_.close_login(*up_->shared, *std::exchange(slot_, std::nullopt), std::move(stream), say_terminate);
}

void Login::connect() {
  step_ = Step::Connecting;
  database_asks_ = false;
  destination_ = up_->shared->destination.load();
  route_.start(worker_, *up_->shared, client_.entrance().reach == io::Reach::UnixSocket,
               [this](Result<upstream::Route> route, std::uint64_t epoch) {
                 epoch_ = epoch;
                 on_route(std::move(route), worker_.loop().now() + up_->conf->pool.server_connect_timeout);
               });
}

// The client has not been told yet, and nothing of what it said has gone out.
bool Login::look_again(const upstream::Failure& failure) {
  return route_.look_again(failure, connect_until_,
                           [this, failure](Result<upstream::Route> route, std::uint64_t epoch) {
                             if (!route) return tell_failure(failure);
                             epoch_ = epoch;
                             destination_ = up_->shared->destination.load();
                             on_route(std::move(route), connect_until_);
                           });
}

void Login::on_route(Result<upstream::Route> route, Time until) {
  if (!route) {
    up_->shared->metrics.login_failed(route.error().reason);
    return refuse(for_client(route.error()).fields());
  }
  connector_ = std::make_unique<upstream::Connector>(worker_.loop(), *worker_.shared().resolver, *this);
  connector_->start(std::move(*route),
                    login_parameters(accept_.startup().database, accept_.startup().user, up_->conf->pool),
                    connect_until_ = until);
}

void Login::on_need_password(upstream::Connector&) noexcept {
  const Worker::Turn turn(worker_);
  auto& client = client_;
  database_asks_ = true;
  answer_database();
  client.event_done();
}

// The database wants a password: the one the client has given, or is asked for now.
void Login::answer_database() {
  auto& login = connector_->login();
  warn_of_foreign_role(*up_->shared, accept_.startup().user);
  const bool clear = login.auth_method() == AuthMethod::Cleartext;
  if (clear && !connector_->connection().may_send_cleartext) {
    upstream::Failure f;
    f.error = {
        Errc::Auth, 0,
        "the database asks for a password in clear text, which is sent only over a verified connection",
        "cleartext"};
    return tell_failure(f);
  }
  if (up_->conf->client_auth == conf::ClientAuth::Trust) {
    const auto* user = worker_.configured_user(accept_.startup().user, up_->conf->name);
    if (!user) return refuse_unknown_user();
    login.answer_password(user->password.reveal());
    password_.emplace(user->password.reveal());
  } else if (password_) {
    login.answer_password(password_->view());
  } else if (may_ask_cleartext()) {
    return ask_for_database();
  } else {
    return pass_through();
  }
  database_asks_ = false;
  step_ = Step::Connecting;
  connector_->resume();
}

void Login::ask_for_database() {
  ask_password();
  if (!asking_ || !slot_) return;  // the answer was there already
  waits_ = true;
  pool::Orders orders;
  up_->shared->broker.login_waits(*slot_, steady_now(), orders);
  worker_.carry_out(*up_->shared, orders);
}

void Login::on_ready(upstream::Connector&, upstream::Ready ready) noexcept {
  const Worker::Turn turn(worker_);
  auto& client = client_;
  note_dial(*up_->shared, ready.connection.timings, route_.waited());
  logged_in(std::move(ready));
  client.event_done();
}

void Login::refuse_pool() {
  worker_.shared().registry->client_refused("max_pools");
  refuse({"FATAL", "53300", "too many pools (max_pools)", "Each pair of database and user is a pool.",
          "Raise server.max_pools."});
}

void Login::logged_in(upstream::Ready ready) {
  const auto& s = accept_.startup();
  const bool asked = ready.login->auth_method() != AuthMethod::None;
  up_->shared->failed_peers.succeeded(client_.peer());
  if (!asked && !client_.entrance().trusted()) {
    end_slot(std::move(ready.connection.stream), true);
    return refuse_without_password();
  }
  auto& shared = worker_.shared();
  const auto make = [&] {
    return up_->shared->find_or_create(s.database, s.user, up_->conf->pool, shared.pools,
                                       worker_.config().server.max_pools);
  };
  pool_ = make();
  if (!pool_ && shared.forget_unused_pool()) pool_ = make();
  if (!pool_) {
    end_slot(std::move(ready.connection.stream), true);
    return refuse_pool();
  }
  // Before anybody can be let in on what is learned: their welcome is made of it.
  pool::SettingSet reported;
  for (const auto& [name, value] : ready.login->parameters()) reported.set(name, value);
  pool_->note_reported(std::move(reported));
  pool_->remembered.learn(*ready.login, s.user, asked && password_ ? password_->view() : std::string_view{},
                          worker_.loop().now());
  pool::Orders orders;
  const auto id = *slot_;
  if (!up_->shared->broker.adopt(id, pool_->id, 0, steady_now(), orders)) {
    end_slot(std::move(ready.connection.stream), true);  // the pool has servers enough
    return admit();
  }
  slot_.reset();
  const auto rest = std::exchange(ready.rest, {});
  auto server = make_server(id, *up_->shared, pool_, std::move(ready));
  worker_.carry_out(*up_->shared, orders);
  worker_.counters(*pool_).server_logins.add();
  if (!Worker::idle_bytes(*server, rest) || !server->watch_on(worker_)) {
    worker_.close(std::move(server), true);
  } else {
    // New connections may have begun to lead elsewhere while this one was made.
    const bool stale = destination_ != up_->shared->destination.load();
    worker_.release(std::move(server), stale ? pool::Condition::Retire : pool::Condition::Clean, 0);
  }
  admit();
}

void Login::on_connect_failed(upstream::Connector&, upstream::Failure failure) noexcept {
  const Worker::Turn turn(worker_);
  auto& client = client_;
  const bool certificate = failure.certificate_refused;
  note_dial_failure(*up_->shared, failure, epoch_, route_.waited());
  if (certificate && up_->shared->is_cloudsql() && !std::exchange(retried_, true)) {
    connector_.reset();  // before any client hears of it: once more with a new certificate
    connect();
  } else if (asking_) {
    lose_turn();  // the server lost patience with the client, who has not
  } else if (look_again(failure)) {
    connector_.reset();
  } else {
    tell_failure(failure);
  }
  client.event_done();
}

// The database's own error reaches the client as it is, perhaps with a hint; anything else says what failed
// and what to do.
void Login::tell_failure(const upstream::Failure& failure) {
  auto& up = *up_->shared;
  up.metrics.login_failed(failure.server_error.empty() ? failure.error.reason : "database");
  if (!failure.server_error.empty()) {
    // Class 28, invalid authorization: the manual's appendix A.
    const auto error = protocol::ErrorView::decode(failure.server_error);
    if (error && error->code.starts_with("28")) note_refused();
    std::string hint = principal_hint(up, accept_.startup().user, failure.server_error);
    if (hint.empty() && error && error->code == "28P01" && up_->conf->client_auth == conf::ClientAuth::Trust)
      hint = remedy({Errc::Auth, 0, {}, kUserPassword});
    protocol::Buffer message;
    raw_error(message, failure.server_error, hint);
    step_ = Step::Connecting;
    flush_accept();
    client_.send(message);
    cancel();
    client_.ended_by(Client::EndedBy::Instance);
    return client_.finish();
  }
  log_upstream_error(up, failure.error);
  refuse(for_client(failure.error).fields());
}

void Login::pass_through() {
  const auto& s = accept_.startup();
  auto& client = client_;
  auto pass = std::make_unique<PassThrough>(client_, *up_, s, rest_, *deadline());
  cancel();
  client.begin_pass_through(std::move(pass));  // ends this login
}

}  // namespace sidepool::worker
