// src/worker/worker_servers.cpp -- servers on a worker: idle, handed on, closed; and the broker's orders.
#include <algorithm>

#include "protocol/encode.h"
#include "protocol/messages.h"
#include "src/base/log.h"
#include "src/base/random.h"
#include "src/worker/client.h"
#include "src/worker/opener.h"

namespace sidepool::worker {

namespace {
constexpr std::size_t kMostSpare = 1024;
// A server that was used more recently is taken without asking its socket first: a busy pool pays nothing.
constexpr Duration kRest = std::chrono::milliseconds(1);
}  // namespace

std::unique_ptr<Server> Worker::take_idle(pool::ServerId id) {
  auto node = idle_.extract(id);
  if (node.empty()) return nullptr;
  auto server = std::move(node.mapped());
  if (spare_.size() < kMostSpare) spare_.push_back(std::move(node));
  return server;
}

void Worker::release(std::unique_ptr<Server> server, pool::Condition condition, std::uint64_t state) {
  server->user = nullptr;
  if (!quiet(*server)) {
    condition = pool::Condition::Broken;
  } else if (stopping_) {
    condition = pool::Condition::Retire;
  }
  auto& up = *server->upstream;
  pool::Orders out;
  const auto decision = up.broker.release(server->id, id(), condition, state, now(), out);
  place(std::move(server), decision);
  carry_out(up, out);
}

bool Worker::quiet(Server& server) {
  while (server.stream.holds_input()) {
    const auto r = server.stream.read(aside_);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return true;
    if (r.status != io::Io::Done || !idle_bytes(server, std::span(aside_).first(r.n))) return false;
  }
  return true;
}

bool Worker::fit_after_rest(Server& server) {
  if (now() - server.idle_since < kRest) return true;
  return says_nothing(server);
}

// Takes what an idle server has said. False: it is not fit for use, or has ended.
bool Worker::says_nothing(Server& server) {
  for (int i = 0; i < 16; ++i) {
    const auto r = server.stream.read(aside_);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) return true;
    if (r.status != io::Io::Done || !idle_bytes(server, std::span(aside_).first(r.n))) return false;
  }
  return false;
}

void Worker::place(std::unique_ptr<Server> server, pool::Release decision) {
  if (std::holds_alternative<pool::Park>(decision)) {
    server->watch.arm(UV_READABLE);
    server->idle_since = now();
    return park(std::move(server));
  }
  if (const auto* hand = std::get_if<pool::HandTo>(&decision)) {
    const auto to = hand->waiter.session;
    if (to.worker == id()) return granted_.push_back({std::move(server), to});
    server->unwatch();
    auto* other = shared_.workers[static_cast<std::size_t>(to.worker)];
    return other->post(GiveServer{std::move(server), to});
  }
  begin_close(std::move(server), true);
}

void Worker::park(std::unique_ptr<Server> server) {
  const auto id = server->id;
  if (spare_.empty()) {
    idle_.emplace(id, std::move(server));
    return;
  }
  auto node = std::move(spare_.back());
  spare_.pop_back();
  node.key() = id;
  node.mapped() = std::move(server);
  idle_.insert(std::move(node));
}

void Worker::give(std::unique_ptr<Server> server, pool::SessionId session) {
  granted_.push_back({std::move(server), session});
}

void Worker::close(std::unique_ptr<Server> server, bool say_terminate) {
  if (!server) return;
  server->user = nullptr;
  auto& up = *server->upstream;
  pool::Orders out;
  up.broker.release(server->id, id(), pool::Condition::Broken, 0, steady_now(), out);
  begin_close(std::move(server), say_terminate);
  carry_out(up, out);
}

void Worker::close_login(Upstream& up, pool::ServerId slot, io::Stream stream, bool say_terminate) {
  pool::Orders out;
  const bool open = stream.open();
  up.broker.login_ended(slot, !open, steady_now(), out);
  if (open) {
    auto server = std::make_unique<Server>(slot, up, PoolRef{});
    server->stream = std::move(stream);
    up.metrics.opened();
    begin_close(std::move(server), say_terminate);
  }
  carry_out(up, out);
}

// The slot is free when the peer has closed, or after server_close_timeout (product.md §5, The bound).
void Worker::begin_close(std::unique_ptr<Server> server, bool say_terminate) {
  server->user = nullptr;
  server->closing = true;
  server->out.clear();
  server->worker = this;
  if (say_terminate) {
    protocol::Buffer bytes;
    protocol::terminate(bytes);
    server->stream.write(bytes);
  }
  server->stream.shutdown_write();
  auto& s = *server;
  closing_[s.id] = std::move(server);
  if (!s.watch.started() && !s.watch_on(*this)) return closed(s);
  s.watch.arm(UV_READABLE);
  loop_->arm_after(s.timer, local(*s.upstream).conf->pool.server_close_timeout);
  on_idle_or_closing_event(s, UV_READABLE);  // it may be over already
}

void Worker::on_close_timeout(Server& server) noexcept {
  const Turn turn(*this);
  if (waits_for_cancel(server.id))  // it runs on until that has come
    return loop_->arm_after(server.timer, local(*server.upstream).conf->pool.server_close_timeout);
  log::debug("a server did not close its connection in time", {{"upstream", server.upstream->name}});
  closed(server);
}

void Worker::closed(Server& s) {
  s.timer.disarm();
  s.unwatch();
  s.stream.close();
  auto& up = *s.upstream;
  up.metrics.closed();
  closed_.push_back(s.id);
  pool::Orders out;
  up.broker.closed(s.id, steady_now(), out);
  carry_out(up, out);
}

void Worker::on_idle_or_closing_event(Server& s, int) noexcept {
  const Turn turn(*this);
  if (!s.closing) {
    if (says_nothing(s)) return void(s.watch.arm(UV_READABLE));
    if (auto server = take_idle(s.id)) idle_died(std::move(server));
    return;
  }
  for (int i = 0; i < 16; ++i) {  // what a closing server still says is for nobody
    const auto r = s.stream.read(aside_);
    if (r.status == io::Io::WantRead || r.status == io::Io::WantWrite) break;
    if (r.status != io::Io::Done) return closed(s);
  }
  s.watch.arm(UV_READABLE);  // after an error of the socket the watch is disarmed
}

void Worker::idle_died(std::unique_ptr<Server> server) {
  auto& up = *server->upstream;
  pool::Orders out;
  up.broker.idle_lost(server->id, false, steady_now(), out);
  begin_close(std::move(server), true);
  carry_out(up, out);
}

bool Worker::idle_bytes(Server& server, protocol::Bytes in) {
  protocol::Framer framer(65536);
  while (!in.empty()) {
    const auto s = framer.next(in);
    if (!s || !s->last) return false;  // half a message from a server that nobody uses
    if (s->type == 'N') continue;
    if (s->type == 'A') {
      server.state.require(pool::CleanUp::Everything);  // it listens, and nobody had it do so
      continue;
    }
    const auto p = s->type == 'S' ? protocol::ParameterStatusView::decode(s->body()) : std::nullopt;
    if (!p || !server.state.may_report(p->name, p->value)) return false;
    server.state.base = pool::with(server.state.base, p->name, p->value);
  }
  return true;
}

void Worker::carry_out(Upstream& up, pool::Orders& orders) {
  if (orders.list.empty() && !orders.wake) return;
  const auto list = std::exchange(orders.list, {});
  const auto wake = std::exchange(orders.wake, std::nullopt);
  for (const auto& order : list) {
    std::visit([&](const auto& o) { obey(up, o); }, order);
  }
  if (!wake) return;
  const auto poller = up.index % shared_.workers.size();
  if (poller == number_) {
    arm_poll(up.index, *wake);
  } else {
    shared_.workers[poller]->post(PollBroker{up.index, *wake});
  }
}

void Worker::obey(Upstream& up, pool::OpenOne order) {
  openers_.push_back(std::make_unique<Opener>(*this, up, order));
  openers_.back()->start();
}

void Worker::obey(Upstream& up, pool::Recall order) {
  if (order.from != id())
    return shared_.workers[static_cast<std::size_t>(order.from)]->post(BrokerOrder{up.index, order});
  if (auto server = take_idle(order.server)) release(std::move(server), pool::Condition::Clean, 0);
}

void Worker::obey(Upstream& up, pool::CloseIdle order) {
  if (order.from != id())
    return shared_.workers[static_cast<std::size_t>(order.from)]->post(BrokerOrder{up.index, order});
  if (auto server = take_idle(order.server)) begin_close(std::move(server), true);
}

// To the worker that has the client; there at the end of the event.
template <typename Order>
void Worker::pass_to_client(Upstream& up, pool::SessionId client, Order order) {
  if (client.worker == id()) return client_orders_.push_back({&up, order});
  shared_.workers[static_cast<std::size_t>(client.worker)]->post(BrokerOrder{up.index, order});
}

void Worker::obey(Upstream& up, pool::GrantSlot order) { pass_to_client(up, order.waiter.session, order); }
void Worker::obey(Upstream& up, pool::YieldLogin order) { pass_to_client(up, order.session, order); }
void Worker::obey(Upstream& up, pool::LookAgain order) { pass_to_client(up, order.waiter.session, order); }
void Worker::obey(Upstream& up, pool::Notify order) { pass_to_client(up, order.waiter.session, order); }

void Worker::deliver(Upstream& up, pool::GrantSlot order) {
  if (auto* client = find(order.waiter.session)) return client->on_login_slot(order.server);
  pool::Orders out;
  up.broker.login_ended(order.server, true, steady_now(), out);
  carry_out(up, out);
}

void Worker::deliver(Upstream&, pool::YieldLogin order) {
  if (auto* client = find(order.session)) client->on_yield_login(order.server);
}

void Worker::deliver(Upstream&, pool::LookAgain order) {
  if (auto* client = find(order.waiter.session)) client->on_look_again();
}

void Worker::deliver(Upstream&, pool::Notify order) {
  if (auto* client = find(order.waiter.session)) client->on_notify();
}

namespace {
// The wheel's callback has no argument but the node.
struct PollTimer : TimerNode {
  PollTimer(Worker& w, std::uint16_t upstream) : TimerNode(&PollTimer::fire), worker(w), index(upstream) {}
  static void fire(TimerNode& node) noexcept {
    auto& t = static_cast<PollTimer&>(node);
    t.worker.poll(t.index);
  }
  Worker& worker;
  const std::uint16_t index;
};
}  // namespace

void Worker::arm_poll(std::uint16_t upstream, pool::Time when) {
  auto& local = upstreams_[upstream];
  if (!local.poll) local.poll = std::make_shared<PollTimer>(*this, upstream);
  if (local.poll->armed() && local.poll_at <= when) return;
  local.poll_at = when;
  loop_->arm(*local.poll, when);
}

void Worker::poll(std::uint16_t upstream) noexcept {
  const Turn turn(*this);
  auto& up = *upstreams_[upstream].shared;
  pool::Orders out;
  up.broker.poll(steady_now(), out);
  carry_out(up, out);
}

}  // namespace sidepool::worker
