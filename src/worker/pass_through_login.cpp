// src/worker/pass_through_login.cpp -- what is looked at on the way to the key: who is asked, with which
// mechanisms, and whether the database has let the client in.
#include <algorithm>
#include <utility>

#include "protocol/encode.h"
#include "protocol/messages.h"
#include "src/base/random.h"
#include "src/tls/verify.h"
#include "src/worker/client.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

using protocol::Bytes;

namespace {
constexpr std::uint32_t kMostMechanisms = 1024;
constexpr std::uint32_t kMostAnswer = 65535;  // PG_MAX_AUTH_TOKEN_LENGTH, which a Kerberos ticket may need
constexpr std::uint32_t kMostNegotiation = 1024;
constexpr std::string_view kBinding = "-PLUS";
}  // namespace

void PassThrough::welcome_message(const protocol::Slice& s) {
  if (negotiation_ && negotiation_message(s)) return;
  if (s.type == 'R') return authentication_message(s);
  if (slot_ && (s.type == 'K' || s.type == 'Z'))
    return fail({Errc::Protocol, 0, "the server broke the protocol", "protocol"});
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

// The client has asked for more than we speak and is told once what it gets: an older server's own
// NegotiateProtocolVersion and ours become one. True: the message was that.
bool PassThrough::negotiation_message(const protocol::Slice& s) {
  const bool of_server = s.type == 'v';
  if (of_server && s.body_size > kMostNegotiation) {
    fail({Errc::Protocol, 0, "the server broke the protocol", "protocol"});
    return true;
  }
  if (of_server && !whole(s)) return true;
  const auto told = *std::exchange(negotiation_, std::nullopt);
  auto minor = told.minor;
  if (of_server && s.body_size >= 4) minor = std::min(minor, protocol::load_be32(part_.data() + 5) & 0xffff);
  const std::vector<std::string_view> options(told.options.begin(), told.options.end());
  protocol::Buffer bytes;
  protocol::negotiate_protocol_version(bytes, minor, options);
  client_.send(bytes);
  return of_server;
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
  if (waits_ && !answer_.empty()) take_answer({});
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
  to_server(answer_);
  protocol::Buffer{}.swap(answer_);
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

// While the login holds what others may need, only a whole message is an answer: with one byte now and then
// nobody keeps it. There is one for each question; what comes too soon waits for the next.
void PassThrough::take_answer(Bytes in) {
  answer_.insert(answer_.end(), in.begin(), in.end());
  if (answer_.size() < 5) return;
  const auto size = protocol::load_be32(answer_.data() + 1);
  if (size < 4 || size - 4 > kMostAnswer) {
    return refuse({"FATAL",
                   "08P01",
                   "the answer to the database's question for a password has no valid length",
                   {},
                   {}});
  }
  if (answer_.size() < size + 1U || !resume()) return;
  const auto answer = Bytes(answer_).first(size + 1U);
  if (std::exchange(withheld_, false) && binds(answer)) {
    return refuse({"FATAL", "28000", "channel binding is not possible through sidepool",
                   "There are two TLS connections between this client and the database.",
                   "Connect with channel_binding=disable (PGCHANNELBINDING)."});
  }
  to_server(answer);
  protocol::Buffer rest(answer_.begin() + size + 1, answer_.end());
  protocol::wipe(answer_);
  answer_.swap(rest);
}

// A client inside TLS that could bind and believes that the server cannot says so in its first answer (flag
// "y", RFC 5802 §6) and signs it; the server, which can, takes that for an attack. It is told what to do.
bool PassThrough::binds(Bytes answer) noexcept {
  const auto body = protocol::as_text(answer.subspan(5));
  const auto data = body.find('\0') + 1 + 4;  // the mechanism's name and the length
  return answer[0] == 'p' && data < body.size() && body.starts_with("SCRAM-") && body[data] == 'y';
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

}  // namespace sidepool::worker
