// pool/broker_timers.cpp -- what becomes due with time: back-off, idle time-outs, lifetimes, notices.
#include <algorithm>

#include "pool/broker_core.h"

namespace sidepool::pool {

// At least this long between two closings of a pool for age, so that servers opened together do not all go at
// once (pgbouncer.md section 2.5, server_lifetime).
Duration BrokerCore::age_spacing(const PoolRecord& pool) const {
  constexpr Duration kLeast = std::chrono::milliseconds(1);
  return std::max(kLeast, pool.limits.lifetime / static_cast<Duration::rep>(pool.limits.size));
}

// Time::max(): never.
Time BrokerCore::earliest_due(const PoolRecord& pool) const {
  Time due = Time::max();
  if (pool.health.failures() != 0 && pool.health.next_attempt() > now_) due = pool.health.next_attempt();
  if (pool.limits.idle_timeout > Duration{} && !pool.idle.empty() &&
      pool.slots - pool.closing > pool.limits.min_size)
    due = std::min(due, servers_[pool.idle.front()].since + pool.limits.idle_timeout);
  if (pool.limits.lifetime > Duration{} && !pool.age.empty() && !pool.health.credential_refused()) {
    const Time old = servers_[pool.age.front()].opened + pool.limits.lifetime;
    due = std::min(due, std::max({old, pool.age_close_allowed, pool.age_check}));
  }
  if (pool.limits.notify_after > Duration{} && pool.notify != kNone)
    due = std::min(due, waits_[pool.notify].waiter.since + pool.limits.notify_after);
  return due;
}

// The heap holds lower bounds: what is no longer due is found out when it is looked at.
void BrokerCore::arm(Index p, Orders& orders) {
  const Time due = earliest_due(pools_[p]);
  if (due != Time::max() && (!due_.contains(pools_, p) || due < due_.key(pools_, p)))
    due_.set(pools_, p, due);
  if (!due_.empty()) announce(due_.top_key(), orders);
}

void BrokerCore::announce(Time due, Orders& orders) {
  if (due >= announced_) return;
  announced_ = due;
  orders.wake = std::min(orders.wake.value_or(Time::max()), announced_);
}

void BrokerCore::close_timed_out(Index p, Orders& orders) {
  const PoolRecord& pool = pools_[p];
  if (pool.limits.idle_timeout <= Duration{}) return;
  while (!pool.idle.empty() && pool.slots - pool.closing > pool.limits.min_size &&
         now_ - servers_[pool.idle.front()].since >= pool.limits.idle_timeout)
    close_idle(pool.idle.front(), CloseReason::IdleTimeout, orders);
}

void BrokerCore::close_aged(Index p, Orders& orders) {
  PoolRecord& pool = pools_[p];
  if (pool.limits.lifetime <= Duration{} || pool.health.credential_refused()) return;
  if (now_ < pool.age_close_allowed || now_ < pool.age_check) return;
  Index s = pool.age.front();
  if (s == kNone || now_ - servers_[s].opened < pool.limits.lifetime) return;
  while (s != kNone && servers_[s].state != State::Idle && now_ - servers_[s].opened >= pool.limits.lifetime)
    s = servers_[s].by_age.next;
  if (s == kNone || now_ - servers_[s].opened < pool.limits.lifetime) {
    pool.age_check = now_ + age_spacing(pool);
    return;
  }
  pool.age_close_allowed = now_ + age_spacing(pool);
  close_idle(s, CloseReason::Lifetime, orders);
}

void BrokerCore::run_due(Index p, Orders& orders) {
  PoolRecord& pool = pools_[p];
  close_timed_out(p, orders);
  close_aged(p, orders);
  if (pool.limits.notify_after > Duration{}) {
    while (pool.notify != kNone && now_ - waits_[pool.notify].waiter.since >= pool.limits.notify_after) {
      orders.list.push_back(Notify{waits_[pool.notify].waiter});
      pool.notify = waits_[pool.notify].by_pool.next;
    }
  }
  due_.erase(pools_, p);
  update_pool(p, orders);
}

void BrokerCore::poll(Time now, Orders& orders) {
  advance(now);
  announced_ = Time::min();  // this call announces at its end
  while (!due_.empty() && due_.top_key() <= now_) run_due(due_.top(), orders);
  make_way(orders);
  orders.wake = next_deadline();
  announced_ = orders.wake.value_or(Time::max());
}

std::optional<Time> BrokerCore::next_deadline() const {
  const Time due = std::min(due_.empty() ? Time::max() : due_.top_key(), typing_due());
  return due == Time::max() ? std::nullopt : std::optional(due);
}

}  // namespace sidepool::pool
