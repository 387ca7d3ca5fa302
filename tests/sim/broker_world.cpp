// tests/sim/broker_world.cpp -- what the fake workers and sessions do, and what must hold whatever they do.
#include "tests/sim/broker_world.h"

#include <algorithm>

namespace sidepool::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

BrokerLimits random_broker_limits(std::uint64_t random) {
  BrokerLimits limits;
  limits.max_servers = random % 3 == 0 ? 0 : 1 + (random >> 8) % 8;
  limits.max_opening = 1 + (random >> 16) % 4;
  limits.patience = milliseconds((random >> 24) % 40);
  limits.typing = milliseconds((random >> 32) % 30);
  return limits;
}

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

}  // namespace

BrokerWorld::BrokerWorld(std::uint64_t seed)
    : random_(seed),
      now_(Time{} + seconds(1000)),
      limits_(random_broker_limits(random_())),
      workers_(1 + random_() % 4),
      broker_(7, static_cast<std::uint16_t>(workers_), limits_),
      mail_(workers_) {
  const std::uint32_t sessions = 1 + roll(24);
  for (std::uint32_t i = 0; i < sessions; ++i) {
    FakeSession session;
    session.id = SessionId{WorkerId(roll(static_cast<std::uint32_t>(workers_))), i, 1};
    sessions_.push_back(session);
  }
  for (std::uint32_t i = roll(4); i != 0; --i) {
    const PoolLimits limits = random_limits();
    pools_[broker_.add_pool(limits)].limits = limits;
  }
  poll();
}

PoolLimits BrokerWorld::random_limits() {
  PoolLimits limits;
  limits.size = 1 + roll(5);
  limits.min_size = chance(25) ? roll(limits.size + 1) : 0;
  limits.max_waiting = chance(20) ? 1 + roll(6) : 0;
  limits.locality_window = milliseconds(roll(4));
  limits.lifetime = chance(50) ? milliseconds(20 + roll(500)) : seconds(0);
  limits.idle_timeout = chance(50) ? milliseconds(1 + roll(200)) : seconds(0);
  limits.notify_after = chance(30) ? milliseconds(1 + roll(50)) : seconds(0);
  limits.round_robin = chance(30);
  return limits;
}

FakeServer& BrokerWorld::server(ServerId id, At expected, const char* what) {
  const auto at = servers_.find(id);
  if (at == servers_.end()) fault(std::string(what) + ": names a server that does not exist");
  if (at->second.at != expected) fault(std::string(what) + ": the server belongs to somebody else");
  return at->second;
}

std::optional<ServerId> BrokerWorld::some_server(At at) {
  std::vector<ServerId> found;
  for (const auto& [id, server] : servers_)
    if (server.at == at) found.push_back(id);
  if (found.empty()) return std::nullopt;
  return found[roll(static_cast<std::uint32_t>(found.size()))];
}

PoolId BrokerWorld::some_pool() {
  if (pools_.empty()) return PoolId{};
  return std::next(pools_.begin(), roll(static_cast<std::uint32_t>(pools_.size())))->first;
}

FakeSession* BrokerWorld::live(const SessionId& id) {
  FakeSession& session = sessions_.at(id.slot);
  return session.id == id ? &session : nullptr;
}

// ---- Clients.

void BrokerWorld::start_client(FakeSession& session) {
  session.pool = some_pool();
  session.startup = chance(75) ? 0 : 1 + roll(2);
  if (session.pool == PoolId{}) return;
  FakePool& pool = pools_.at(session.pool);
  const Acquire answer =
      broker_.acquire(session.pool, session.id, StateKey{session.startup, roll(3)}, now_, orders_);
  auto& queue = pool.queues[session.startup];
  if (const auto* use = std::get_if<UseIdle>(&answer)) {
    FakeServer& idle = server(use->server, At::Idle, "UseIdle");
    if (idle.recalled || idle.evicted || idle.worker != session.id.worker)
      fault("UseIdle: not idle on this worker");
    if (idle.pool != session.pool || idle.startup != session.startup) fault("UseIdle: a stranger's server");
    std::size_t coming = 0;
    for (const auto& [id, other] : servers_)
      coming += other.recalled && other.pool == session.pool && other.startup == session.startup;
    if (queue.size() > coming) fault("UseIdle: overtakes a waiting client");
    idle.at = At::Out;
    idle.user = session.id.slot;
    session.doing = Doing::Using;
    session.server = use->server;
    ++served_;
  } else if (const auto* queued = std::get_if<Queued>(&answer)) {
    session.doing = Doing::Waiting;
    session.ticket = queued->ticket;
    queue.push_back({queued->ticket, session.id.worker, now_});
  } else if (std::get<Refused>(answer).why == Refused::Why::QueueFull) {
    std::size_t waiting = 0;
    for (const auto& [startup, clients] : pool.queues) waiting += clients.size();
    if (pool.limits.max_waiting == 0 || waiting < pool.limits.max_waiting) fault("refused below the limit");
  } else if (!pool.draining) {
    fault("refused by a live pool");
  }
  take_orders(session.id.worker);
}

void BrokerWorld::leave_queue(PoolId pool, std::uint64_t startup, Ticket ticket) {
  auto& queue = pools_.at(pool).queues[startup];
  const auto at =
      std::find_if(queue.begin(), queue.end(), [&](const QueuedClient& c) { return c.ticket == ticket; });
  if (at == queue.end()) fault("a client that does not wait was taken from the queue");
  queue.erase(at);
}

// A time-out, or the client hangs up and another one takes its place.
void BrokerWorld::stop_waiting(FakeSession& session) {
  const bool client = session.doing == Doing::Waiting;
  if (broker_.cancel(session.ticket, now_, orders_)) {
    if (client)
      leave_queue(session.pool, session.startup, session.ticket);
    else
      logins_waiting_.erase(session.ticket);
    session.doing = Doing::Nothing;
    if (broker_.cancel(session.ticket, now_, orders_)) fault("cancelled twice");
  } else {
    const bool on_its_way = std::any_of(mail_.begin(), mail_.end(), [&](const std::deque<Mail>& box) {
      return std::any_of(box.begin(), box.end(), [&](const Mail& mail) {
        if (const auto* handed = std::get_if<Handed>(&mail)) return handed->waiter.ticket == session.ticket;
        const Order& order = std::get<Order>(mail);
        if (const auto* grant = std::get_if<GrantSlot>(&order)) return grant->waiter.ticket == session.ticket;
        const auto* again = std::get_if<LookAgain>(&order);
        return again != nullptr && again->waiter.ticket == session.ticket;
      });
    });
    if (!on_its_way) fault("cancel() says a server is on its way, and none is");
  }
  if (chance(50)) {
    ++session.id.generation;
    session.doing = Doing::Nothing;
  }
  take_orders(session.id.worker);
}

void BrokerWorld::use_step(FakeSession& session) {
  FakeServer& mine = server(session.server, At::Out, "in use");
  if (mine.user != session.id.slot) fault("two sessions use one server");
  if (!calm_ && chance(20)) {
    mine.pinned ? broker_.unpin(session.server) : broker_.pin(session.server);
    mine.pinned = !mine.pinned;
    return;
  }
  Condition condition = Condition::Clean;
  if (const std::uint32_t kind = roll(calm_ ? 80 : 100); kind >= 94)
    condition = Condition::Broken;
  else if (kind >= 92)
    condition = Condition::Retire;
  else if (kind >= 60)
    condition = Condition::NeedsReset;
  session.doing = Doing::Nothing;
  release(session.server, session.id.worker, condition);
}

// ---- Servers.

void BrokerWorld::release(ServerId id, WorkerId worker, Condition condition) {
  servers_.at(id).pinned = false;
  on_release(id, worker, condition, broker_.release(id, worker, condition, roll(3), now_, orders_));
}

void BrokerWorld::on_release(ServerId id, WorkerId worker, Condition condition, const Release& answer) {
  FakeServer& server = servers_.at(id);
  server.recalled = false;
  const bool unfit = condition == Condition::Broken || condition == Condition::Retire;
  if (unfit && !std::holds_alternative<Close>(answer)) fault("an unfit server is used again");
  if (!std::holds_alternative<Close>(answer)) check_fits(id);
  if (std::holds_alternative<Park>(answer)) {
    if (condition == Condition::NeedsReset) fault("parked without the reset it needs");
    server.at = At::Idle;
    server.worker = worker;
  } else if (std::holds_alternative<Close>(answer)) {
    begin_close(id, worker);
  } else if (std::holds_alternative<Reset>(answer)) {
    if (condition != Condition::NeedsReset) fault("a clean server is reset");
    take_orders(worker);
    server.at = At::Out;
    release(id, worker, chance(calm_ ? 0 : 10) ? Condition::Broken : Condition::Clean);
    return;
  } else {
    const HandTo& hand = std::get<HandTo>(answer);
    check_order(hand, server, worker);
    server.at = At::Mail;
    post(hand.waiter.session.worker, Handed{id, hand.waiter});
  }
  take_orders(worker);
}

void BrokerWorld::on_handed(const Handed& handed) {
  FakeServer& arrived = server(handed.server, At::Mail, "HandTo");
  FakeSession* session = live(handed.waiter.session);
  if (session == nullptr || session->doing != Doing::Waiting || session->ticket != handed.waiter.ticket) {
    release(handed.server, handed.waiter.session.worker, Condition::Clean);
    return;
  }
  if (arrived.pool != session->pool || arrived.startup != session->startup)
    fault("HandTo: a stranger's server");
  arrived.at = At::Out;
  arrived.user = session->id.slot;
  session->doing = Doing::Using;
  session->server = handed.server;
  ++served_;
}

void BrokerWorld::begin_close(ServerId id, WorkerId worker) {
  FakeServer& server = servers_.at(id);
  server.at = At::Closing;
  server.worker = worker;
  server.evicted = server.pinned = false;
}

void BrokerWorld::close_done(ServerId id) {
  const WorkerId worker = servers_.at(id).worker;
  servers_.erase(id);
  broker_.closed(id, now_, orders_);
  take_orders(worker);
}

void BrokerWorld::dialled(ServerId id, bool success) {
  const FakeServer dialling = servers_.at(id);
  if (success) {
    on_release(id, dialling.worker, Condition::Clean, broker_.opened(id, dialling.worker, 0, now_, orders_));
    return;
  }
  const bool peer_closed = chance(50);
  const auto kind = static_cast<OpenFailure>(roll(5));
  if (peer_closed)
    servers_.erase(id);
  else
    begin_close(id, dialling.worker);
  const auto failed =
      broker_.open_failed(id, OpenError{kind, "08006", "lost"}, peer_closed, now_, random_(), orders_);
  const bool refused = kind == OpenFailure::Refused || kind == OpenFailure::RefusedSettings;
  if (!failed.empty() && !refused) fault("open_failed() fails who may go on waiting");
  for (const Waiter& waiter : failed) {
    FakeSession* session = live(waiter.session);
    if (session == nullptr || session->ticket != waiter.ticket)
      fault("open_failed() names one who does not wait");
    leave_queue(session->pool, session->startup, waiter.ticket);
    session->doing = Doing::Nothing;
  }
  take_orders(dialling.worker);
}

void BrokerWorld::idle_dies(ServerId id) {
  const WorkerId worker = servers_.at(id).worker;
  const bool peer_closed = chance(50);
  if (peer_closed)
    servers_.erase(id);
  else
    begin_close(id, worker);
  broker_.idle_lost(id, peer_closed, now_, orders_);
  take_orders(worker);
}

// ---- Orders.

void BrokerWorld::take_orders(WorkerId me) {
  if (orders_.wake) wake_ = std::min(wake_.value_or(Time::max()), *orders_.wake);
  for (const Order& order : orders_.list) {
    std::visit(Overload{[&](const OpenOne& open) { on_open_order(me, open); },
                        [&](const Recall& recall) {
                          server(recall.server, At::Idle, "Recall").recalled = true;
                          post(recall.from, order);
                        },
                        [&](const CloseIdle& close) {
                          if (server(close.server, At::Idle, "CloseIdle").recalled)
                            fault("CloseIdle: recalled");
                          servers_.at(close.server).evicted = true;
                          post(close.from, order);
                        },
                        [&](const GrantSlot& grant) {
                          on_grant(grant.server, grant.waiter.ticket);
                          post(grant.waiter.session.worker, order);
                        },
                        [&](const YieldLogin& yield) { post(yield.session.worker, order); },
                        [&](const LookAgain& again) { post(again.waiter.session.worker, order); },
                        [&](const Notify& notify) { post(notify.waiter.session.worker, order); }},
               order);
  }
  orders_.clear();
}

void BrokerWorld::on_open_order(WorkerId me, const OpenOne& open) {
  if (!seen_.insert(open.server).second) fault("OpenOne: an id is used again");
  FakeServer dialling;
  dialling.at = At::Dialling;
  dialling.pool = open.pool;
  dialling.startup = open.startup;
  dialling.worker = me;
  servers_.emplace(open.server, dialling);
  check_bound(open.pool, "OpenOne");
}

void BrokerWorld::on_order(std::size_t worker, const Order& order) {
  const WorkerId me{static_cast<std::uint16_t>(worker)};
  // An order for an idle server that this worker has given up meanwhile answers itself.
  const auto mine = [&](ServerId id) {
    const auto at = servers_.find(id);
    return at != servers_.end() && at->second.at == At::Idle && at->second.worker == me;
  };
  if (const auto* recall = std::get_if<Recall>(&order)) {
    if (mine(recall->server)) release(recall->server, me, Condition::Clean);
  } else if (const auto* close = std::get_if<CloseIdle>(&order)) {
    if (mine(close->server)) begin_close(close->server, me);
  } else if (const auto* grant = std::get_if<GrantSlot>(&order)) {
    FakeSession* session = live(grant->waiter.session);
    FakeServer& slot = server(grant->server, At::Login, "GrantSlot");
    slot.user = grant->waiter.session.slot;
    if (session != nullptr && session->doing == Doing::WaitingForLogin &&
        session->ticket == grant->waiter.ticket) {
      session->doing = Doing::LoggingIn;
      session->server = grant->server;
    } else {
      servers_.erase(grant->server);
      broker_.login_ended(grant->server, true, now_, orders_);
      take_orders(me);
    }
  } else if (const auto* again = std::get_if<LookAgain>(&order)) {
    on_look_again(*again);
  } else if (const auto* yield = std::get_if<YieldLogin>(&order)) {
    on_yield(*yield);
  }
}

void BrokerWorld::deliver(std::size_t worker) {
  const Mail mail = std::move(mail_[worker].front());
  mail_[worker].pop_front();
  if (const auto* handed = std::get_if<Handed>(&mail))
    on_handed(*handed);
  else
    on_order(worker, std::get<Order>(mail));
}

void BrokerWorld::poll() {
  wake_.reset();
  broker_.poll(now_, orders_);
  if (orders_.wake && *orders_.wake <= now_) fault("poll() is due again at once");
  take_orders(WorkerId(roll(static_cast<std::uint32_t>(workers_))));
}

}  // namespace sidepool::sim
