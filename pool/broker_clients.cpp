// pool/broker_clients.cpp -- clients that ask for a server, wait for one, or give up.
#include <algorithm>
#include <utility>

#include "pool/broker_core.h"

namespace sidepool::pool {
namespace {

// A ticket is the order of arrival and the waiter's slot, so that cancel() finds it without a search. The
// order wraps after 2^42 waits in a ticket (never in WaitRecord::order, which is what compares).
constexpr unsigned kSlotBits = 22;
constexpr std::uint64_t kSlotMask = (std::uint64_t{1} << kSlotBits) - 1;

std::size_t mix(std::uint64_t x) {  // splitmix64's finisher
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<std::size_t>(x ^ (x >> 31));
}

}  // namespace

std::size_t BrokerCore::GroupKeyHash::operator()(const GroupKey& key) const {
  return mix(key.startup ^ mix(key.pool));
}

std::size_t StateIndex::bucket(Index group, WorkerId worker, std::uint64_t state) const {
  return mix(state ^ mix((std::uint64_t{group} << 16) | static_cast<std::uint16_t>(worker))) &
         (chains_.size() - 1);
}

void StateIndex::add(Slab<ServerRecord>& servers, Index s) {
  if (++size_ > chains_.size()) grow(servers);
  const ServerRecord& server = servers[s];
  chains_[bucket(server.group, server.home, server.kept)].push_back(servers, s);
}

void StateIndex::erase(Slab<ServerRecord>& servers, Index s) {
  const ServerRecord& server = servers[s];
  chains_[bucket(server.group, server.home, server.kept)].erase(servers, s);
  --size_;
}

void StateIndex::grow(Slab<ServerRecord>& servers) {
  std::vector<Chain> old = std::exchange(chains_, std::vector<Chain>(chains_.size() * 2));
  for (Chain& chain : old)
    while (!chain.empty()) {
      const Index s = chain.front();
      chain.erase(servers, s);
      chains_[bucket(servers[s].group, servers[s].home, servers[s].kept)].push_back(servers, s);
    }
}

Index StateIndex::find(const Slab<ServerRecord>& servers, Index group, WorkerId worker, std::uint64_t state,
                       bool oldest) const {
  constexpr int kLooks = 16;
  const Chain& chain = chains_[bucket(group, worker, state)];
  Index s = oldest ? chain.front() : chain.back();
  for (int i = 0; i < kLooks && s != kNone; ++i) {
    const ServerRecord& server = servers[s];
    if (server.group == group && server.home == worker && server.kept == state) return s;
    s = oldest ? server.by_state.next : server.by_state.prev;
  }
  return kNone;
}

Index BrokerCore::new_group(Index p, std::uint64_t startup) {
  const Index g = groups_.take();
  GroupRecord& group = groups_[g];
  group.pool = p;
  group.startup = startup;
  group.local.resize(workers_);
  return g;
}

Index BrokerCore::group_of(Index p, std::uint64_t startup) {
  if (startup == 0) return pools_[p].operator_group;
  const auto [at, added] = groups_by_key_.try_emplace(GroupKey{p, startup}, kNone);
  if (added) at->second = new_group(p, startup);
  return at->second;
}

// An unused group's lists and counts are all empty, so that it can be taken again as it is.
void BrokerCore::drop_group_if_unused(Index g) {
  const GroupRecord& group = groups_[g];
  if (group.startup == 0 || group.servers != 0 || !group.waiting.empty()) return;
  assert(group.unmet == 0 && group.hungry_pos == kNone);
  groups_by_key_.erase(GroupKey{group.pool, group.startup});
  groups_.give_back(g);
}

GroupRecord::Local& BrokerCore::local(Index g, WorkerId worker) {
  auto& locals = groups_[g].local;
  const auto at = static_cast<std::size_t>(worker);
  if (at >= locals.size()) locals.resize(at + 1);
  return locals[at];
}

Index BrokerCore::new_waiter(Index p, SessionId session) {
  const Index w = waits_.take();
  assert(w <= kSlotMask);
  WaitRecord& wait = waits_[w];
  wait = WaitRecord{};
  wait.waiting = true;
  wait.order = ++last_order_;
  wait.pool = p;
  const Ticket ticket{(wait.order << kSlotBits) | w};
  wait.waiter = Waiter{ticket, p == kNone ? PoolId{} : pool_id(p), session, now_};
  return w;
}

void BrokerCore::remove_client(Index w) {
  WaitRecord& wait = waits_[w];
  PoolRecord& pool = pools_[wait.pool];
  if (pool.notify == w) pool.notify = wait.by_pool.next;
  GroupRecord& group = groups_[wait.group];
  if (group.first_unmet == w)
    group.first_unmet = wait.in_queue.next;
  else if (group.first_unmet == kNone || wait.order < waits_[group.first_unmet].order)
    --group.covered;
  group.waiting.erase(waits_, w);
  local(wait.group, wait.waiter.session.worker).waiting.erase(waits_, w);
  pool.waiting.erase(waits_, w);
  wait.waiting = false;
  waits_.give_back(w);
}

Index BrokerCore::next_waiter(Index g, WorkerId worker) {
  const Index head = groups_[g].waiting.front();
  if (head == kNone) return kNone;
  const WaitRecord& wait = waits_[head];
  const Duration window = pools_[wait.pool].limits.locality_window;
  if (wait.waiter.session.worker == worker || now_ - wait.waiter.since >= window) return head;
  const auto& here = local(g, worker).waiting;
  return here.empty() ? head : here.front();
}

Index BrokerCore::idle_for(Index g, WorkerId worker, std::uint64_t state) {
  const auto& here = local(g, worker).idle;
  if (here.empty()) return kNone;
  const bool oldest = pools_[groups_[g].pool].limits.round_robin;
  const Index match = by_state_.find(servers_, g, worker, state, oldest);
  if (match != kNone) return match;
  return oldest ? here.front() : here.back();
}

Acquire BrokerCore::acquire(PoolId id, SessionId session, StateKey key, Time now, Orders& orders) {
  advance(now);
  const Index p = find_pool(id);
  if (p == kNone) return Refused{Refused::Why::NoPool};
  PoolRecord& pool = pools_[p];
  if (pool.draining) return Refused{Refused::Why::Draining};
  const Index g = group_of(p, key.startup);
  // Idle servers are only there when every waiting client of the group has a recalled one coming: release()
  // hands over before it parks, and update() recalls for whoever waits.
  if (const Index s = idle_for(g, session.worker, key.state); s != kNone) {
    unpark(s);
    servers_[s].state = State::Out;
    ++pool.out;
    return UseIdle{server_id(s)};
  }
  if ((pool.limits.max_waiting != 0 && pool.waiting.size() >= pool.limits.max_waiting) ||
      waits_.used() > kSlotMask) {
    drop_group_if_unused(g);
    return Refused{Refused::Why::QueueFull};
  }
  const Index w = new_waiter(p, session);
  waits_[w].group = g;
  groups_[g].waiting.push_back(waits_, w);
  if (groups_[g].first_unmet == kNone) groups_[g].first_unmet = w;
  local(g, session.worker).waiting.push_back(waits_, w);
  pool.waiting.push_back(waits_, w);
  if (pool.notify == kNone) pool.notify = w;
  const Ticket ticket = waits_[w].waiter.ticket;
  update(g, orders);
  return Queued{ticket};
}

bool BrokerCore::cancel(Ticket ticket, Time now, Orders& orders) {
  advance(now);
  const auto w = static_cast<Index>(static_cast<std::uint64_t>(ticket) & kSlotMask);
  if (w >= waits_.size() || !waits_[w].waiting || waits_[w].waiter.ticket != ticket) return false;
  const Index g = waits_[w].group;
  if (g != kNone) {
    remove_client(w);
    update(g, orders);
    return true;
  }
  const Index l = waits_[w].line;
  const Index p = lines_[l].pool;
  lines_[l].waiting.erase(waits_, w);
  waits_[w].waiting = false;
  waits_.give_back(w);
  if (p != kNone) {
    update_pool(p, orders);
  } else {
    refresh_line(l);
    drop_line_if_unused(l);
  }
  return true;
}

// The caller updates the group.
void BrokerCore::fail_group(Index g, std::vector<Waiter>& failed) {
  while (!groups_[g].waiting.empty()) {
    const Index w = groups_[g].waiting.front();
    failed.push_back(waits_[w].waiter);
    remove_client(w);
  }
}

// The caller updates the pool, and the group `kept` (kNone: there is none that it needs).
void BrokerCore::fail_pool(Index p, Index kept, std::vector<Waiter>& failed) {
  failed.reserve(pools_[p].waiting.size());
  while (!pools_[p].waiting.empty()) {
    const Index g = waits_[pools_[p].waiting.front()].group;
    fail_group(g, failed);
    if (g == kept) continue;
    refresh_group(g);
    drop_group_if_unused(g);
  }
}

std::vector<Waiter> BrokerCore::fail_waiters(PoolId id, Time now, Orders& orders) {
  advance(now);
  std::vector<Waiter> failed;
  const Index p = find_pool(id);
  if (p == kNone) return failed;
  fail_pool(p, kNone, failed);
  update_pool(p, orders);
  return failed;
}

}  // namespace sidepool::pool
