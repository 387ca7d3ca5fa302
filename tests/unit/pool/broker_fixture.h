// tests/unit/pool/broker_fixture.h -- one broker on a clock of its own, and short words for what it says.
#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "pool/broker.h"

namespace sidepool::pool {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

class BrokerTest : public testing::Test {
 protected:
  static constexpr WorkerId kA{0}, kB{1}, kC{2};

  static PoolLimits sized(std::uint32_t size) {
    PoolLimits limits;
    limits.size = size;
    limits.locality_window = Duration{};
    limits.lifetime = Duration{};
    limits.idle_timeout = Duration{};
    return limits;
  }
  static BrokerLimits upstream(std::uint32_t max_servers, std::uint32_t max_opening = 4) {
    BrokerLimits limits;
    limits.max_servers = max_servers;
    limits.max_opening = max_opening;
    return limits;
  }
  void make(BrokerLimits limits) { broker.emplace(std::uint16_t{1}, std::uint16_t{3}, limits); }
  void SetUp() override { make(upstream(0)); }
  void TearDown() override { EXPECT_EQ(broker->check(now), ""); }

  SessionId session(WorkerId worker) { return SessionId{worker, ++sessions, 1}; }
  Acquire acquire(PoolId pool, WorkerId worker, StateKey key = {}) {
    orders.clear();
    return broker->acquire(pool, session(worker), key, now, orders);
  }
  Ticket wait(PoolId pool, WorkerId worker, StateKey key = {}) {
    const Acquire answer = acquire(pool, worker, key);
    EXPECT_TRUE(std::holds_alternative<Queued>(answer));
    return std::holds_alternative<Queued>(answer) ? std::get<Queued>(answer).ticket : Ticket{};
  }
  Release release(ServerId server, WorkerId worker, Condition condition = Condition::Clean,
                  std::uint64_t state = 0) {
    orders.clear();
    return broker->release(server, worker, condition, state, now, orders);
  }
  Release opened(ServerId server, WorkerId worker) {
    orders.clear();
    return broker->opened(server, worker, 0, now, orders);
  }
  std::vector<Waiter> open_failed(ServerId server, OpenFailure kind = OpenFailure::Unreachable,
                                  bool peer_closed = true) {
    orders.clear();
    return broker->open_failed(server, OpenError{kind, "08001", "no route"}, peer_closed, now,
                               ~std::uint64_t{0}, orders);
  }
  void closed(ServerId server) {
    orders.clear();
    broker->closed(server, now, orders);
  }
  void poll() {
    orders.clear();
    broker->poll(now, orders);
  }

  // The orders of one kind, of the last call.
  template <class T>
  std::vector<T> all() const {
    std::vector<T> found;
    for (const Order& order : orders.list)
      if (const auto* one = std::get_if<T>(&order)) found.push_back(*one);
    return found;
  }
  template <class T>
  T only() const {
    EXPECT_EQ(orders.list.size(), 1u);
    const auto found = all<T>();
    EXPECT_EQ(found.size(), 1u);
    return found.empty() ? T{} : found.front();
  }
  // A new server of this pool that a client on this worker has out; nobody else waits.
  ServerId fresh(PoolId pool, WorkerId worker, std::uint64_t startup = 0) {
    wait(pool, worker, StateKey{startup, 0});
    const auto opens = all<OpenOne>();
    EXPECT_EQ(opens.size(), 1u);
    const ServerId server = opens.empty() ? ServerId{} : opens.front().server;
    EXPECT_TRUE(std::holds_alternative<HandTo>(opened(server, worker)));
    return server;
  }
  ServerId parked(PoolId pool, WorkerId worker, std::uint64_t state = 0, std::uint64_t startup = 0) {
    const ServerId server = fresh(pool, worker, startup);
    EXPECT_TRUE(std::holds_alternative<Park>(release(server, worker, Condition::Clean, state)));
    return server;
  }
  static std::optional<Ticket> handed(const Release& answer) {
    const auto* hand = std::get_if<HandTo>(&answer);
    return hand == nullptr ? std::nullopt : std::optional(hand->waiter.ticket);
  }
  static std::optional<ServerId> used(const Acquire& answer) {
    const auto* use = std::get_if<UseIdle>(&answer);
    return use == nullptr ? std::nullopt : std::optional(use->server);
  }
  static bool closes(const Release& answer) { return std::holds_alternative<Close>(answer); }
  static bool parks(const Release& answer) { return std::holds_alternative<Park>(answer); }

  std::optional<Broker> broker;
  Orders orders;
  Time now = Time{} + hours(1000);
  std::uint32_t sessions = 0;
};

}  // namespace sidepool::pool
