// pool/broker_core.cpp -- ids, pools and limits, counts.
#include "pool/broker_core.h"

#include <algorithm>

namespace sidepool::pool {
namespace {

// An id is the broker's number, the record's generation and its index: 12 + 32 + 20 bits.
constexpr unsigned kIndexBits = 20;
constexpr unsigned kGenerationBits = 32;
constexpr Index kIndexMask = (Index{1} << kIndexBits) - 1;

std::uint64_t pack(std::uint16_t number, std::uint32_t generation, Index index) {
  return (std::uint64_t{number} << (kIndexBits + kGenerationBits)) |
         (std::uint64_t{generation} << kIndexBits) | index;
}

}  // namespace

BrokerCore::BrokerCore(std::uint16_t number, std::uint16_t workers, BrokerLimits limits)
    : number_(number), workers_(workers), limits_(limits) {
  assert(number < (1u << 12));
}

ServerId BrokerCore::server_id(Index s) const { return ServerId{pack(number_, servers_[s].generation, s)}; }
PoolId BrokerCore::pool_id(Index p) const { return PoolId{pack(number_, pools_[p].generation, p)}; }

Index BrokerCore::find_server(ServerId id) const {
  const Index s = static_cast<Index>(id) & kIndexMask;
  if (s >= servers_.size() || servers_[s].state == State::Free || server_id(s) != id) return kNone;
  return s;
}

Index BrokerCore::find_pool(PoolId id) const {
  const Index p = static_cast<Index>(id) & kIndexMask;
  if (p >= pools_.size() || !pools_[p].live || pool_id(p) != id) return kNone;
  return p;
}

void BrokerCore::advance(Time now) { now_ = std::max(now_, now); }

PoolId BrokerCore::add_pool(const PoolLimits& limits) {
  const Index p = pools_.take();
  assert(p <= kIndexMask);
  const std::uint32_t generation = pools_[p].generation;
  PoolRecord& pool = pools_[p];
  pool = PoolRecord{};
  pool.live = true;
  pool.generation = generation;
  pool.limits = limits;
  pool.limits.size = std::max(1u, limits.size);
  pool.operator_group = new_group(p, 0);
  for (const auto kind : {LineRecord::Kind::Trial, LineRecord::Kind::Own}) {
    const Index l = lines_.take();
    lines_[l] = LineRecord{};
    lines_[l].kind = kind;
    lines_[l].pool = p;
    (kind == LineRecord::Kind::Trial ? pool.trial : pool.own) = l;
  }
  refresh_pool(p);
  if (pool.underfilled) due_.set(pools_, p, now_);
  return pool_id(p);
}

void BrokerCore::set_limits(PoolId id, const PoolLimits& limits, Time now, Orders& orders) {
  advance(now);
  const Index p = find_pool(id);
  assert(p != kNone);
  if (p == kNone) return;
  PoolRecord& pool = pools_[p];
  pool.limits = limits;
  pool.limits.size = std::max(1u, limits.size);
  pool.age_check = Time{};
  pool.health.shorten(now_, limits.backoff);
  while (pool.slots - pool.closing > pool.limits.size && !pool.idle.empty())
    close_idle(pool.idle.front(), CloseReason::OverLimit, orders);
  update_pool(p, orders);
}

void BrokerCore::set_limits(BrokerLimits limits, Time now, Orders& orders) {
  advance(now);
  limits_ = limits;
  while (limits_.max_servers != 0 && slots_ - closing_ > limits_.max_servers && !idle_.empty()) {
    const Index p = servers_[idle_.front()].pool;
    close_idle(idle_.front(), CloseReason::OverLimit, orders);
    refresh_pool(p);
  }
  dispatch(orders);
}

void BrokerCore::retire_servers(PoolId id, Time now, Orders& orders) {
  advance(now);
  const Index p = find_pool(id);
  assert(p != kNone);
  if (p == kNone) return;
  ++pools_[p].epoch;
  while (!pools_[p].idle.empty()) close_idle(pools_[p].idle.front(), CloseReason::Retired, orders);
  update_pool(p, orders);
}

void BrokerCore::drain_pool(PoolId id, Time now, Orders& orders) {
  advance(now);
  const Index p = find_pool(id);
  assert(p != kNone);
  if (p == kNone) return;
  PoolRecord& pool = pools_[p];
  pool.draining = true;
  while (!pool.idle.empty()) close_idle(pool.idle.front(), CloseReason::Retired, orders);
  look_again(pool.trial, p, orders);
  look_again(pool.own, p, orders);
  update_pool(p, orders);
}

bool BrokerCore::remove_pool(PoolId id) {
  const Index p = find_pool(id);
  if (p == kNone) return false;
  PoolRecord& pool = pools_[p];
  if (pool.slots != 0 || !pool.waiting.empty() || !lines_[pool.trial].waiting.empty() ||
      !lines_[pool.own].waiting.empty())
    return false;
  hungry_.erase(pools_, p);
  due_.erase(pools_, p);
  if (pool.underfilled) underfilled_.erase(pools_, p);
  lines_.give_back(pool.trial);
  lines_.give_back(pool.own);
  groups_.give_back(pool.operator_group);
  pool.live = false;
  ++pool.generation;
  pools_.give_back(p);
  return true;
}

PoolCounts BrokerCore::counts(PoolId id, Time now) const {
  const Index p = find_pool(id);
  if (p == kNone) return {};
  const PoolRecord& pool = pools_[p];
  PoolCounts counts;
  counts.size = pool.limits.size;
  counts.slots = pool.slots;
  counts.idle = pool.idle.size() + pool.recalled;
  counts.out = pool.out;
  counts.pinned = pool.pinned;
  counts.opening = pool.opening + pool.logins;
  counts.closing = pool.closing;
  counts.waiting = pool.waiting.size();
  counts.waiting_logins = lines_[pool.trial].waiting.size() + lines_[pool.own].waiting.size();
  if (!pool.waiting.empty())
    counts.oldest_wait = std::max(now, now_) - waits_[pool.waiting.front()].waiter.since;
  counts.failures = pool.health.failures();
  return counts;
}

BrokerCounts BrokerCore::counts() const {
  BrokerCounts counts;
  counts.max_servers = limits_.max_servers;
  counts.slots = slots_;
  counts.opening = opening_;
  counts.closing = closing_;
  for (const auto& [identity, line] : first_lines_) counts.waiting_logins += lines_[line].waiting.size();
  counts.pools = pools_.used();
  return counts;
}

std::optional<OpenError> BrokerCore::open_error(PoolId id) const {
  const Index p = find_pool(id);
  if (p == kNone || pools_[p].health.failures() == 0) return std::nullopt;
  return pools_[p].health.last_error();
}

}  // namespace sidepool::pool
