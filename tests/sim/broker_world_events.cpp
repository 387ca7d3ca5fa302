// tests/sim/broker_world_events.cpp -- logins, changes of pools, the schedule, and the invariants.
#include <algorithm>
#include <utility>

#include "tests/sim/broker_world.h"

namespace sidepool::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// ---- Logins that clients bring.

void BrokerWorld::start_login(FakeSession& session) {
  LoginNote note;
  if (const std::uint32_t kind = roll(3); kind == 0 || pools_.empty()) {
    note.identity = 1 + roll(4);
    note.what = FirstLogin{Identity{note.identity}};
  } else {
    note.pool = some_pool();
    if (kind == 1)
      note.what = TrialLogin{note.pool};
    else
      note.what = OwnLogin{note.pool};
  }
  session.pool = note.pool;
  const LoginSlot answer = broker_.acquire_login_slot(session.id, note.what, now_, orders_);
  if (const auto* granted = std::get_if<LoginGranted>(&answer)) {
    const Ticket here{0};
    logins_waiting_[here] = note;
    on_grant(granted->server, here);
    servers_.at(granted->server).user = session.id.slot;
    session.doing = Doing::LoggingIn;
    session.server = granted->server;
  } else if (const auto* queued = std::get_if<Queued>(&answer)) {
    logins_waiting_[queued->ticket] = note;
    session.doing = Doing::WaitingForLogin;
    session.ticket = queued->ticket;
  } else if (!pools_.at(note.pool).draining) {
    fault("a login was refused by a live pool");
  }
  take_orders(session.id.worker);
}

void BrokerWorld::on_grant(ServerId id, Ticket ticket) {
  if (!seen_.insert(id).second) fault("GrantSlot: an id is used again");
  const auto note = logins_waiting_.find(ticket);
  if (note == logins_waiting_.end()) fault("GrantSlot: nobody asked");
  FakeServer slot;
  slot.at = At::Login;
  slot.pool = note->second.pool;
  slot.login = note->second.what.index();
  slot.identity = note->second.identity;
  logins_waiting_.erase(note);
  for (const auto& [other, server] : servers_) {
    if (server.at != At::Login || server.login != slot.login) continue;
    if (slot.login == 0 && server.identity == slot.identity) fault("two first logins of one identity");
    if (slot.login == 1 && server.pool == slot.pool) fault("two trial logins of one pool");
  }
  servers_.emplace(id, slot);
  check_bound(slot.pool, "GrantSlot");
}

void BrokerWorld::on_look_again(const LookAgain& order) {
  logins_waiting_.erase(order.waiter.ticket);
  FakeSession* session = live(order.waiter.session);
  if (session == nullptr || session->doing != Doing::WaitingForLogin ||
      session->ticket != order.waiter.ticket)
    return;
  session->doing = Doing::Nothing;
}

bool BrokerWorld::adopt(FakeSession& session, FakeServer& slot) {
  PoolId pool = slot.pool;
  const bool first = pool == PoolId{};
  bool fresh = false;
  if (first) {
    const auto known = identities_.find(slot.identity);
    fresh = known == identities_.end() || !pools_.contains(known->second);
    if (fresh) {
      const PoolLimits limits = random_limits();
      pool = broker_.add_pool(limits);
      pools_[pool].limits = limits;
      identities_[slot.identity] = pool;
    } else {
      pool = known->second;
    }
  }
  const std::uint64_t startup = roll(2);
  if (!broker_.adopt(session.server, pool, startup, now_, orders_)) {
    if (fresh || (!first && !pools_.at(pool).draining)) fault("a login that has its slot is not adopted");
    return false;
  }
  slot.at = At::Out;
  slot.pool = pool;
  slot.startup = startup;
  session.pool = pool;
  session.startup = startup;
  check_bound(pool, "adopt");
  return true;
}

// The database asks for a password, the client answers, or the login ends.
void BrokerWorld::login_step(FakeSession& session) {
  FakeServer& slot = server(session.server, At::Login, "login");
  if (slot.login != 2 && !slot.typing && chance(40)) {
    slot.typing = true;
    broker_.login_waits(session.server, now_, orders_);
    return take_orders(session.id.worker);
  }
  if (slot.typing && !calm_ && chance(50)) return;  // still typing
  if (std::exchange(slot.typing, false) && !broker_.login_resumed(session.server, now_))
    return end_login(session, false);
  end_login(session, chance(60));
}

void BrokerWorld::on_yield(const YieldLogin& order) {
  const auto at = servers_.find(order.server);
  FakeSession* session = live(order.session);
  if (at == servers_.end() || at->second.at != At::Login) return;  // it has been told by login_resumed()
  if (session == nullptr || session->server != order.server || !at->second.typing)
    fault("YieldLogin: for a login whose client does not type");
  end_login(*session, false);
}

void BrokerWorld::end_login(FakeSession& session, bool success) {
  FakeServer& slot = server(session.server, At::Login, "login");
  if (success && adopt(session, slot)) {
    session.doing = Doing::Using;
    ++served_;
  } else {
    session.doing = Doing::Nothing;
    const bool peer_closed = chance(50);
    if (peer_closed)
      servers_.erase(session.server);
    else
      begin_close(session.server, session.id.worker);
    broker_.login_ended(session.server, peer_closed, now_, orders_);
  }
  take_orders(session.id.worker);
}

// ---- Pools.

void BrokerWorld::change_pools() {
  const PoolId pool = some_pool();
  const WorkerId me{};
  if (pool == PoolId{} || (pools_.size() < 4 && chance(20))) {
    const PoolLimits limits = random_limits();
    pools_[broker_.add_pool(limits)].limits = limits;
    poll();
    return;
  }
  FakePool& record = pools_.at(pool);
  if (const std::uint32_t kind = record.draining ? 9 : roll(10); kind < 4) {
    record.limits = random_limits();
    broker_.set_limits(pool, record.limits, now_, orders_);
  } else if (kind < 6) {
    limits_.max_servers = chance(30) ? 0 : 1 + roll(8);
    limits_.max_opening = 1 + roll(4);
    broker_.set_limits(limits_, now_, orders_);
  } else if (kind < 8) {
    broker_.retire_servers(pool, now_, orders_);
  } else if (kind < 9 && chance(40)) {
    record.draining = true;
    broker_.drain_pool(pool, now_, orders_);
  } else if (broker_.remove_pool(pool)) {
    for (const auto& [startup, queue] : record.queues)
      if (!queue.empty()) fault("a pool was removed under its waiting clients");
    for (const auto& [id, server] : servers_)
      if (server.pool == pool) fault("a pool was removed that still has a server");
    pools_.erase(pool);
  }
  take_orders(me);
}

// ---- The schedule.

void BrokerWorld::advance() {
  now_ += microseconds(roll(1500));
  if (chance(2)) now_ += milliseconds(roll(400));
}

void BrokerWorld::random_event() {
  std::size_t worker = roll(static_cast<std::uint32_t>(workers_));
  FakeSession& session = sessions_[roll(static_cast<std::uint32_t>(sessions_.size()))];
  const std::uint32_t kind = roll(100);
  if (kind < 30) {
    for (std::size_t i = 0; i < workers_ && mail_[worker].empty(); ++i) worker = (worker + 1) % workers_;
    if (!mail_[worker].empty()) deliver(worker);
  } else if (kind < 75) {
    switch (session.doing) {
      case Doing::Nothing:
        chance(90) ? start_client(session) : start_login(session);
        break;
      case Doing::Using:
        use_step(session);
        break;
      case Doing::LoggingIn:
        login_step(session);
        break;
      case Doing::Waiting:
      case Doing::WaitingForLogin:
        if (chance(4)) stop_waiting(session);
        break;
    }
  } else if (kind < 88) {
    if (const auto id = some_server(At::Dialling)) dialled(*id, chance(75));
  } else if (kind < 90) {
    if (const auto id = some_server(At::Idle)) idle_dies(*id);
  } else if (kind < 98) {
    if (const auto id = some_server(At::Closing)) close_done(*id);
  } else {
    change_pools();
  }
}

void BrokerWorld::step() {
  advance();
  if (wake_ && *wake_ <= now_ && chance(80)) poll();
  random_event();
  check();
}

// One thing that lets work end; false when only time can help.
bool BrokerWorld::calm_event() {
  for (std::size_t worker = 0; worker < workers_; ++worker)
    if (!mail_[worker].empty()) return deliver(worker), true;
  for (FakeSession& session : sessions_) {
    if (session.doing == Doing::Using) return use_step(session), true;
    const bool typing = session.doing == Doing::LoggingIn && servers_.at(session.server).typing;
    if (session.doing == Doing::LoggingIn && !typing) return login_step(session), true;
  }
  if (const auto id = some_server(At::Closing)) return close_done(*id), true;
  if (const auto id = some_server(At::Dialling)) return dialled(*id, true), true;
  // Clients that are asked for a password never answer as long as anybody waits.
  for (const FakeSession& session : sessions_)
    if (session.doing == Doing::Waiting || session.doing == Doing::WaitingForLogin) return false;
  for (FakeSession& session : sessions_)
    if (session.doing == Doing::LoggingIn) return login_step(session), true;
  return false;
}

bool BrokerWorld::at_rest() const {
  return std::all_of(sessions_.begin(), sessions_.end(),
                     [](const FakeSession& session) { return session.doing == Doing::Nothing; }) &&
         std::all_of(mail_.begin(), mail_.end(), [](const auto& box) { return box.empty(); }) &&
         std::all_of(servers_.begin(), servers_.end(),
                     [](const auto& at) { return at.second.at == At::Idle; });
}

void BrokerWorld::calm_down() {
  for (int i = 0; i < 20000 && !at_rest(); ++i) {
    if (wake_ && *wake_ <= now_) poll();
    if (!calm_event()) {
      if (!wake_) fault("somebody waits, and nothing will ever happen");
      now_ = std::max(now_, *wake_);
    }
    check();
  }
  if (!at_rest()) fault("clients that wait are not served");
}

void BrokerWorld::finish() {
  calm_ = true;
  for (auto& [pool, record] : pools_) {
    if (!record.draining) continue;
    for (const Waiter& waiter : broker_.fail_waiters(pool, now_, orders_)) {
      FakeSession* session = live(waiter.session);
      if (session == nullptr || session->doing != Doing::Waiting)
        fault("fail_waiters() names one who is gone");
      session->doing = Doing::Nothing;
      leave_queue(session->pool, session->startup, waiter.ticket);
    }
    take_orders(WorkerId{});
  }
  calm_down();
  for (auto& [pool, record] : pools_) {
    record.draining = true;
    broker_.drain_pool(pool, now_, orders_);
    take_orders(WorkerId{});
  }
  calm_down();
  if (!servers_.empty()) fault("servers are left after all pools were drained");
  for (const auto& [pool, record] : pools_)
    if (!broker_.remove_pool(pool)) fault("a pool is not empty at the end");
  pools_.clear();
  check();
  const BrokerCounts counts = broker_.counts();
  if (counts.slots + counts.opening + counts.closing + counts.waiting_logins + counts.pools != 0)
    fault("counts are not zero at the end");
  if (broker_.next_deadline()) fault("a deadline is left at the end");
}

// ---- Invariants.

void BrokerWorld::check_bound(PoolId pool, const char* what) {
  std::uint32_t total = 0, opening = 0, in_pool = 0;
  for (const auto& [id, server] : servers_) {
    ++total;
    opening += server.at == At::Dialling || server.at == At::Login;
    in_pool += server.pool == pool;
  }
  const bool adopted = std::string(what) == "adopt";  // takes no new slot
  if (limits_.max_servers != 0 && total > limits_.max_servers && !adopted)
    fault(std::string(what) + ": over max_servers");
  if (opening > limits_.max_opening && !adopted) fault(std::string(what) + ": over max_opening");
  if (pool != PoolId{} && in_pool > pools_.at(pool).limits.size && !adopted)
    fault(std::string(what) + ": over the pool's size");
}

// A server is kept only while those that do not close are within the limits: lowered limits drain.
void BrokerWorld::check_fits(ServerId kept) {
  const PoolId pool = servers_.at(kept).pool;
  std::uint32_t total = 0, in_pool = 0;
  for (const auto& [id, server] : servers_) {
    // Orders of the decision being judged are not taken yet; what they close is idle now.
    if (server.at == At::Closing || server.evicted) continue;
    ++total;
    in_pool += server.pool == pool;
  }
  for (const Order& order : orders_.list) {
    if (const auto* close = std::get_if<CloseIdle>(&order)) {
      --total;
      in_pool -= servers_.at(close->server).pool == pool;
    }
  }
  if (in_pool > pools_.at(pool).limits.size) fault("a server over the pool's size is kept");
  if (limits_.max_servers != 0 && total > limits_.max_servers) fault("a server over max_servers is kept");
}

void BrokerWorld::check_order(const HandTo& hand, const FakeServer& from, WorkerId worker) {
  FakePool& pool = pools_.at(from.pool);
  const auto& queue = pool.queues[from.startup];
  if (queue.empty()) fault("HandTo: nobody waits");
  if (queue.front().ticket != hand.waiter.ticket) {
    if (now_ - queue.front().since >= pool.limits.locality_window)
      fault("HandTo: overtaking after the window");
    const auto first_here =
        std::find_if(queue.begin(), queue.end(), [&](const QueuedClient& c) { return c.worker == worker; });
    if (first_here == queue.end() || first_here->ticket != hand.waiter.ticket)
      fault("HandTo: not the first of its worker");
  }
  leave_queue(from.pool, from.startup, hand.waiter.ticket);
}

void BrokerWorld::check_counts() {
  if (broker_.counts().slots != servers_.size()) fault("the broker counts other servers than there are");
  for (const auto& [pool, record] : pools_) {
    PoolCounts seen;
    for (const auto& [id, server] : servers_) {
      if (server.pool != pool) continue;
      ++seen.slots;
      seen.idle += server.at == At::Idle && !server.evicted;
      seen.closing += server.at == At::Closing || server.evicted;
      seen.out += server.at == At::Out || server.at == At::Mail;
      seen.opening += server.at == At::Dialling || server.at == At::Login;
      seen.pinned += server.pinned;
    }
    for (const auto& [startup, queue] : record.queues)
      seen.waiting += static_cast<std::uint32_t>(queue.size());
    const PoolCounts told = broker_.counts(pool, now_);
    if (told.slots != seen.slots || told.idle != seen.idle || told.out != seen.out ||
        told.closing != seen.closing || told.opening != seen.opening || told.pinned != seen.pinned ||
        told.waiting != seen.waiting)
      fault("the pool's counts differ from what there is");
  }
}

void BrokerWorld::check() {
  if (const std::string broken = broker_.check(now_); !broken.empty()) fault(broken);
  check_counts();
  const auto deadline = broker_.next_deadline();
  if (deadline && (!wake_ || *wake_ > *deadline)) fault("nobody was told to poll in time");
}

}  // namespace sidepool::sim
