// tests/unit/pool/broker_bound_test.cpp -- the bound over all pools of an upstream, eviction, and races.
#include "tests/unit/pool/broker_fixture.h"

namespace sidepool::pool {
namespace {

class BrokerBound : public BrokerTest {};

TEST_F(BrokerBound, MaxServersCountsAllPools) {
  make(upstream(2));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
  const ServerId a = fresh(p, kA);
  fresh(q, kA);
  wait(p, kA);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(closes(release(a, kA, Condition::Broken)));
  closed(a);
  EXPECT_EQ(only<OpenOne>().pool, p);
}

TEST_F(BrokerBound, MaxOpeningCountsAllPoolsAndServesTheOldestFirst) {
  make(upstream(0, 2));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
  wait(p, kA);
  const ServerId first = only<OpenOne>().server;
  wait(p, kA);
  only<OpenOne>();
  wait(q, kA);
  wait(p, kA);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(handed(opened(first, kA)));
  EXPECT_EQ(only<OpenOne>().pool, q);
}

TEST_F(BrokerBound, EvictsTheLongestIdleServerOfAnyPool) {
  make(upstream(3));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10)),
               r = broker->add_pool(sized(10));
  const ServerId a = fresh(p, kA), b = fresh(q, kB), c = fresh(p, kA);
  release(b, kB);
  now += seconds(1);
  release(a, kA);
  release(c, kA);
  wait(r, kC);
  EXPECT_EQ(only<CloseIdle>().server, b);
  EXPECT_EQ(only<CloseIdle>().from, kB);
  wait(r, kC);
  EXPECT_EQ(only<CloseIdle>().server, a) << "a second client, a second slot";
  closed(b);
  EXPECT_EQ(only<OpenOne>().pool, r);
}

TEST_F(BrokerBound, OneSlotComingIsEnoughForOneClient) {
  make(upstream(2));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
  const ServerId a = fresh(p, kA);
  parked(p, kB);
  EXPECT_TRUE(closes(release(a, kA, Condition::Broken)));
  wait(q, kC);
  EXPECT_TRUE(orders.list.empty()) << "a closes already";
  closed(a);
  only<OpenOne>();
}

TEST_F(BrokerBound, AServerInDemandChangesPoolsOnlyAfterPatience) {
  for (const bool patient : {false, true}) {
    make(upstream(1));
    const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
    const ServerId server = fresh(p, kA);
    wait(q, kA);
    wait(p, kA);
    now += patient ? seconds(1) : milliseconds(999);
    EXPECT_EQ(closes(release(server, kA)), patient);
    EXPECT_EQ(broker->check(now), "");
  }
}

TEST_F(BrokerBound, AnOlderClientOfItsOwnPoolKeepsTheServer) {
  make(upstream(1));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
  const ServerId server = fresh(p, kA);
  const Ticket older = wait(p, kA);
  wait(q, kA);
  now += seconds(5);
  EXPECT_EQ(handed(release(server, kA)), older);
}

TEST_F(BrokerBound, AReleasedServerNobodyOfItsPoolNeedsMakesWay) {
  make(upstream(1));
  const PoolId p = broker->add_pool(sized(10)), q = broker->add_pool(sized(10));
  const ServerId server = fresh(p, kA);
  wait(q, kA);
  EXPECT_TRUE(closes(release(server, kA)));
  closed(server);
  EXPECT_EQ(only<OpenOne>().pool, q);
}

TEST_F(BrokerBound, LoweringMaxServersClosesIdleServersAndThenReleasedOnes) {
  const PoolId p = broker->add_pool(sized(10));
  const ServerId a = fresh(p, kA), b = fresh(p, kA), c = parked(p, kA);
  orders.clear();
  broker->set_limits(upstream(1), now, orders);
  EXPECT_EQ(only<CloseIdle>().server, c);
  EXPECT_TRUE(closes(release(a, kA)));
  EXPECT_TRUE(parks(release(b, kA)));
}

TEST_F(BrokerBound, ARecalledServerThatDiesIsReplaced) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId server = parked(pool, kA);
  const Ticket ticket = wait(pool, kB);
  EXPECT_EQ(only<Recall>().server, server);
  orders.clear();
  broker->idle_lost(server, true, now, orders);
  EXPECT_EQ(handed(opened(only<OpenOne>().server, kB)), ticket);
}

TEST_F(BrokerBound, AnEvictedServerThatDiesFirstFreesItsSlotOnce) {
  make(upstream(1));
  const PoolId p = broker->add_pool(sized(1)), q = broker->add_pool(sized(1));
  const ServerId server = parked(p, kA);
  wait(q, kB);
  EXPECT_EQ(only<CloseIdle>().server, server);
  orders.clear();
  broker->idle_lost(server, false, now, orders);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_EQ(broker->counts().slots, 1u);
  closed(server);
  EXPECT_EQ(only<OpenOne>().pool, q);
}

TEST_F(BrokerBound, ARecallWhoseClientIsGoneParks) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId server = parked(pool, kA);
  const Ticket ticket = wait(pool, kB);
  EXPECT_TRUE(broker->cancel(ticket, now, orders));
  EXPECT_TRUE(parks(release(server, kA)));
}

TEST_F(BrokerBound, AClientWithALoginComingStillGetsAnIdleServer) {
  PoolLimits limits = sized(3);
  limits.min_size = 2;
  const PoolId pool = broker->add_pool(limits);
  poll();
  const auto opens = all<OpenOne>();
  ASSERT_EQ(opens.size(), 2u);
  EXPECT_TRUE(parks(opened(opens[0].server, kA)));
  const Ticket ticket = wait(pool, kB);
  EXPECT_EQ(only<Recall>().server, opens[0].server);
  EXPECT_EQ(handed(opened(opens[1].server, kC)), ticket) << "what comes first serves";
  EXPECT_TRUE(parks(release(opens[0].server, kA)));
}

TEST_F(BrokerBound, IdsOfTwoBrokersDiffer) {
  Broker other(2, 1, upstream(0));
  EXPECT_NE(other.add_pool(sized(1)), broker->add_pool(sized(1)));
}

}  // namespace
}  // namespace sidepool::pool
