// pool/broker.cpp -- the lock around the broker's decisions.
#include "pool/broker.h"

#include <utility>

#include "pool/broker_core.h"

namespace sidepool::pool {

using Lock = std::lock_guard<std::mutex>;

Broker::Broker(std::uint16_t number, std::uint16_t workers, BrokerLimits limits)
    : core_(std::make_unique<BrokerCore>(number, workers, limits)) {}
Broker::~Broker() = default;

PoolId Broker::add_pool(const PoolLimits& limits) {
  Lock lock(mutex_);
  return core_->add_pool(limits);
}
void Broker::set_limits(PoolId pool, const PoolLimits& limits, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->set_limits(pool, limits, now, orders);
}
void Broker::set_limits(BrokerLimits limits, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->set_limits(limits, now, orders);
}
void Broker::retire_servers(PoolId pool, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->retire_servers(pool, now, orders);
}
void Broker::drain_pool(PoolId pool, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->drain_pool(pool, now, orders);
}
bool Broker::remove_pool(PoolId pool) {
  Lock lock(mutex_);
  return core_->remove_pool(pool);
}
Acquire Broker::acquire(PoolId pool, SessionId session, StateKey key, Time now, Orders& orders) {
  Lock lock(mutex_);
  return core_->acquire(pool, session, key, now, orders);
}
bool Broker::cancel(Ticket ticket, Time now, Orders& orders) {
  Lock lock(mutex_);
  return core_->cancel(ticket, now, orders);
}
std::vector<Waiter> Broker::fail_waiters(PoolId pool, Time now, Orders& orders) {
  Lock lock(mutex_);
  return core_->fail_waiters(pool, now, orders);
}
Release Broker::opened(ServerId server, WorkerId worker, std::uint64_t state, Time now, Orders& orders) {
  Lock lock(mutex_);
  return core_->opened(server, worker, state, now, orders);
}
std::vector<Waiter> Broker::open_failed(ServerId server, OpenError error, bool peer_closed, Time now,
                                        std::uint64_t random, Orders& orders) {
  Lock lock(mutex_);
  return core_->open_failed(server, std::move(error), peer_closed, now, random, orders);
}
Release Broker::release(ServerId server, WorkerId worker, Condition condition, std::uint64_t state, Time now,
                        Orders& orders) {
  Lock lock(mutex_);
  return core_->release(server, worker, condition, state, now, orders);
}
void Broker::idle_lost(ServerId server, bool peer_closed, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->idle_lost(server, peer_closed, now, orders);
}
void Broker::closed(ServerId server, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->closed(server, now, orders);
}
void Broker::pin(ServerId server) {
  Lock lock(mutex_);
  core_->pin(server);
}
void Broker::unpin(ServerId server) {
  Lock lock(mutex_);
  core_->unpin(server);
}
LoginSlot Broker::acquire_login_slot(SessionId session, LoginFor what, Time now, Orders& orders,
                                     LoginRank rank) {
  Lock lock(mutex_);
  return core_->acquire_login_slot(session, what, now, orders, rank);
}
bool Broker::adopt(ServerId server, PoolId pool, std::uint64_t startup, Time now, Orders& orders) {
  Lock lock(mutex_);
  return core_->adopt(server, pool, startup, now, orders);
}
void Broker::login_ended(ServerId server, bool peer_closed, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->login_ended(server, peer_closed, now, orders);
}
void Broker::login_waits(ServerId server, Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->login_waits(server, now, orders);
}
bool Broker::login_resumed(ServerId server, Time now) {
  Lock lock(mutex_);
  return core_->login_resumed(server, now);
}
void Broker::poll(Time now, Orders& orders) {
  Lock lock(mutex_);
  core_->poll(now, orders);
}
std::optional<Time> Broker::next_deadline() const {
  Lock lock(mutex_);
  return core_->next_deadline();
}
PoolCounts Broker::counts(PoolId pool, Time now) const {
  Lock lock(mutex_);
  return core_->counts(pool, now);
}
BrokerCounts Broker::counts() const {
  Lock lock(mutex_);
  return core_->counts();
}
std::optional<OpenError> Broker::open_error(PoolId pool) const {
  Lock lock(mutex_);
  return core_->open_error(pool);
}
std::string Broker::check(Time now) const {
  Lock lock(mutex_);
  return core_->check(now);
}

}  // namespace sidepool::pool
