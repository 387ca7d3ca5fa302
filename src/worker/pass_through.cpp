// src/worker/pass_through.cpp -- see pass_through.h.
#include "src/worker/pass_through.h"

#include <algorithm>

#include "protocol/encode.h"
#include "protocol/messages.h"
#include "src/base/random.h"
#include "src/tls/verify.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"

namespace sidepool::worker {

using protocol::Bytes;

namespace {
constexpr int kReadsPerTurn = 8;
constexpr std::uint32_t kMostMechanisms = 1024, kMostAnswer = 4096;
constexpr Duration kTellMetrics = std::chrono::seconds(5);  // as the connector does
constexpr std::string_view kBinding = "-PLUS";
}  // namespace

PassThrough::PassThrough(Client& client, LocalUpstream& up, const protocol::StartupMessage& s, Bytes rest,
                         Time login_until)
    : client_(client),
      worker_(client.worker()),
      up_(up),
      login_until_(login_until),
      dialer_(worker_.loop(), *worker_.shared().resolver, *this),
      out_(worker_.chunks()) {
  std::vector<protocol::Parameter> parameters{{"user", s.user}};
  if (!s.database.empty()) parameters.emplace_back("database", s.database);
  if (!s.options.empty()) parameters.emplace_back("options", s.options);
  if (!s.replication_value.empty()) parameters.emplace_back("replication", s.replication_value);
  // The operator's first: of two the later counts.
  const auto& conf = up.conf->pool;
  for (const auto& [name, value] : conf.startup_parameters) parameters.emplace_back(name, value);
  const auto& ignored = conf.ignore_startup_parameters;
  for (const auto& p : s.parameters) {
    const bool skip = std::any_of(ignored.begin(), ignored.end(),
                                  [&p](const auto& name) { return pool::same_name(name, p.first); });
    if (!skip) parameters.emplace_back(p.first, p.second);
  }
  protocol::startup_message(first_, s.protocol, parameters);
  first_.insert(first_.end(), rest.begin(), rest.end());
}

PassThrough::~PassThrough() { end(); }

void PassThrough::start() {
  pool::Orders orders;
  auto& broker = up_.shared->broker;
  const auto rank = up_.shared->failed_peers.recently(client_.peer(), worker_.loop().now())
                        ? pool::LoginRank::Suspect
                        : pool::LoginRank::Unknown;
  const auto answer = broker.acquire_login_slot(client_.id(), pool::OwnLogin{up_.shared->own_pool()},
                                                steady_now(), orders, rank);
  worker_.carry_out(*up_.shared, orders);
  if (const auto* granted = std::get_if<pool::LoginGranted>(&answer)) {
    slot_ = granted->server;
    connect();
  } else if (const auto* queued = std::get_if<pool::Queued>(&answer)) {
    ticket_ = queued->ticket;
  } else {
    fail({Errc::Limit, 0, "no server connection can be opened for this client", "limit"});
  }
}

void PassThrough::on_slot(pool::ServerId slot) {
  ticket_.reset();
  slot_ = slot;
  if (over_) return end();
  connect();
}

void PassThrough::on_yield(pool::ServerId slot) {
  if (slot_ != slot || !waits_) return;
  up_.shared->failed_peers.failed(client_.peer(), worker_.loop().now());
  refuse({"FATAL", "53300", "the login was given up: other clients need its server connection",
          "The database's question for a password was not answered.", "Connect again."});
}

void PassThrough::on_deadline() {
  worker_.shared().registry->client_refused("client_login_timeout");
  fail({Errc::Timeout, 0, "the login took too long (client_login_timeout)", "timeout"});
}

void PassThrough::connect() {
  route_.start(worker_, *up_.shared, client_.entrance().reach == io::Reach::UnixSocket,
               [this](Result<upstream::Route> route, std::uint64_t epoch) {
                 epoch_ = epoch;
                 if (!route) return fail(route.error());
                 if (!route->prologue.empty()) reply_.emplace();
                 out_.append(route->prologue);
                 dialer_.start(std::move(*route),
                               worker_.loop().now() + up_.conf->pool.server_connect_timeout);
               });
}

void PassThrough::on_connected(upstream::Dialer&, upstream::Connected connected) noexcept {
  const Worker::Turn turn(worker_);
  server_ = std::make_unique<Server>(*slot_, *up_.shared, nullptr);
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
  } else {
    log_upstream_error(*up_.shared, failure.error);
    fail(failure.error);
  }
  client_.event_done();
}

// Before any client hears of it: a certificate that the instance refuses is replaced, once.
bool PassThrough::once_more(bool certificate_refused) {
  if (!certificate_refused || !up_.shared->is_cloudsql() || std::exchange(retried_, true)) return false;
  out_.clear();
  reply_.reset();
  return true;
}

void PassThrough::fail(const Error& error) {
  if (in_login_) up_.shared->metrics.login_failed(error.reason);
  refuse(for_client(error).fields());
}

void PassThrough::refuse(const protocol::ErrorFields& why) {
  protocol::Buffer bytes;
  protocol::error_response(bytes, why);
  client_.send(bytes);
  end();
  client_.ended_by(Client::EndedBy::Us);
  client_.finish();
}

// The end of the server's stream. Under TLS 1.3 that is also how an instance refuses our certificate
// (cloudsql.md §1.9).
void PassThrough::server_ended() {
  upstream::Failure f;
  f.phase = upstream::Phase::Login;
  f.error = {Errc::Io, 0, "the server closed the connection during login", "closed"};
  const auto* t = server_->stream.tls();
  if (t && !t->received_any() && t->failure().certificate_refused()) {
    f.phase = upstream::Phase::Tls;
    f.certificate_refused = true;
    f.error = {Errc::Tls, 0, "the instance refused the certificate: " + server_->stream.error_text(),
               "client_certificate"};
  }
  if (in_login_ && !heard_) note_dial_failure(*up_.shared, f, epoch_, route_.waited());
  if (once_more(f.certificate_refused)) {
    close_server();
    return start();
  }
  if (in_login_ && !told_) {
    log_upstream_error(*up_.shared, f.error);
    return fail(f.error);
  }
  end();
  client_.ended_by(Client::EndedBy::Instance);
  client_.finish();
}

void PassThrough::on_client_event(int events) {
  // Its place in the queue is free.
  if ((!server_ || !heard_) && (events & UV_DISCONNECT) != 0) return client_.hang_up();
  if ((events & (UV_READABLE | UV_DISCONNECT)) != 0) read_client();
  update();
}

void PassThrough::on_server_event(Server&, int events) noexcept {
  const Worker::Turn turn(worker_);
  if ((events & UV_WRITABLE) != 0 && server_) {
    if (out_.flush(server_->stream).status == io::Io::Failed) out_.clear();
  }
  if ((events & (UV_READABLE | UV_DISCONNECT)) != 0 && server_) read_server();
  update();
  client_.event_done();
}

void PassThrough::read_client() {
  for (int i = 0; i < kReadsPerTurn && server_ && heard_ && out_.empty(); ++i) {
    const auto to = worker_.scratch();
    const auto r = client_.stream().read(to);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return;
    if (r.status != io::Io::Done) return client_.hang_up();
    if (!resume()) return;
    withheld_ ? first_answer(to.first(r.n)) : to_server(to.first(r.n));
    if (r.n < to.size() && !client_.stream().holds_input()) return;
  }
}

// The client has said something. False: too late, its login has been given up.
bool PassThrough::resume() {
  if (!std::exchange(waits_, false) || up_.shared->broker.login_resumed(*slot_, steady_now())) return true;
  waits_ = true;
  on_yield(*slot_);
  return false;
}

void PassThrough::read_server() {
  for (int i = 0; i < kReadsPerTurn && server_ && !client_.has_output(); ++i) {
    const auto to = worker_.scratch();
    const auto r = server_->stream.read(to);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return;
    if (r.status != io::Io::Done) return server_ended();
    from_server(to.first(r.n));
    if (!server_ || (r.n < to.size() && !server_->stream.holds_input())) return;
  }
}

void PassThrough::from_server(Bytes in) {
  if (reply_) {
    const auto state = reply_->feed(in);
    if (state == cloudsql::MdxReply::State::More) return;
    if (state == cloudsql::MdxReply::State::Bad) {
      return fail({Errc::Protocol, 0, "the instance's answer cannot be read: " + reply_->message(), "mdx"});
    }
    reply_.reset();
  }
  if (in.empty()) return;
  if (!std::exchange(heard_, true)) {
    protocol::wipe(first_);
    protocol::Buffer{}.swap(first_);
  }
  received_ += in.size();
  while (in_login_ && !over_ && !in.empty()) {
    const auto s = framer_.next(in);
    if (!s) {
      if (framer_.bad()) return fail({Errc::Protocol, 0, "the server broke the protocol", "protocol"});
      break;
    }
    welcome_message(*s);
  }
  if (!in.empty() && !over_) client_.send(in);
}

void PassThrough::welcome_message(const protocol::Slice& s) {
  if (s.type == 'R') return authentication_message(s);
  if (s.type == 'K' && s.body_size <= protocol::kMaxCancelKey + 4) return whole(s) ? key_message() : void();
  if (s.type == 'Z' && s.last) in_login_ = false;
  if (s.type == 'E') {
    told_ = true;
    const auto error = s.first && s.last ? protocol::ErrorView::decode(s.body()) : std::nullopt;
    if (error && error->code.starts_with("28"))
      up_.shared->failed_peers.failed(client_.peer(), worker_.loop().now());
  }
  client_.send(s.bytes);
}

// Keeps a message that comes in pieces. True: it is in part_ as a whole.
bool PassThrough::whole(const protocol::Slice& s) {
  if (s.first) part_.clear();
  part_.insert(part_.end(), s.bytes.begin(), s.bytes.end());
  return s.last;
}

// A server that lets the client in unasked knows us by our certificate or our address: not every listener may
// use that (product.md §4.2), here as little as in a pool.
void PassThrough::authentication_message(const protocol::Slice& s) {
  constexpr std::uint32_t kOk = 0, kSasl = 10, kSaslFinal = 12, kSizeOfOk = 4;
  if (s.body_size < kSizeOfOk || s.body_size > kMostMechanisms) {
    asked_ = true;
    client_.send(s.bytes);
    if (s.last) client_is_asked();
    return;
  }
  if (!whole(s)) return;
  const auto kind = protocol::load_be32(part_.data() + 5);
  if (kind == kSasl) {
    asked_ = true;
    offer_mechanisms();
    return client_is_asked();
  }
  const bool ok = kind == kOk && s.body_size == kSizeOfOk;
  if (ok && !asked_ && !client_.entrance().trusted()) {
    return fail({Errc::Auth, 0, "this listener may not use a login without a password", "listener"});
  }
  asked_ = asked_ || !ok;
  if (ok && !authenticated()) return;
  client_.send(part_);
  if (!ok && kind != kSaslFinal) client_is_asked();
}

// What the login holds is held for the client from here on: who does not answer makes way for others.
void PassThrough::client_is_asked() {
  if (over_ || !slot_ || std::exchange(waits_, true)) return;
  pool::Orders orders;
  up_.shared->broker.login_waits(*slot_, steady_now(), orders);
  worker_.carry_out(*up_.shared, orders);
}

// From here on the server is the client's. False: there is no room for it any more.
bool PassThrough::authenticated() {
  if (!slot_) return true;
  pool::Orders orders;
  waits_ = false;
  const bool adopted = up_.shared->broker.adopt(*slot_, up_.shared->own_pool(), 0, steady_now(), orders);
  worker_.carry_out(*up_.shared, orders);
  if (!adopted) {
    fail({Errc::Limit, 0, "too many server connections", "limit"});
    return false;
  }
  slot_.reset();
  up_.shared->metrics.opened();
  up_.shared->failed_peers.succeeded(client_.peer());
  return true;
}

// Channel binding ties the login to one TLS connection, and between client and server there are two, or one
// and none: what cannot hold is not offered. libpq without TLS would end the connection at the sight of it.
void PassThrough::offer_mechanisms() {
  // It is to the server's certificate (tls-server-end-point, RFC 5929 §4): sidepool may have the same.
  const auto *client = client_.stream().tls(), *server = server_->stream.tls();
  if (client && server && tls::same_certificate(client->ssl(), server->ssl()))
    return void(client_.send(part_));
  const std::string_view list = protocol::as_text(Bytes(part_).subspan(9));
  std::vector<std::string_view> offered;
  for (std::size_t at = 0; at < list.size() && list[at] != '\0';) {
    const auto name = list.substr(at, list.find('\0', at) - at);
    at += name.size() + 1;
    name.ends_with(kBinding) ? void(withheld_ = true) : offered.push_back(name);
  }
  if (offered.empty()) {
    return refuse({"FATAL",
                   "28000",
                   "the database accepts only logins that are bound to their TLS connection",
                   "TLS ends at sidepool.",
                   {}});
  }
  withheld_ = withheld_ && client_.stream().tls();
  protocol::Buffer bytes;
  protocol::authentication_sasl(bytes, offered);
  client_.send(bytes);
}

// A client inside TLS that could bind and believes that the server cannot says so in its first answer (flag
// "y", RFC 5802 §6) and signs it; the server, which can, takes that for an attack. It is told what to do.
void PassThrough::first_answer(Bytes in) {
  answer_.insert(answer_.end(), in.begin(), in.end());
  if (answer_.size() < 5) return;
  const auto size = protocol::load_be32(answer_.data() + 1);
  const bool looked_at = answer_[0] == 'p' && size >= 4 && size <= kMostAnswer;
  if (looked_at && answer_.size() < size + 1U) return;
  withheld_ = false;
  if (looked_at) {
    const auto body = protocol::as_text(Bytes(answer_).subspan(5, size - 4));
    const auto data = body.find('\0') + 1 + 4;  // the mechanism's name and the length
    if (data < body.size() && body.starts_with("SCRAM-") && body[data] == 'y') {
      return refuse({"FATAL", "28000", "channel binding is not possible through sidepool",
                     "There are two TLS connections between this client and the database.",
                     "Connect with channel_binding=disable (PGCHANNELBINDING)."});
    }
  }
  to_server(answer_);
  protocol::wipe(answer_);
  protocol::Buffer{}.swap(answer_);
}

// The server's key is kept and ours is given in its place, so that a CancelRequest finds its way.
void PassThrough::key_message() {
  const auto k = protocol::BackendKeyDataView::decode(Bytes(part_).subspan(5));
  if (!k) return fail({Errc::Protocol, 0, "the server broke the protocol", "protocol"});
  server_->state.backend_pid = k->pid;
  server_->cancel_key.assign(k->key.begin(), k->key.end());
  auto& key = client_.cancel_key();
  key.size = static_cast<std::uint8_t>(std::min<std::size_t>(k->key.size(), key.secret.size()));
  fill_random(std::span(key.secret).first(key.size));
  protocol::Buffer bytes;
  protocol::backend_key_data(bytes, client_.pid(), key.bytes());
  client_.send(bytes);
}

void PassThrough::to_server(Bytes bytes) {
  if (!server_) return;
  sent_ += bytes.size();
  if (out_.empty() && !server_->stream.holds_output()) {
    const auto r = server_->stream.write(bytes);
    if (r.status == io::Io::Failed) return;  // what it said before is read, and then its end
    bytes = bytes.subspan(r.n);
  }
  if (!bytes.empty()) out_.append(bytes);
}

void PassThrough::tell_metrics() {
  told_metrics_ = worker_.loop().now();
  if (sent_ + received_ > 0)
    up_.shared->metrics.add_bytes(std::exchange(sent_, 0), std::exchange(received_, 0));
}

void PassThrough::update() {
  if (worker_.loop().now() - told_metrics_ >= kTellMetrics) tell_metrics();
  if (server_) {
    const int write = !out_.empty() || server_->stream.holds_output() ? UV_WRITABLE : 0;
    server_->watch.arm(write | (client_.has_output() ? 0 : UV_READABLE));
  }
  const int read = !server_ || !heard_ ? UV_DISCONNECT : out_.empty() ? UV_READABLE : 0;
  client_.arm((client_.has_output() ? UV_WRITABLE : 0) | read);
}

void PassThrough::cancel(io::Stream requester) {
  if (server_ && !server_->cancel_key.empty()) worker_.cancel(*server_, std::nullopt, std::move(requester));
}

void PassThrough::on_client_gone() { end(); }

void PassThrough::close_server() {
  if (!server_) return;
  if (!slot_) return worker_.close(std::move(server_), false);
  auto connection = std::exchange(server_, nullptr);
  connection->unwatch();
  waits_ = false;
  worker_.close_login(*up_.shared, *std::exchange(slot_, std::nullopt), std::move(connection->stream), false);
}

void PassThrough::end() {
  over_ = true;
  tell_metrics();
  route_.cancel();
  dialer_.cancel();
  pool::Orders orders;
  out_.clear();
  close_server();
  if (ticket_) up_.shared->broker.cancel(*std::exchange(ticket_, std::nullopt), steady_now(), orders);
  if (slot_) up_.shared->broker.login_ended(*std::exchange(slot_, std::nullopt), true, steady_now(), orders);
  worker_.carry_out(*up_.shared, orders);
}

}  // namespace sidepool::worker
