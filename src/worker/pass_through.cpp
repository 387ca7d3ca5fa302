// src/worker/pass_through.cpp -- see pass_through.h.
#include "src/worker/pass_through.h"

#include <algorithm>

#include "protocol/encode.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"

namespace sidepool::worker {

using protocol::Bytes;

namespace {
constexpr int kReadsPerTurn = 8;
constexpr Duration kTellMetrics = std::chrono::seconds(5);  // as the connector does
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
  const auto& conf = up.conf->pool;
  if (!s.options.empty() && !ignores(conf, "options")) parameters.emplace_back("options", s.options);
  if (!s.replication_value.empty()) parameters.emplace_back("replication", s.replication_value);
  // The operator's first: of two the later counts.
  for (const auto& [name, value] : conf.startup_parameters) parameters.emplace_back(name, value);
  for (const auto& p : s.parameters) {
    if (!ignores(conf, p.first)) parameters.emplace_back(p.first, p.second);
  }
  protocol::startup_message(first_, s.protocol, parameters);
  if (s.negotiate()) negotiation_ = {s.protocol & 0xffff, s.protocol_options};
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

std::optional<Time> PassThrough::deadline() const {
  if (over_) return std::nullopt;
  std::optional<Time> first;
  if (in_login_) first = login_until_;
  const auto most = up_.conf->pool.client_write_timeout;
  if (most > Duration::zero() && client_.has_output()) {
    const auto until = client_.output_since() + most;
    if (!first || until < *first) first = until;
  }
  return first;
}

void PassThrough::on_deadline() {
  const auto now = worker_.loop().now();
  if (!in_login_ || now < login_until_) {  // it does not read: there is no way to tell it
    client_.ended_by(Client::EndedBy::Us);
    return client_.hang_up();
  }
  if (waits_) up_.shared->failed_peers.failed(client_.peer(), now);
  worker_.shared().registry->client_refused("client_login_timeout");
  if (ticket_) {
    return refuse({"FATAL", "53300", "no server connection became free in time (client_login_timeout)",
                   "Each pass-through client has one of its own, within pool.size.",
                   "Raise pool.size, or look for clients that stay connected."});
  }
  if (waits_) return refuse({"FATAL", "08006", "the login took too long (client_login_timeout)", {}, {}});
  fail({Errc::Timeout, 0, "the login took too long (client_login_timeout)", "timeout"});
}

void PassThrough::on_stop(StopStep step) {
  if (in_login_) return refuse({"FATAL", "57P03", "sidepool is shutting down", {}, {}});
  if (step != StopStep::Cut) return;
  cancel(io::Stream{});
  client_.finish();
}

void PassThrough::fail(const Error& error) {
  if (in_login_) up_.shared->metrics.login_failed(error.reason);
  refuse(for_client(error).fields());
}

void PassThrough::refuse(const protocol::ErrorFields& why) {
  if (!framer_.inside()) {  // else it would be read as the rest of a message of the server's
    protocol::Buffer bytes;
    protocol::error_response(bytes, why);
    client_.send(bytes);
  }
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
  // Its place in the queue, or its slot, is free.
  if ((!server_ || (slot_ && !waits_)) && (events & UV_DISCONNECT) != 0) return client_.hang_up();
  if ((events & (UV_READABLE | UV_DISCONNECT)) != 0) read_client();
  update();
}

void PassThrough::on_again() {
  if (server_) read_server();
  read_client();
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

// Before the server lets the client in, only when it has asked; and only while the server has taken all that
// was read: the client's end is not seen before that, and closes the server.
bool PassThrough::reads_client() const noexcept {
  return server_ && out_.empty() && !server_->stream.holds_output() && (!slot_ || waits_);
}

void PassThrough::read_client() {
  for (int i = 0; i < kReadsPerTurn && reads_client(); ++i) {
    const auto to = worker_.scratch();
    const auto r = client_.stream().read(to);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return;
    if (r.status != io::Io::Done) return client_.hang_up();
    slot_ ? take_answer(to.first(r.n)) : to_server(to.first(r.n));
    if (r.n < to.size() && !client_.stream().holds_input()) return;
  }
}

// The client has answered. False: too late, its login has been given up.
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
  const bool takes = !client_.has_output();
  if (server_) {
    const int write = !out_.empty() || server_->stream.holds_output() ? UV_WRITABLE : 0;
    server_->watch.arm(write | (takes ? UV_READABLE : 0));
  }
  const int read = reads_client() ? UV_READABLE : !server_ || slot_ ? UV_DISCONNECT : 0;
  client_.arm((takes ? 0 : UV_WRITABLE) | read);
  const bool more = (server_ && takes && server_->stream.holds_input()) ||
                    (reads_client() && client_.stream().holds_input());
  if (more) client_.come_again();
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
