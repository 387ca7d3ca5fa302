// pool/broker_dispatch.cpp -- demand for servers, and who gets a slot that is free.
#include <algorithm>

#include "pool/broker_core.h"

namespace sidepool::pool {

// ---- Demand. A pool's demand is what it could open now if there were room; its wants are that within its
// size.

bool BrokerCore::may_open(const PoolRecord& pool) const {
  return !pool.draining && pool.health.may_try(now_) && (!pool.health.probing() || pool.opening == 0);
}

std::uint32_t BrokerCore::client_demand(const PoolRecord& pool) const {
  if (pool.unmet == 0 || !may_open(pool)) return 0;
  return pool.health.probing() ? 1 : pool.unmet;
}

// A trial login gives way to clients that need a slot, but not for ever. Back-off does not concern it: it may
// bring the password that ends it.
bool BrokerCore::trial_ready(const PoolRecord& pool) const {
  const LineRecord& line = lines_[pool.trial];
  if (line.waiting.empty() || line.busy != 0 || pool.draining) return false;
  return client_demand(pool) == 0 || now_ - waits_[line.waiting.front()].waiter.since >= limits_.patience;
}

std::uint32_t BrokerCore::own_demand(const PoolRecord& pool) const {
  return pool.draining ? 0 : lines_[pool.own].waiting.size();
}

std::uint32_t BrokerCore::max_opening() const { return std::max(1u, limits_.max_opening); }
std::uint32_t BrokerCore::login_cap() const { return std::max(1u, max_opening() - 1); }

// How many slots could be put to use at once, with so many wanted by clients.
std::uint32_t BrokerCore::usable_want(std::uint32_t clients) const {
  const std::uint32_t logins = logins_ < login_cap() ? std::min(login_want_, login_cap() - logins_) : 0;
  const std::uint32_t free = opening_ < max_opening() ? max_opening() - opening_ : 0;
  return std::min(clients + logins, free);
}

bool BrokerCore::has_slot() const {
  constexpr Index kMaxServers = (Index{1} << 20) - 1;  // what an id can name
  return (limits_.max_servers == 0 || slots_ < limits_.max_servers) && servers_.used() < kMaxServers;
}

// ---- Bookkeeping of demand.

void BrokerCore::refresh_group(Index g) {
  GroupRecord& group = groups_[g];
  PoolRecord& pool = pools_[group.pool];
  const std::uint32_t coming = group.opening + group.recalled;
  const std::uint32_t unmet = group.waiting.size() > coming ? group.waiting.size() - coming : 0;
  pool.unmet = pool.unmet - group.unmet + unmet;
  group.unmet = unmet;
  for (; group.covered < std::min(coming, group.waiting.size()); ++group.covered)
    group.first_unmet = waits_[group.first_unmet].in_queue.next;
  for (; group.covered > coming; --group.covered)
    group.first_unmet =
        group.first_unmet == kNone ? group.waiting.back() : waits_[group.first_unmet].in_queue.prev;
  if (unmet != 0)
    pool.hungry.set(groups_, g, waits_[group.first_unmet].order);
  else
    pool.hungry.erase(groups_, g);
}

void BrokerCore::refresh_line(Index l) {
  LineRecord& line = lines_[l];
  const bool ready = line.busy == 0 && !line.waiting.empty();
  login_want_ = login_want_ - line.want + (ready ? 1 : 0);
  line.want = ready ? 1 : 0;
  if (ready)
    ready_.set(lines_, l, waits_[line.waiting.front()].order);
  else
    ready_.erase(lines_, l);
}

void BrokerCore::refresh_logins(Index p, bool room) {
  const PoolRecord& pool = pools_[p];
  if (room && trial_ready(pool))
    ready_.set(lines_, pool.trial, waits_[lines_[pool.trial].waiting.front()].order);
  else
    ready_.erase(lines_, pool.trial);
  if (room && own_demand(pool) != 0)
    ready_.set(lines_, pool.own, waits_[lines_[pool.own].waiting.front()].order);
  else
    ready_.erase(lines_, pool.own);
}

void BrokerCore::refresh_pool(Index p) {
  PoolRecord& pool = pools_[p];
  const std::uint32_t room = pool.limits.size > pool.slots ? pool.limits.size - pool.slots : 0;
  const std::uint32_t clients = std::min(room, client_demand(pool));
  const std::uint32_t logins = std::min(room, (trial_ready(pool) ? 1 : 0) + own_demand(pool));
  client_want_ = client_want_ - pool.client_want + clients;
  login_want_ = login_want_ - pool.login_want + logins;
  pool.client_want = clients;
  pool.login_want = logins;
  if (clients != 0)
    hungry_.set(pools_, p, pool.hungry.top_key());
  else
    hungry_.erase(pools_, p);
  refresh_logins(p, room != 0);
  // The minimum never takes a slot that somebody waits for, a login held up by max_opening for example.
  const bool underfilled =
      room > clients + logins && pool.slots - pool.closing < pool.limits.min_size && may_open(pool);
  if (underfilled != pool.underfilled) {
    pool.underfilled = underfilled;
    if (underfilled)
      underfilled_.push_back(pools_, p);
    else
      underfilled_.erase(pools_, p);
  }
}

// ---- Acting on it.

void BrokerCore::update(Index g, Orders& orders) {
  GroupRecord& group = groups_[g];
  const Index p = group.pool;
  // Everybody who waits gets an idle server of the group, wherever it is, before anything is opened or
  // evicted.
  while (group.waiting.size() > group.recalled && !group.idle.empty()) {
    const Index s = group.idle.back();
    orders.list.push_back(Recall{server_id(s), servers_[s].home});
    unpark(s);
    servers_[s].state = State::Recalled;
    ++group.recalled;
    ++pools_[p].recalled;
  }
  refresh_group(g);
  drop_group_if_unused(g);
  update_pool(p, orders);
}

void BrokerCore::update_pool(Index p, Orders& orders) {
  make_room(p, orders);
  refresh_pool(p);
  dispatch(orders);
  arm(p, orders);
}

// Within one pool: idle servers that nobody waiting can use make way for those who need their slot.
void BrokerCore::make_room(Index p, Orders& orders) {
  const PoolRecord& pool = pools_[p];
  if (pool.idle.empty()) return;
  const std::uint32_t demand = client_demand(pool) + (trial_ready(pool) ? 1 : 0) + own_demand(pool);
  if (demand == 0) return;
  while (!pool.idle.empty() && pool.slots - pool.closing + demand > pool.limits.size)
    close_idle(pool.idle.front(), CloseReason::Evicted, orders);
}

void BrokerCore::dispatch(Orders& orders) {
  while (opening_ < max_opening()) {
    const bool client = !hungry_.empty();
    const bool login = !ready_.empty() && logins_ < login_cap();
    if (!client && !login) break;
    if (has_slot()) {
      if (client && (!login || hungry_.top_key() < ready_.top_key()))
        open_one(hungry_.top(), pools_[hungry_.top()].hungry.top(), orders);
      else
        grant_login(ready_.top(), orders);
    } else if (!idle_.empty() && slots_ - closing_ + usable_want(client_want_) > limits_.max_servers) {
      const Index p = servers_[idle_.front()].pool;
      close_idle(idle_.front(), CloseReason::Evicted, orders);
      refresh_pool(p);
    } else {
      break;
    }
  }
  fill_min(orders);
  make_way(orders);
}

void BrokerCore::open_one(Index p, Index g, Orders& orders) {
  const Index s = reserve(p, State::Opening);
  servers_[s].group = g;
  ++pools_[p].opening;
  ++groups_[g].opening;
  ++groups_[g].servers;
  orders.list.push_back(OpenOne{pool_id(p), server_id(s), groups_[g].startup});
  refresh_group(g);
  refresh_pool(p);
  arm(p, orders);
}

void BrokerCore::grant_login(Index l, Orders& orders) {
  LineRecord& line = lines_[l];
  const Index w = line.waiting.front();
  const Index s = reserve(line.pool, State::Login);
  servers_[s].line = l;
  servers_[s].session = waits_[w].waiter.session;
  ++line.busy;
  ++logins_;
  orders.list.push_back(GrantSlot{waits_[w].waiter, server_id(s)});
  line.waiting.erase(waits_, w);
  waits_[w].waiting = false;
  waits_.give_back(w);
  if (line.pool == kNone) {
    refresh_line(l);
  } else {
    ++pools_[line.pool].logins;
    refresh_pool(line.pool);
    arm(line.pool, orders);
  }
}

// Pools below their minimum, in turn; only after everybody who waits.
void BrokerCore::fill_min(Orders& orders) {
  while (!underfilled_.empty() && opening_ < max_opening() && has_slot()) {
    const Index p = underfilled_.front();
    underfilled_.erase(pools_, p);
    pools_[p].underfilled = false;
    open_one(p, pools_[p].operator_group, orders);
  }
}

}  // namespace sidepool::pool
