// tests/unit/pool/broker_acquire_test.cpp -- what a client that needs a server gets.
#include "tests/unit/pool/broker_fixture.h"

namespace sidepool::pool {
namespace {

class BrokerAcquire : public BrokerTest {};

TEST_F(BrokerAcquire, OpensOneServerForEachClientUpToTheSize) {
  const PoolId pool = broker->add_pool(sized(2));
  wait(pool, kA);
  EXPECT_EQ(only<OpenOne>().pool, pool);
  wait(pool, kA);
  only<OpenOne>();
  wait(pool, kA);
  EXPECT_TRUE(orders.list.empty());
  EXPECT_EQ(broker->counts(pool, now).opening, 2u);
  EXPECT_EQ(broker->counts(pool, now).waiting, 3u);
}

TEST_F(BrokerAcquire, PrefersTheMostRecentServerOfItsWorker) {
  const PoolId pool = broker->add_pool(sized(3));
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA), c = fresh(pool, kA);
  for (const ServerId server : {b, c, a}) EXPECT_TRUE(parks(release(server, kA)));
  EXPECT_EQ(used(acquire(pool, kA)), a);
  EXPECT_EQ(used(acquire(pool, kA)), c);
  EXPECT_EQ(used(acquire(pool, kA)), b);
}

TEST_F(BrokerAcquire, RoundRobinTakesTheLongestIdle) {
  PoolLimits limits = sized(3);
  limits.round_robin = true;
  const PoolId pool = broker->add_pool(limits);
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA), c = fresh(pool, kA);
  for (const ServerId server : {b, c, a}) EXPECT_TRUE(parks(release(server, kA)));
  EXPECT_EQ(used(acquire(pool, kA)), b);
  EXPECT_EQ(used(acquire(pool, kA)), c);
  EXPECT_EQ(used(acquire(pool, kA)), a);
}

TEST_F(BrokerAcquire, PrefersTheServerThatHasTheClientsState) {
  const PoolId pool = broker->add_pool(sized(3));
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA), c = fresh(pool, kA);
  release(a, kA, Condition::Clean, 7);
  release(b, kA, Condition::Clean, 8);
  release(c, kA, Condition::Clean, 9);
  EXPECT_EQ(used(acquire(pool, kA, StateKey{0, 7})), a);
  EXPECT_EQ(used(acquire(pool, kA, StateKey{0, 7})), c) << "none has it: the most recent";
  EXPECT_EQ(used(acquire(pool, kA, StateKey{0, 8})), b);
}

TEST_F(BrokerAcquire, PrefersALocalServerWithOtherStateToARemoteMatch) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId a = fresh(pool, kA), b = fresh(pool, kB);
  release(a, kA, Condition::Clean, 1);
  release(b, kB, Condition::Clean, 7);
  EXPECT_EQ(used(acquire(pool, kA, StateKey{0, 7})), a);
}

TEST_F(BrokerAcquire, FindsStatesAmongManyServers) {
  make(upstream(0, 300));
  const PoolId pool = broker->add_pool(sized(300));
  std::vector<ServerId> servers;
  for (int i = 0; i < 300; ++i) servers.push_back(fresh(pool, kA));
  for (std::uint64_t i = 0; i < 300; ++i) release(servers[i], kA, Condition::Clean, 1000 + i);
  for (std::uint64_t i = 0; i < 300; i += 7)
    EXPECT_EQ(used(acquire(pool, kA, StateKey{0, 1000 + i})), servers[i]);
}

TEST_F(BrokerAcquire, RecallsAnIdleServerOfAnotherWorker) {
  const PoolId pool = broker->add_pool(sized(5));
  const ServerId server = parked(pool, kA);
  const Ticket ticket = wait(pool, kB);
  const Recall recall = only<Recall>();
  EXPECT_EQ(recall.server, server);
  EXPECT_EQ(recall.from, kA);
  EXPECT_FALSE(used(acquire(pool, kA))) << "a recalled server is promised";
  EXPECT_EQ(handed(release(server, kA)), ticket);
}

TEST_F(BrokerAcquire, RefusesBeyondTheQueueLimitWithAReason) {
  PoolLimits limits = sized(1);
  limits.max_waiting = 1;
  const PoolId pool = broker->add_pool(limits);
  fresh(pool, kA);
  wait(pool, kA);
  EXPECT_EQ(std::get<Refused>(acquire(pool, kA, StateKey{3, 0})).why, Refused::Why::QueueFull);
  EXPECT_EQ(std::get<Refused>(acquire(PoolId{12345}, kA)).why, Refused::Why::NoPool);
  broker->drain_pool(pool, now, orders);
  EXPECT_EQ(std::get<Refused>(acquire(pool, kA)).why, Refused::Why::Draining);
}

TEST_F(BrokerAcquire, NeverGivesAServerOfAnotherStartupKey) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId plain = parked(pool, kA);
  const Ticket ticket = wait(pool, kA, StateKey{5, 0});
  const OpenOne open = only<OpenOne>();
  EXPECT_EQ(open.startup, 5u);
  EXPECT_EQ(handed(opened(open.server, kA)), ticket);
  EXPECT_TRUE(parks(release(open.server, kA)));
  EXPECT_EQ(used(acquire(pool, kA)), plain);
  EXPECT_EQ(used(acquire(pool, kA, StateKey{5, 0})), open.server);
}

TEST_F(BrokerAcquire, EvictsAnotherStartupKeysIdleServerWhenThePoolIsFull) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId older = fresh(pool, kA), newer = fresh(pool, kB);
  release(older, kA);
  now += milliseconds(1);
  release(newer, kB);
  const Ticket ticket = wait(pool, kA, StateKey{5, 0});
  const CloseIdle close = only<CloseIdle>();
  EXPECT_EQ(close.server, older);
  EXPECT_EQ(close.from, kA);
  EXPECT_EQ(close.reason, CloseReason::Evicted);
  closed(older);
  const OpenOne open = only<OpenOne>();
  EXPECT_EQ(handed(opened(open.server, kC)), ticket);
  EXPECT_EQ(used(acquire(pool, kB)), newer);
}

TEST_F(BrokerAcquire, CancelTakesTheClientOutOfTheQueueOnce) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  const Ticket gone = wait(pool, kA), stays = wait(pool, kA);
  EXPECT_TRUE(broker->cancel(gone, now, orders));
  EXPECT_FALSE(broker->cancel(gone, now, orders));
  EXPECT_EQ(handed(release(server, kA)), stays);
  EXPECT_FALSE(broker->cancel(stays, now, orders)) << "a server is on its way";
  wait(pool, kA);
  EXPECT_FALSE(broker->cancel(gone, now, orders)) << "not even when its place is used again";
}

TEST_F(BrokerAcquire, CountsPinnedServers) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA);
  broker->pin(a);
  broker->pin(a);
  broker->pin(b);
  broker->unpin(b);
  EXPECT_EQ(broker->counts(pool, now).pinned, 1u);
  EXPECT_EQ(broker->counts(pool, now).out, 2u);
  release(a, kA);
  EXPECT_EQ(broker->counts(pool, now).pinned, 0u);
  wait(broker->add_pool(sized(1)), kA);
  now += seconds(3);
  wait(pool, kB);
  now += seconds(2);
  EXPECT_EQ(broker->counts(pool, now).oldest_wait, seconds(2));
}

TEST_F(BrokerAcquire, FailWaitersEmptiesTheQueue) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  const Ticket first = wait(pool, kA, StateKey{2, 0}), second = wait(pool, kB);
  const auto failed = broker->fail_waiters(pool, now, orders);
  ASSERT_EQ(failed.size(), 2u);
  EXPECT_EQ(failed[0].ticket, first);
  EXPECT_EQ(failed[1].ticket, second);
  EXPECT_EQ(failed[1].session.worker, kB);
  EXPECT_TRUE(parks(release(server, kA)));
}

}  // namespace
}  // namespace sidepool::pool
