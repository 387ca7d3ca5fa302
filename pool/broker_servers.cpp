// pool/broker_servers.cpp -- the life of a server: opened, idle, out, closing.
#include <algorithm>
#include <utility>

#include "pool/broker_core.h"

namespace sidepool::pool {

Index BrokerCore::reserve(Index p, State state) {
  const Index s = servers_.take();
  ServerRecord& server = servers_[s];
  const std::uint32_t generation = server.generation;
  server = ServerRecord{};
  server.generation = generation;
  server.state = state;
  server.pool = p;
  server.since = now_;
  ++slots_;
  ++opening_;
  if (p != kNone) {
    ++pools_[p].slots;
    server.epoch = pools_[p].epoch;
  }
  return s;
}

void BrokerCore::unpark(Index s) {
  ServerRecord& server = servers_[s];
  local(server.group, server.home).idle.erase(servers_, s);
  groups_[server.group].idle.erase(servers_, s);
  pools_[server.pool].idle.erase(servers_, s);
  idle_.erase(servers_, s);
  by_state_.erase(servers_, s);
}

void BrokerCore::park(Index s, WorkerId worker, std::uint64_t kept) {
  ServerRecord& server = servers_[s];
  server.state = State::Idle;
  server.home = worker;
  server.kept = kept;
  server.since = now_;
  local(server.group, worker).idle.push_back(servers_, s);
  groups_[server.group].idle.push_back(servers_, s);
  pools_[server.pool].idle.push_back(servers_, s);
  idle_.push_back(servers_, s);
  by_state_.add(servers_, s);
}

void BrokerCore::join_age(Index s) {
  ServerRecord& server = servers_[s];
  server.opened = now_;
  server.aged = true;
  pools_[server.pool].age.push_back(servers_, s);
}

// From out or recalled to nowhere yet.
void BrokerCore::leave_out(Index s) {
  ServerRecord& server = servers_[s];
  PoolRecord& pool = pools_[server.pool];
  if (server.state == State::Recalled) {
    --pool.recalled;
    --groups_[server.group].recalled;
    return;
  }
  --pool.out;
  if (std::exchange(server.pinned, false)) --pool.pinned;
}

// REQUIRES: in no list of idle servers and in no count but `slots` and its group's `servers`.
void BrokerCore::begin_closing(Index s) {
  ServerRecord& server = servers_[s];
  server.state = State::Closing;
  ++closing_;
  if (server.pool == kNone) return;
  PoolRecord& pool = pools_[server.pool];
  ++pool.closing;
  if (std::exchange(server.aged, false)) pool.age.erase(servers_, s);
  if (server.group != kNone) --groups_[server.group].servers;
  server.group = kNone;
}

// REQUIRES: closing.
void BrokerCore::free_slot(Index s) {
  ServerRecord& server = servers_[s];
  --closing_;
  --slots_;
  if (server.pool != kNone) {
    --pools_[server.pool].closing;
    --pools_[server.pool].slots;
  }
  server.state = State::Free;
  ++server.generation;
  servers_.give_back(s);
}

void BrokerCore::end(Index s, bool peer_closed) {
  begin_closing(s);
  if (peer_closed) free_slot(s);
}

// The caller refreshes the pool. The group survives until it is updated: it may still be in use by the
// caller.
void BrokerCore::close_idle(Index s, CloseReason reason, Orders& orders) {
  ServerRecord& server = servers_[s];
  orders.list.push_back(CloseIdle{server_id(s), server.home, reason});
  const Index g = server.group;
  unpark(s);
  begin_closing(s);
  drop_group_if_unused(g);
}

bool BrokerCore::must_close(const ServerRecord& server, Condition condition) {
  PoolRecord& pool = pools_[server.pool];
  if (condition == Condition::Broken || condition == Condition::Retire || server.epoch != pool.epoch)
    return true;
  if (pool.draining && groups_[server.group].waiting.empty()) return true;
  if (pool.slots - pool.closing > pool.limits.size) return true;
  if (limits_.max_servers != 0 && slots_ - closing_ > limits_.max_servers) return true;
  if (pool.limits.lifetime <= Duration{} || now_ - server.opened < pool.limits.lifetime) return false;
  if (pool.health.credential_refused() || now_ < pool.age_close_allowed) return false;
  pool.age_close_allowed = now_ + age_spacing(pool);
  return true;
}

// Whether waiter w came before all clients of group g and has waited long enough to cost them a server.
bool BrokerCore::outranks(Index w, Index g) const {
  if (w == kNone) return false;
  const WaitRecord& wait = waits_[w];
  return now_ - wait.waiter.since >= limits_.patience &&
         wait.order < waits_[groups_[g].waiting.front()].order;
}

bool BrokerCore::owed_in_pool(Index p, Index g, bool has_waiter) const {
  const PoolRecord& pool = pools_[p];
  const std::uint32_t clients = client_demand(pool);
  const Index first = clients != 0 ? pool.hungry.top() : kNone;
  // A pool that probes opens one server, for its oldest client.
  const std::uint32_t other_clients = pool.health.probing() ? (clients != 0 && first != g ? 1 : 0)
                                                            : clients - (clients != 0 ? groups_[g].unmet : 0);
  // A login that max_opening holds back could not use the slot: closing this server for it, and opening the
  // next for the client that waits, would go on until it can.
  const bool logins = logins_ < login_cap();
  const bool trial = logins && trial_ready(pool);
  const std::uint32_t own = logins ? own_demand(pool) : 0;
  const std::uint32_t others = other_clients + (trial ? 1 : 0) + own;
  if (others == 0 || pool.slots - pool.closing + others <= pool.limits.size) return false;
  if (!has_waiter) return true;
  return (first != kNone && first != g && outranks(groups_[first].first_unmet, g)) ||
         (own != 0 && outranks(lines_[pool.own].waiting.front(), g)) ||
         (trial && outranks(lines_[pool.trial].waiting.front(), g));
}

bool BrokerCore::owed_in_broker(Index p, Index g, bool has_waiter) const {
  if (limits_.max_servers == 0) return false;
  const std::uint32_t clients = client_want_ - (has_waiter ? pools_[p].client_want : 0);
  const std::uint32_t others = usable_want(clients);
  if (others == 0 || slots_ - closing_ + others <= limits_.max_servers) return false;
  if (!has_waiter) return true;
  if (clients != 0 && !hungry_.empty() && hungry_.top() != p) {
    const PoolRecord& other = pools_[hungry_.top()];
    if (outranks(groups_[other.hungry.top()].first_unmet, g)) return true;
  }
  return logins_ < login_cap() && !ready_.empty() && outranks(lines_[ready_.top()].waiting.front(), g);
}

// Whether the slot of a server that is free now should rather go to somebody who cannot use this server.
bool BrokerCore::slot_owed(Index p, Index g, bool has_waiter) const {
  return owed_in_pool(p, g, has_waiter) || owed_in_broker(p, g, has_waiter);
}

// REQUIRES: opened, in no list of idle servers, not counted as out, recalled or opening.
Release BrokerCore::place(Index s, WorkerId worker, Condition condition, std::uint64_t kept, Orders& orders) {
  ServerRecord& server = servers_[s];
  const Index p = server.pool;
  const Index g = server.group;
  PoolRecord& pool = pools_[p];
  if (must_close(server, condition) || slot_owed(p, g, !groups_[g].waiting.empty())) return retire(s, orders);
  const Index w = next_waiter(g, worker);
  if (w == kNone && condition == Condition::Clean) {
    park(s, worker, kept);
    update(g, orders);
    return Park{};
  }
  server.state = State::Out;
  ++pool.out;
  if (w == kNone) {
    update(g, orders);
    return Reset{};
  }
  const HandTo hand{waits_[w].waiter};
  remove_client(w);
  update(g, orders);
  return hand;
}

// The steady state of release(): nobody waits in any pool or line, so there is no claim to weigh, nobody to
// hand the server to and no demand that its coming back could change. Slots and openings stay as they were,
// so neither does any pool's minimum. REQUIRES: as place().
Release BrokerCore::settle(Index s, WorkerId worker, std::uint64_t kept, Orders& orders) {
  ServerRecord& server = servers_[s];
  if (must_close(server, Condition::Clean)) return retire(s, orders);
  park(s, worker, kept);
  arm(server.pool, orders);
  return Park{};
}

// REQUIRES: as place().
Release BrokerCore::retire(Index s, Orders& orders) {
  const Index g = servers_[s].group;
  begin_closing(s);
  update(g, orders);
  return Close{};
}

Release BrokerCore::opened(ServerId id, WorkerId worker, std::uint64_t state, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Opening);
  if (s == kNone || servers_[s].state != State::Opening) return Close{};
  ServerRecord& server = servers_[s];
  PoolRecord& pool = pools_[server.pool];
  --opening_;
  --pool.opening;
  --groups_[server.group].opening;
  pool.health.succeeded();
  join_age(s);
  return place(s, worker, Condition::Clean, state, orders);
}

std::vector<Waiter> BrokerCore::open_failed(ServerId id, OpenError error, bool peer_closed, Time now,
                                            std::uint64_t random, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Opening);
  if (s == kNone || servers_[s].state != State::Opening) return {};
  const ServerRecord& server = servers_[s];
  const Index g = server.group;
  PoolRecord& pool = pools_[server.pool];
  --opening_;
  --pool.opening;
  --groups_[g].opening;
  const bool settings = error.kind == OpenFailure::RefusedSettings && groups_[g].startup != 0;
  const bool refused = error.kind == OpenFailure::Refused || error.kind == OpenFailure::RefusedSettings;
  if (!settings) pool.health.failed(std::move(error), server.since, now_, random, pool.limits.backoff);
  end(s, peer_closed);
  std::vector<Waiter> failed;
  if (settings) {
    fail_group(g, failed);
  } else if (refused) {
    fail_pool(groups_[g].pool, g, failed);
  }
  update(g, orders);
  return failed;
}

Release BrokerCore::release(ServerId id, WorkerId worker, Condition condition, std::uint64_t state, Time now,
                            Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  const bool held = s != kNone && (servers_[s].state == State::Out || servers_[s].state == State::Recalled);
  assert(held);
  if (!held) return Close{};
  leave_out(s);
  if (condition == Condition::Clean && waits_.used() == 0) return settle(s, worker, state, orders);
  return place(s, worker, condition, state, orders);
}

void BrokerCore::idle_lost(ServerId id, bool peer_closed, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  assert(s != kNone);
  if (s == kNone) return;
  const Index g = servers_[s].group;
  switch (servers_[s].state) {
    case State::Idle:
      unpark(s);
      break;
    case State::Recalled:
      leave_out(s);
      break;
    case State::Closing:  // evicted, and its order has not arrived
      if (peer_closed) closed(id, now, orders);
      return;
    case State::Free:
    case State::Login:
    case State::Opening:
    case State::Out:
      assert(false && "not idle");
      return;
  }
  end(s, peer_closed);
  update(g, orders);
}

void BrokerCore::closed(ServerId id, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Closing);
  if (s == kNone || servers_[s].state != State::Closing) return;
  const Index p = servers_[s].pool;
  free_slot(s);
  if (p != kNone)
    update_pool(p, orders);
  else
    dispatch(orders);
}

void BrokerCore::pin(ServerId id) {
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Out);
  if (s == kNone || servers_[s].state != State::Out) return;
  if (!std::exchange(servers_[s].pinned, true)) ++pools_[servers_[s].pool].pinned;
}

void BrokerCore::unpin(ServerId id) {
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Out);
  if (s == kNone || servers_[s].state != State::Out) return;
  if (std::exchange(servers_[s].pinned, false)) --pools_[servers_[s].pool].pinned;
}

}  // namespace sidepool::pool
