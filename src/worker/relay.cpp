// src/worker/relay.cpp -- the hot path: bytes between a client's socket, its session machine and its server.
#include <algorithm>

#include "src/base/log.h"
#include "src/worker/client.h"
#include "src/worker/login.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

using pool::Do;
using protocol::Bytes;

namespace {
// A connection gives way to others after this many reads in one turn of the loop.
constexpr int kReadsPerTurn = 8;
// What is kept of a client that the session does not take yet; then it is not read any more.
constexpr std::size_t kMostHeld = 16384;

// A clean-up, or nothing: the request behind it goes with the same write, which wakes the server once.
bool only_to_server(const pool::Actions& actions) noexcept {
  for (std::size_t i = 0; i < actions.size(); ++i) {
    if (actions[i].what != Do::ToServer) return false;
  }
  return true;
}
}  // namespace

bool Client::wants_client_bytes() const noexcept {
  if (gone_ || finishing_ || !session_ || server_lags()) return false;
  return held_.empty() ? !session_->draining() : held_.size() < kMostHeld;
}

void Client::read_client() {
  for (int i = 0; i < kReadsPerTurn && wants_client_bytes(); ++i) {
    auto to = worker_.scratch();
    if (!session_->takes_client_input())
      to = to.first(std::min(to.size(), kMostHeld - std::min(kMostHeld - 1, held_.size())));
    const auto r = stream_.read(to);
    switch (r.status) {
      case io::Io::Done:
        if (pool_) counters().from_clients.add(r.n);
        feed(to.first(r.n));
        break;
      case io::Io::WantRead:
      case io::Io::WantWrite:
        return;
      case io::Io::Closed:
      case io::Io::Failed:
        // Messages before a Terminate are carried out; then the session itself reads the Terminate.
        if (ends_with_terminate()) {
          watch_.stop();
          return;
        }
        return client_gone();
    }
    if (r.n < to.size() && !stream_.holds_input()) return;
  }
}

// The kept bytes are whole messages, the last of which is Terminate.
bool Client::ends_with_terminate() const noexcept {
  std::size_t at = 0;
  bool terminate = false;
  while (held_.size() - at >= 5) {
    const std::size_t size = 1 + std::size_t{protocol::load_be32(held_.data() + at + 1)};
    if (size < 5 || size > held_.size() - at) return false;
    terminate = held_[at] == 'X';
    at += size;
  }
  return terminate && at == held_.size();
}

void Client::feed(Bytes bytes) {
  if (!held_.empty()) {
    held_.insert(held_.end(), bytes.begin(), bytes.end());
    return offer_held();
  }
  process(bytes);
  if (!bytes.empty() && !gone_) held_.assign(bytes.begin(), bytes.end());
}

void Client::offer_held() {
  if (held_.empty() || !session_ || gone_) return;
  Bytes in(held_);
  process(in);
  keep_rest(in);
}

// Of held_ the session has left `rest`.
void Client::keep_rest(Bytes rest) {
  if (rest.empty()) {
    protocol::Buffer{}.swap(held_);
  } else if (rest.size() < held_.size()) {
    held_.erase(held_.begin(), held_.end() - static_cast<std::ptrdiff_t>(rest.size()));
  }
}

void Client::process(Bytes& in) {
  auto& actions = worker_.actions();
  while (!in.empty() && session_ && session_->takes_client_input()) {
    const auto before = in.size();
    actions.clear();
    session_->on_client(in, actions);
    const bool idle = actions.empty() && in.size() == before;
    run(actions, &in);
    if (idle) return;
    if (server_lags() && in.size() == before) return;
  }
}

void Client::on_server_event(Server&, int events) noexcept {
  const Worker::Turn turn(worker_);
  if ((events & UV_WRITABLE) != 0 && server_lags()) {
    auto& out = server_->out;
    if (out.flush(server_->stream).status == io::Io::Failed) out.clear();
    if (out.empty()) offer_held();
  }
  if ((events & (UV_READABLE | UV_DISCONNECT)) != 0 && server_) read_server();
  if (session_ && stream_.holds_input()) read_client();
  after();
}

void Client::on_again(io::Deferred& work) noexcept {
  auto& c = owner_of<&Client::again_>(work);
  const Worker::Turn turn(c.worker_);
  if (c.pass_) c.pass_->on_again();
  if (c.server_ && c.reads_server()) c.read_server();
  if (c.session_ && c.wants_client_bytes() && c.stream_.holds_input()) c.read_client();
  c.after();
}

void Client::read_server() {
  for (int i = 0; i < kReadsPerTurn && server_ && reads_server(); ++i) {
    const auto to = worker_.scratch();
    const auto r = server_->stream.read(to);
    switch (r.status) {
      case io::Io::Done: {
        counters().from_servers.add(r.n);
        Bytes in = to.first(r.n);
        offer_server(in);
        break;
      }
      case io::Io::WantRead:
      case io::Io::WantWrite:
        return;
      case io::Io::Closed:
      case io::Io::Failed:
        return server_lost();
    }
    if (!server_ || (r.n < to.size() && !server_->stream.holds_input())) break;
  }
}

// What one server has said is looked at only while the client has that one: the session may let go of it, or
// have it closed, and get another within the same call.
void Client::offer_server(Bytes& in) {
  auto& actions = worker_.actions();
  const Server* const from = server_.get();
  server_in_ = &in;
  while (!in.empty() && server_.get() == from && session_) {
    const auto before = in.size();
    actions.clear();
    session_->on_server(in, actions);
    const bool idle = actions.empty() && in.size() == before;
    run(actions);
    if (idle) break;
  }
  server_in_ = nullptr;
  offer_held();
}

void Client::server_lost() {
  worker_.close(std::move(server_), false);  // it is there until this event ends: the session looks at it
  if (!gone_) ended_by_ = EndedBy::Instance;
  auto& actions = worker_.actions();
  actions.clear();
  session_->on_server_lost(actions);
  run(actions);
  if (!gone_ && !finishing_) ended_by_ = EndedBy::Client;  // it stays, and gets another server
  offer_held();
}

// `in`: what the client has said and the session has not taken; null if that is for somebody else to offer.
void Client::run(pool::Actions& actions, Bytes* in) {
  at_work_ = true;
  for (std::size_t i = 0; i < actions.size();) {
    const auto a = actions[i++];
    const bool writes = a.what == Do::ToServer || a.what == Do::ToClient;
    if (!writes) {
      act(a.what);
    } else if (i == actions.size() || actions[i].what != a.what) {
      write(a.what, std::span(&a.bytes, 1));
    } else {
      i = write_together(actions, i - 1);
    }
  }
  at_work_ = false;
  if (session_) count_events();
  if (!granted_) return;
  server_ = std::move(granted_);
  actions.clear();
  session_->on_granted(server_->state, actions);
  if (in && !in->empty() && only_to_server(actions) && session_->takes_client_input())
    session_->on_client(*in, actions);
  run(actions, in);
}

// The writes to one side from the i-th action on. Returns the place behind them.
std::size_t Client::write_together(const pool::Actions& actions, std::size_t i) {
  std::array<io::ConstBytes, io::Stream::kMaxPieces> pieces;
  const auto to = actions[i].what;
  std::size_t n = 0;
  for (; n < pieces.size() && i < actions.size() && actions[i].what == to; ++i)
    pieces[n++] = actions[i].bytes;
  write(to, std::span(pieces).first(n));
  return i;
}

void Client::act(Do what) {
  switch (what) {
    case Do::ToServer:
    case Do::ToClient:
      return;
    case Do::AcquireServer:
      return acquire();
    case Do::ReleaseServer:
      return release_server();
    case Do::CloseServer:
      return close_server(server_ && server_->out.empty());
    case Do::CutServer:
      return close_server(false);
    case Do::CloseClient:
      return finish();
    case Do::CancelServer:
      return cancel_running();
    case Do::LoginDone:
      return welcome();
  }
}

void Client::acquire() {
  request_since_ = worker_.now();
  for (;;) {
    pool::Orders orders;
    auto answer = up_->shared->broker.acquire(
        pool_->id, id(), {session_->scope().startup, session_->state_key()}, request_since_, orders);
    if (const auto* use = std::get_if<pool::UseIdle>(&answer)) {
      auto server = worker_.take_idle(use->server);
      worker_.carry_out(*up_->shared, orders);
      if (!server) return worker_.refuse_later(id());  // never: an idle server is on the worker that was told
      if (worker_.fit_after_rest(*server)) return on_granted(std::move(server));
      worker_.close(std::move(server), true);
      continue;
    }
    if (const auto* queued = std::get_if<pool::Queued>(&answer)) {
      ticket_ = queued->ticket;
      return worker_.carry_out(*up_->shared, orders);
    }
    worker_.carry_out(*up_->shared, orders);
    ticket_ = pool::Ticket::None;
    return worker_.refuse_later(id());
  }
}

void Client::on_granted(std::unique_ptr<Server> server) {
  ticket_ = pool::Ticket::None;
  if (!session_ || session_->phase() != pool::Phase::Waiting || server_ || granted_) {
    return worker_.release(std::move(server), pool::Condition::Clean, 0);
  }
  server->user = this;
  cancel_sent_ = wrote_ = false;
  transaction_since_ = worker_.now();
  counters().wait.observe(transaction_since_ - request_since_);
  granted_ = std::move(server);
  if (at_work_) return;  // run() goes on with it
  auto& actions = worker_.actions();
  actions.clear();
  Bytes in(held_);
  run(actions, &in);
  keep_rest(in);
  offer_held();
  after();
}

void Client::release_server() {
  server_->user = nullptr;
  bool fit = !server_lags();
  if (server_in_ && !server_in_->empty()) {
    fit = fit && Worker::idle_bytes(*server_, *server_in_);
    *server_in_ = {};
  }
  if (!fit) return worker_.close(std::move(server_), false);
  worker_.release(std::move(server_), pool::Condition::Clean, session_->state_key());
}

void Client::close_server(bool say_terminate) {
  if (!server_) return;
  // The client has left in the middle of something: what runs is cancelled first (product.md §5, The bound).
  const bool running = wrote_ && !cancel_sent_ && session_->phase() == pool::Phase::Closed;
  if (running) worker_.cancel(*server_, std::nullopt, io::Stream{});
  if (server_in_) *server_in_ = {};
  worker_.close(std::move(server_), say_terminate);
}

// What the socket does not take now waits in an outbox, and the other side is not read meanwhile.
void Client::write(Do to, std::span<const io::ConstBytes> pieces) {
  const bool client = to == Do::ToClient;
  if (client ? gone_ : !server_) return;
  auto& stream = client ? stream_ : server_->stream;
  auto& box = client ? out_ : server_->out;
  std::size_t size = 0;
  for (const auto p : pieces) size += p.size();
  if (!client) wrote_ = true;
  if (pool_) (client ? counters().to_clients : counters().to_servers).add(size);
  std::size_t taken = 0;
  if (box.empty() && !stream.holds_output()) {
    const auto r = stream.writev(pieces);
    taken = r.n;
    if (r.status == io::Io::Failed) {
      if (client) worker_.client_failed(id());
      return;  // of a server, what it said before is still read, and then its end
    }
  }
  if (client && box.empty()) output_since_ = worker_.loop().now();
  for (const auto p : pieces) {
    const auto skip = std::min(taken, p.size());
    taken -= skip;
    if (skip < p.size()) box.append(p.subspan(skip));
  }
}

void Client::update_watches() {
  const bool logging_in = login_ && !login_->in_handshake();  // which arms for what TLS wants
  if (!gone_ && (finishing_ || session_ || logging_in) && watch_.started()) {
    const int write = has_output() ? UV_WRITABLE : 0;
    const bool read = finishing_ || logging_in || wants_client_bytes();
    arm(write | (read ? UV_READABLE : 0));
  }
  if (server_) {
    const int write = server_lags() ? UV_WRITABLE : 0;
    const bool read = reads_server();
    server_->watch.arm(write | (read ? UV_READABLE : 0));
    if (read && server_->stream.holds_input()) worker_.loop().defer(again_);
  }
  if (session_ && wants_client_bytes() && stream_.holds_input()) worker_.loop().defer(again_);
}

}  // namespace sidepool::worker
