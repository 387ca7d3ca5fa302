// tests/unit/pool/broker_time_test.cpp -- back-off, minimum size, time-outs, lifetimes, notices.
#include "tests/unit/pool/broker_fixture.h"

namespace sidepool::pool {
namespace {

class BrokerTime : public BrokerTest {};

TEST_F(BrokerTime, BackOffOpensNothingUntilItsDeadlineAndThenOneAtATime) {
  const PoolId pool = broker->add_pool(sized(5));
  wait(pool, kA);
  const ServerId server = only<OpenOne>().server;
  open_failed(server);
  EXPECT_TRUE(all<OpenOne>().empty());
  ASSERT_TRUE(orders.wake);
  const Time retry = *orders.wake;
  EXPECT_GT(retry, now);
  EXPECT_LE(retry, now + Backoff{}.first);
  EXPECT_EQ(broker->next_deadline(), retry);
  wait(pool, kA);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_EQ(broker->open_error(pool)->message, "no route");

  now = retry;
  poll();
  const ServerId probe = only<OpenOne>().server;
  wait(pool, kA);
  EXPECT_TRUE(orders.list.empty()) << "one login finds out whether it works";
  EXPECT_TRUE(handed(opened(probe, kA)));
  EXPECT_EQ(all<OpenOne>().size(), 2u) << "it does: for both who wait";
  EXPECT_FALSE(broker->open_error(pool));
}

TEST_F(BrokerTime, AFailedDialInTwoStepsHoldsItsSlot) {
  const PoolId pool = broker->add_pool(sized(1));
  wait(pool, kA);
  const ServerId server = only<OpenOne>().server;
  open_failed(server, OpenFailure::Unreachable, false);
  now += seconds(60);
  poll();
  EXPECT_TRUE(orders.list.empty());
  closed(server);
  only<OpenOne>();
}

TEST_F(BrokerTime, OtherPoolsOpenDuringOnesBackOff) {
  const PoolId down = broker->add_pool(sized(1)), up = broker->add_pool(sized(1));
  wait(down, kA);
  open_failed(only<OpenOne>().server);
  wait(up, kA);
  EXPECT_EQ(only<OpenOne>().pool, up);
}

TEST_F(BrokerTime, MinimumIsFilledAndRefilled) {
  PoolLimits limits = sized(3);
  limits.min_size = 2;
  const PoolId pool = broker->add_pool(limits);
  ASSERT_TRUE(broker->next_deadline());
  poll();
  const auto opens = all<OpenOne>();
  ASSERT_EQ(opens.size(), 2u);
  for (const OpenOne& open : opens) EXPECT_TRUE(parks(opened(open.server, kA)));
  orders.clear();
  broker->idle_lost(opens[0].server, true, now, orders);
  EXPECT_EQ(only<OpenOne>().pool, pool);
}

TEST_F(BrokerTime, MinimumIsFilledAfterTheFirstLogin) {
  const LoginSlot slot = broker->acquire_login_slot(session(kA), FirstLogin{Identity{1}}, now, orders);
  PoolLimits limits = sized(3);
  limits.min_size = 3;
  const PoolId pool = broker->add_pool(limits);
  orders.clear();
  EXPECT_TRUE(broker->adopt(std::get<LoginGranted>(slot).server, pool, 0, now, orders));
  EXPECT_EQ(all<OpenOne>().size(), 2u);
}

TEST_F(BrokerTime, MinimumWaitsBehindClients) {
  make(upstream(2, 1));
  PoolLimits limits = sized(2);
  limits.min_size = 2;
  const PoolId min = broker->add_pool(limits), busy = broker->add_pool(sized(1));
  poll();
  const ServerId first = only<OpenOne>().server;
  wait(busy, kA);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(parks(opened(first, kA)));
  EXPECT_EQ(only<OpenOne>().pool, busy);
  EXPECT_EQ(broker->counts(min, now).slots, 1u);
}

TEST_F(BrokerTime, IdleServersTimeOutDownToTheMinimum) {
  PoolLimits limits = sized(3);
  limits.min_size = 1;
  limits.idle_timeout = seconds(10);
  const PoolId pool = broker->add_pool(limits);
  poll();
  const ServerId first = only<OpenOne>().server;
  opened(first, kA);
  EXPECT_EQ(used(acquire(pool, kA)), first);
  const ServerId second = fresh(pool, kB);
  release(second, kB);
  now += seconds(1);
  release(first, kA);
  EXPECT_EQ(broker->next_deadline(), now + seconds(9));
  now += seconds(9);
  poll();
  EXPECT_EQ(only<CloseIdle>().server, second);
  EXPECT_EQ(only<CloseIdle>().reason, CloseReason::IdleTimeout);
  closed(second);
  now += seconds(100);
  poll();
  EXPECT_TRUE(orders.list.empty()) << "the minimum stays";
}

TEST_F(BrokerTime, IdleServersOfAgeCloseWithSpacing) {
  PoolLimits limits = sized(2);
  limits.lifetime = seconds(100);
  const PoolId pool = broker->add_pool(limits);
  const ServerId a = fresh(pool, kA);
  now += seconds(1);
  const ServerId b = parked(pool, kA);
  now += seconds(99);
  poll();
  EXPECT_TRUE(orders.list.empty()) << "the old one is out, the idle one is young";
  now += seconds(50);
  poll();
  EXPECT_EQ(only<CloseIdle>().server, b);
  EXPECT_EQ(only<CloseIdle>().reason, CloseReason::Lifetime);
  EXPECT_TRUE(parks(release(a, kA)));
  now += seconds(49);
  poll();
  EXPECT_TRUE(orders.list.empty());
  now += seconds(1);
  poll();
  EXPECT_EQ(only<CloseIdle>().server, a);
}

TEST_F(BrokerTime, NotifiesOnceAWait) {
  PoolLimits limits = sized(1);
  limits.notify_after = seconds(5);
  const PoolId pool = broker->add_pool(limits);
  fresh(pool, kA);
  const Ticket gone = wait(pool, kA), first = wait(pool, kB);
  now += seconds(2);
  const Ticket second = wait(pool, kB);
  EXPECT_TRUE(broker->cancel(gone, now, orders));
  now += seconds(3);
  poll();
  EXPECT_EQ(only<Notify>().waiter.ticket, first);
  EXPECT_EQ(orders.wake, now + seconds(2));
  now += seconds(2);
  poll();
  EXPECT_EQ(only<Notify>().waiter.ticket, second);
}

TEST_F(BrokerTime, AnEarlierNowIsHarmless) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = parked(pool, kA);
  const Time before = now - seconds(5);
  EXPECT_EQ(used(broker->acquire(pool, session(kA), {}, before, orders)), server);
  EXPECT_EQ(broker->counts(pool, before).oldest_wait, Duration{});
}

}  // namespace
}  // namespace sidepool::pool
