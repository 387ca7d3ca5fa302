// src/worker/login_client.cpp -- the client's side of a login: packets, TLS, settings, and what comes next.
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "protocol/encode.h"
#include "src/base/log.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"
#include "src/worker/login.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

using Event = protocol::AcceptMachine::Event;
using protocol::Bytes;
using protocol::ErrorFields;

Login::Login(Client& client)
    : client_(client),
      worker_(client.worker()),
      accept_({client.entrance().tls != nullptr, false}),
      up_(&client.worker().local(client.entrance().upstream)),
      began_(client.worker().loop().now()) {}

Login::~Login() { cancel(); }

void Login::cancel() {
  if (step_ == Step::Over) return;
  step_ = Step::Over;
  route_.cancel();
  auto connection = connector_ ? connector_->give_up() : io::Stream{};
  connector_.reset();
  if (ticket_) {
    pool::Orders orders;
    up_->shared->broker.cancel(*ticket_, steady_now(),
                               orders);  // a slot that is on its way is given back there
    ticket_.reset();
    worker_.carry_out(*up_->shared, orders);
  }
  end_slot(std::move(connection), false);
}

void Login::on_deadline() {
  worker_.shared().registry->client_refused("client_login_timeout");
  if (step_ == Step::Handshake) return drop();  // nothing can be said inside half a handshake
  refuse({"FATAL", "08006", "the login took too long (client_login_timeout)", {}, {}});
}

void Login::on_stop() {
  if (step_ == Step::Handshake) return drop();
  refuse({"FATAL", "57P03", "sidepool is shutting down", {}, {}});
}

// Direct TLS begins with the first byte of the connection, which has to stay in the socket for the handshake.
// Behind anything else the same byte is part of a packet, or plain text put in front of somebody's TLS.
bool Login::first_byte_is_tls() {
  if (heard_ || !client_.entrance().tls || client_.stream().tls()) return false;
  std::uint8_t first = 0;
  return ::recv(client_.stream().fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == 0x16;
}

void Login::on_readable() {
  if (step_ == Step::Handshake) return handshake();
  if (step_ == Step::Over) return;
  if (step_ == Step::Reading && first_byte_is_tls()) {
    accept_ = protocol::AcceptMachine({true, true});  // all it will see is inside
    direct_ = true;
    return start_tls();
  }
  read();
}

void Login::read() {
  const auto to = worker_.scratch().first(4096);
  for (int i = 0; i < 8 && step_ != Step::Over && step_ != Step::Handshake; ++i) {
    const auto r = client_.stream().read(to);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return;
    if (r.status != io::Io::Done) return drop();
    heard_ = true;
    if (step_ != Step::Reading || (!asking_ && pool_)) {
      // An answer is due from us; nothing but an early message of an impatient client can be here.
      if (rest_.size() + r.n > protocol::kMaxBeforeAuth) {
        return refuse({"FATAL", "08P01", "too many bytes before the end of the login", {}, {}});
      }
      rest_.insert(rest_.end(), to.begin(), to.begin() + static_cast<std::ptrdiff_t>(r.n));
      continue;
    }
    Bytes in = to.first(r.n);
    feed(in);
    protocol::wipe(to.data(), r.n);  // a password may have been in it
    if (step_ == Step::Over || client_.stream().fd() < 0) return;
    if (!client_.stream().holds_input() && r.n < to.size()) return;
  }
}

void Login::feed(Bytes& in) {
  for (;;) {
    const auto before = in.size();
    const auto e = accept_.feed(in);
    if (e == Event::None && in.size() == before) break;
    on_event(e, in);
    if (e != Event::None || in.empty()) break;
  }
}

void Login::on_event(Event e, Bytes& rest) {
  switch (e) {
    case Event::None:
      return flush_accept();
    case Event::StartTls:
      flush_accept();
      return start_tls();
    case Event::DirectTls:
      return drop();  // its bytes are gone from the socket; only without TLS of our own can this come here
    case Event::GotCancel: {
      auto cancel = accept_.cancel();
      client_.stop_watching();  // from now on the socket is another worker's
      auto stream = std::move(client_.stream());
      worker_.route_cancel({cancel.pid, std::move(cancel.key), std::move(stream)});
      return drop();
    }
    case Event::GotStartup:
      // A NegotiateProtocolVersion waits for what comes next: of a pass-through client the server has a say.
      rest_.assign(rest.begin(), rest.end());
      rest = {};
      return on_startup();
    case Event::GotPassword:
      rest_.assign(rest.begin(), rest.end());
      rest = {};
      return on_password();
    case Event::ScramOk:
    case Event::ScramFailed:
    case Event::Closed:
      return drop();
    case Event::Failed:
      log::debug("client login failed",
                 {{"client", client_.peer().text()}, {"reason", accept_.failure_text()}});
      flush_accept();
      cancel();
      return client_.finish();
  }
}

void Login::flush_accept() {
  const auto out = accept_.output();
  if (out.empty()) return;
  client_.send(out);
  accept_.wrote(out.size());
}

void Login::start_tls() {
  client_.stop_watching();
  auto made = tls::Stream::server(client_.entrance().tls.get(), client_.stream().take_fd());
  if (!made) return drop();
  client_.stream() = io::Stream(std::move(*made));
  step_ = Step::Handshake;
  if (!client_.watch_again()) return drop();
  handshake();
}

void Login::handshake() {
  const auto r = client_.stream().tls()->handshake();
  if (r.status == io::Io::WantRead) return void(client_.arm(UV_READABLE));
  if (r.status == io::Io::WantWrite) return void(client_.arm(UV_WRITABLE | UV_READABLE));
  if (r.status != io::Io::Done) {
    log::debug("TLS with a client failed",
               {{"client", client_.peer().text()}, {"reason", client_.stream().error_text()}});
    return drop();
  }
  // Bytes that another protocol's client was made to send could be taken for ours (PostgreSQL 17 insists,
  // too).
  if (direct_ && !tls::alpn_is_postgresql(client_.stream().tls()->ssl())) {
    log::debug("a client began with TLS and did not name its protocol (ALPN)",
               {{"client", client_.peer().text()}});
    return drop();
  }
  accept_.tls_done();
  step_ = Step::Reading;
  client_.arm(UV_READABLE);
  if (client_.stream().holds_input()) read();
}

// Cannot be set once a connection is there (pg_settings.context is backend or superuser-backend), or only
// count when it is made: whoever wants one has a server of its own, opened with it.
bool only_at_start(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 8> kNames{
      "ignore_system_indexes", "jit_debugging_support", "jit_profiling_support", "local_preload_libraries",
      "log_connections",       "log_disconnections",    "post_auth_delay",       "session_preload_libraries"};
  return std::any_of(kNames.begin(), kNames.end(),
                     [name](std::string_view known) { return pool::same_name(name, known); });
}

// Everything that is checked before anybody is asked anything.
void Login::on_startup() {
  client_.begin_startup();
  auto& shared = worker_.shared();
  const auto& s = accept_.startup();
  if (client_.entrance().tls_required && !accept_.inside_tls()) {
    return refuse(
        {"FATAL", "28000", "this listener accepts encrypted connections only", {}, "Use sslmode=require."});
  }
  if (client_.entrance().certificate_is_user && !certificate_fits()) {
    const std::string text = "certificate authentication failed for user \"" + s.user + "\"";
    return refuse({"FATAL", "28000", text, {}, {}});
  }
  if (shared.stopping.load()) return refuse({"FATAL", "57P03", "sidepool is shutting down", {}, {}});
  if (const auto most = worker_.config().server.max_client_conn; shared.clients.load() > most) {
    shared.registry->client_refused("max_client_conn");
    static log::Limiter limiter(std::chrono::seconds(1));
    if (const auto more = limiter.pass(steady_now()))
      log::info("max connections (" + std::to_string(most) + ") exceeded, refusing new connection",
                {{"left_out", *more}});
    return refuse(
        {"FATAL", "53300", "too many clients (max_client_conn)", {}, "Raise server.max_client_conn."});
  }
  log::debug("client connected", {{"upstream", up_->conf->name},
                                  {"client", client_.peer().text()},
                                  {"user", s.user},
                                  {"database", s.database}});
  if (s.replication != protocol::Replication::None || up_->conf->pool.mode == conf::PoolMode::None) {
    return pass_through();
  }
  auto settings = startup_settings();
  if (!settings) return;
  settings_ = std::move(*settings);
  // What nobody can set is PostgreSQL's to refuse (or to allow: a superuser's session_authorization).
  const auto at_start = [](const auto& entry) {
    return only_at_start(entry.first) || pool::read_only(entry.first);
  };
  if (settings_ && std::any_of(settings_->begin(), settings_->end(), at_start)) return pass_through();
  decide();
}

// listen_tls.mode = "verify-full": the certificate, which was checked in the handshake, names the user.
bool Login::certificate_fits() {
  const auto* tls = client_.stream().tls();
  const auto name = tls ? tls::peer_common_name(tls->ssl()) : std::nullopt;
  if (name && *name == accept_.startup().user) return true;
  log::warn("the certificate of a client is not its user's",
            {{"client", client_.peer().text()}, {"user", accept_.startup().user}});
  return false;
}

// The parameters and `options` of the startup packet; nothing if the client was refused.
std::optional<pool::Settings> Login::startup_settings() {
  const auto& s = accept_.startup();
  const auto& conf = up_->conf->pool;
  auto options = protocol::parse_options(ignores(conf, "options") ? std::string_view() : s.options);
  if (const auto* e = std::get_if<protocol::OptionsError>(&options)) {
    const std::string text = "unsupported startup option: " + e->text;
    refuse({"FATAL", e->no_value ? "42601" : "22023", text, {}, "Use -c name=value or --name=value."});
    return std::nullopt;
  }
  auto set = std::make_shared<pool::SettingSet>();
  const auto add = [&](const protocol::OwnedParameter& p) {
    if (!ignores(conf, p.first)) set->set(p.first, p.second);
  };
  for (const auto& p : std::get<std::vector<protocol::OwnedParameter>>(options)) add(p);
  for (const auto& p : s.parameters) add(p);
  if (set->empty()) return pool::Settings{};
  return pool::Settings{std::move(set)};
}

// What the database has to be asked before this client is let in.
void Login::decide() {
  const auto& s = accept_.startup();
  pool_ = up_->shared->find(s.database, s.user);
  if (!pool_) {
    // Before the database is asked, which would cost a login each time; whether there is room is known for
    // certain only behind it.
    auto& shared = worker_.shared();
    const bool full = shared.pools.load() >= worker_.config().server.max_pools;
    return full && !shared.forget_unused_pool() ? refuse_pool() : want_slot(false);
  }
  if (password_)  // the client has been asked already
    return known_by_now() ? admit() : want_slot(true);
  if (up_->conf->client_auth == conf::ClientAuth::Trust) return trust();
  switch (pool_->remembered.check(worker_.loop().now(), up_->conf->pool.auth_ttl)) {
    case Remembered::Check::Admit:
      return client_.entrance().trusted() ? admit() : refuse_without_password();
    case Remembered::Check::AskPassword:
      if (!may_ask_cleartext()) return pass_through();
      return ask_password();
    case Remembered::Check::FreshLogin:
      return want_slot(true);
  }
}

// client_auth = "trust": where the database asks nobody it takes a listener that may use that, else a
// [[user]] entry as the configuration has it now.
void Login::trust() {
  switch (pool_->remembered.check(worker_.loop().now(), Duration::max())) {
    case Remembered::Check::Admit:
      return client_.entrance().trusted() ? admit() : refuse_without_password();
    case Remembered::Check::AskPassword:
      return worker_.configured_user(accept_.startup().user, up_->conf->name) ? admit()
                                                                              : refuse_unknown_user();
    case Remembered::Check::FreshLogin:
      return want_slot(true);
  }
}

void Login::refuse_unknown_user() {
  refuse({"FATAL", "28000", "no password is configured for this user",
          "The database asks for a password, and client_auth is \"trust\".", "Add a [[user]] entry."});
}

void Login::refuse_without_password() {
  refuse({"FATAL",
          "28000",
          "this listener may not use a login without a password",
          {},
          "Set allow_remote = true for this upstream, or connect over loopback or a unix socket."});
}

bool Login::may_ask_cleartext() const { return client_.entrance().trusted() || accept_.inside_tls(); }

void Login::ask_password() {
  accept_.ask_cleartext();
  asking_ = true;
  step_ = Step::Reading;
  flush_accept();
  Bytes early(rest_);
  if (early.empty()) return;
  protocol::Buffer kept;
  kept.swap(rest_);
  early = kept;
  feed(early);
  protocol::wipe(kept);
}

void Login::on_password() {
  asking_ = false;
  password_.emplace(accept_.password());
  const bool in_time =
      !std::exchange(waits_, false) || up_->shared->broker.login_resumed(*slot_, steady_now());
  if (database_asks_ && in_time) return answer_database();
  if (database_asks_) lose_turn();
  // Meanwhile another client's login may have made the pool.
  if (!pool_) pool_ = up_->shared->find(accept_.startup().database, accept_.startup().user);
  if (known_by_now()) return admit();
  want_slot(static_cast<bool>(pool_));
}

// Whether the last login at the database answers for this client too.
bool Login::known_by_now() const {
  if (!pool_ || up_->conf->client_auth == conf::ClientAuth::Trust) return false;
  const auto now = worker_.loop().now();
  const auto& ttl = up_->conf->pool.auth_ttl;
  if (password_) return pool_->remembered.knows(password_->view(), now, ttl);
  return client_.entrance().trusted() && pool_->remembered.check(now, ttl) == Remembered::Check::Admit;
}

void Login::refuse(const ErrorFields& why) {
  if (step_ == Step::Over) return;
  accept_.refuse(why);
  flush_accept();
  cancel();
  client_.ended_by(Client::EndedBy::Us);
  client_.finish();
}

void Login::drop() {
  cancel();
  client_.hang_up();
}

void Login::admit() {
  accept_.admit();
  flush_accept();
  const auto protocol = accept_.startup().protocol;
  protocol::Buffer rest;
  rest.swap(rest_);
  auto settings = std::move(settings_);
  auto pool = std::move(pool_);
  auto& client = client_;
  auto& up = *up_;
  cancel();
  client.begin_session(std::move(pool), up, std::move(settings), protocol, rest);  // ends this login
}

}  // namespace sidepool::worker
