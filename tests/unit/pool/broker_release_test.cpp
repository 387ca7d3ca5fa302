// tests/unit/pool/broker_release_test.cpp -- where a server goes when its client is done.
#include "tests/unit/pool/broker_fixture.h"

namespace sidepool::pool {
namespace {

class BrokerRelease : public BrokerTest {};

TEST_F(BrokerRelease, ServesClientsInTheOrderOfArrival) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  std::vector<Ticket> tickets;
  for (const WorkerId worker : {kB, kA, kC, kA}) tickets.push_back(wait(pool, worker));
  for (const Ticket ticket : tickets) EXPECT_EQ(handed(release(server, kA)), ticket);
  EXPECT_TRUE(parks(release(server, kA)));
}

TEST_F(BrokerRelease, OvertakingIsLocalAndEndsWithTheWindow) {
  struct Case {
    const char* what;
    Duration waited;
    WorkerId releaser;
    std::size_t served;  // of the clients of B, A, A
  };
  PoolLimits limits = sized(1);
  limits.locality_window = milliseconds(1);
  for (const Case& c : {Case{"within the window: the first of the same worker", microseconds(999), kA, 1},
                        Case{"the window has passed: the head", milliseconds(1), kA, 0},
                        Case{"nobody of this worker waits: the head", microseconds(10), kC, 0},
                        Case{"the head is of this worker", microseconds(10), kB, 0}}) {
    SCOPED_TRACE(c.what);
    make(upstream(0));
    const PoolId pool = broker->add_pool(limits);
    const ServerId server = fresh(pool, c.releaser);
    std::vector<Ticket> tickets;
    for (const WorkerId worker : {kB, kA, kA}) tickets.push_back(wait(pool, worker));
    now += c.waited;
    EXPECT_EQ(handed(release(server, c.releaser)), tickets[c.served]);
  }
}

TEST_F(BrokerRelease, ANewServerGoesToTheHeadAndAReleasedOneMayComeFirst) {
  const PoolId pool = broker->add_pool(sized(2));
  const ServerId server = fresh(pool, kA);
  const Ticket first = wait(pool, kB);
  const ServerId opening = only<OpenOne>().server;
  EXPECT_EQ(handed(release(server, kA)), first);
  EXPECT_TRUE(parks(opened(opening, kB)));
}

TEST_F(BrokerRelease, ConditionsTable) {
  struct Case {
    const char* what;
    Condition condition;
    bool waiting;
    std::size_t answer;  // index in Release: Park, HandTo, Reset, Close
  };
  for (const Case& c :
       {Case{"clean", Condition::Clean, false, 0}, Case{"clean, waited for", Condition::Clean, true, 1},
        Case{"dirty", Condition::NeedsReset, false, 2},
        Case{"dirty, waited for", Condition::NeedsReset, true, 1},
        Case{"broken", Condition::Broken, false, 3}, Case{"broken, waited for", Condition::Broken, true, 3},
        Case{"retired", Condition::Retire, false, 3},
        Case{"retired, waited for", Condition::Retire, true, 3}}) {
    SCOPED_TRACE(c.what);
    make(upstream(0));
    const PoolId pool = broker->add_pool(sized(1));
    const ServerId server = fresh(pool, kA);
    if (c.waiting) wait(pool, kA);
    EXPECT_EQ(release(server, kA, c.condition).index(), c.answer);
    EXPECT_EQ(broker->check(now), "");
  }
}

TEST_F(BrokerRelease, AResetServerIsOutUntilItIsReleasedClean) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  EXPECT_TRUE(std::holds_alternative<Reset>(release(server, kA, Condition::NeedsReset)));
  EXPECT_EQ(broker->counts(pool, now).out, 1u);
  const Ticket ticket = wait(pool, kB);
  EXPECT_EQ(handed(release(server, kA)), ticket);
}

TEST_F(BrokerRelease, ASlotIsFreeOnlyWhenThePeerHasClosed) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  const Ticket ticket = wait(pool, kB);
  EXPECT_TRUE(closes(release(server, kA, Condition::Broken)));
  EXPECT_TRUE(orders.list.empty()) << "no dial before the old server is gone";
  EXPECT_EQ(broker->counts(pool, now).slots, 1u);
  closed(server);
  const OpenOne open = only<OpenOne>();
  EXPECT_NE(open.server, server) << "ids are not used again";
  EXPECT_EQ(handed(opened(open.server, kA)), ticket);
}

TEST_F(BrokerRelease, OldServersCloseOneAtATime) {
  PoolLimits limits = sized(2);
  limits.lifetime = seconds(100);
  const PoolId pool = broker->add_pool(limits);
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA);
  now += seconds(99);
  EXPECT_TRUE(parks(release(a, kA)));
  EXPECT_EQ(used(acquire(pool, kA)), a);
  now += seconds(1);
  EXPECT_TRUE(closes(release(a, kA)));
  closed(a);
  EXPECT_TRUE(parks(release(b, kA))) << "lifetime / size between two";
  EXPECT_EQ(used(acquire(pool, kA)), b);
  now += seconds(50);
  EXPECT_TRUE(closes(release(b, kA)));
}

TEST_F(BrokerRelease, ARefusedPasswordKeepsOldServers) {
  PoolLimits limits = sized(2);
  limits.lifetime = seconds(100);
  const PoolId pool = broker->add_pool(limits);
  const ServerId server = fresh(pool, kA);
  wait(pool, kB);
  open_failed(only<OpenOne>().server, OpenFailure::BadCredential);
  now += seconds(1000);
  EXPECT_TRUE(handed(release(server, kA)));
  EXPECT_TRUE(parks(release(server, kA)));
}

TEST_F(BrokerRelease, ARefusalIsToldToThoseWhomItConcerns) {
  const PoolId pool = broker->add_pool(sized(4));
  wait(pool, kA);
  const ServerId plain = only<OpenOne>().server;
  wait(pool, kB, StateKey{3, 0});
  const ServerId own = only<OpenOne>().server;
  const auto told = open_failed(own, OpenFailure::RefusedSettings);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].session.worker, kB);
  EXPECT_FALSE(broker->open_error(pool)) << "the settings were refused, not the pool";
  wait(pool, kB, StateKey{3, 0});
  only<OpenOne>();  // and no pause is made
  EXPECT_EQ(open_failed(plain, OpenFailure::RefusedSettings).size(), 2U) << "nobody can be served";
  EXPECT_TRUE(broker->open_error(pool));
}

TEST_F(BrokerRelease, ARefusalThatIsNoneOfTheSettingsMakesAPauseForAll) {
  const PoolId pool = broker->add_pool(sized(4));
  wait(pool, kB, StateKey{3, 0});
  EXPECT_EQ(open_failed(only<OpenOne>().server, OpenFailure::Refused).size(), 1U);
  EXPECT_TRUE(broker->open_error(pool)) << "the role may not log in, with whatever settings";
  wait(pool, kB, StateKey{3, 0});
  EXPECT_TRUE(orders.list.empty()) << "it is tried again after the pause";
}

TEST_F(BrokerRelease, LowerLimitsDrain) {
  const PoolId pool = broker->add_pool(sized(3));
  const ServerId a = fresh(pool, kA), b = fresh(pool, kA), c = parked(pool, kB);
  orders.clear();
  broker->set_limits(pool, sized(1), now, orders);
  EXPECT_EQ(only<CloseIdle>().server, c);
  EXPECT_EQ(only<CloseIdle>().reason, CloseReason::OverLimit);
  EXPECT_TRUE(closes(release(a, kA))) << "c still closes, and a is one too many";
  EXPECT_TRUE(parks(release(b, kA)));
  closed(a);
  closed(c);
  wait(pool, kB);
  only<Recall>();
}

TEST_F(BrokerRelease, RetiredServersAreNotUsedAgain) {
  const PoolId pool = broker->add_pool(sized(3));
  const ServerId out = fresh(pool, kA), idle = parked(pool, kA);
  broker->acquire(pool, session(kB), {}, now, orders);  // recalls it
  EXPECT_TRUE(handed(release(idle, kA)));
  wait(pool, kB);
  const ServerId opening = only<OpenOne>().server;
  const ServerId parked_one = idle;
  orders.clear();
  broker->retire_servers(pool, now, orders);
  EXPECT_TRUE(closes(release(out, kA)));
  EXPECT_TRUE(closes(release(parked_one, kB)));
  EXPECT_TRUE(closes(opened(opening, kB)));
  closed(opening);
  EXPECT_TRUE(handed(opened(only<OpenOne>().server, kB))) << "a later one serves the client";
}

TEST_F(BrokerRelease, ADrainingPoolClosesAndCanBeRemoved) {
  const PoolId pool = broker->add_pool(sized(3));
  const ServerId out = fresh(pool, kA), idle = parked(pool, kB);
  orders.clear();
  broker->drain_pool(pool, now, orders);
  EXPECT_EQ(only<CloseIdle>().reason, CloseReason::Retired);
  EXPECT_TRUE(closes(release(out, kA)));
  closed(out);
  EXPECT_FALSE(broker->remove_pool(pool));
  closed(idle);
  EXPECT_TRUE(broker->remove_pool(pool));
  EXPECT_FALSE(broker->remove_pool(pool));
  EXPECT_NE(broker->add_pool(sized(1)), pool);
}

// Two startup keys share one slot: the one that waits long enough gets the other's server.
TEST_F(BrokerRelease, AnotherStartupKeysClientTakesTheSlotAfterPatience) {
  for (const bool patient : {false, true}) {
    make(upstream(0));
    const PoolId pool = broker->add_pool(sized(1));
    const ServerId server = fresh(pool, kA);
    wait(pool, kA, StateKey{5, 0});
    wait(pool, kA);
    now += patient ? seconds(1) : milliseconds(999);
    const Release answer = release(server, kA);
    EXPECT_EQ(closes(answer), patient);
    if (!patient) continue;
    closed(server);
    EXPECT_EQ(only<OpenOne>().startup, 5u);
  }
}

TEST_F(BrokerRelease, WithNobodyOfItsKeyWaitingItClosesForAnotherKeyAtOnce) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  wait(pool, kA, StateKey{5, 0});
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(closes(release(server, kA)));
}

}  // namespace
}  // namespace sidepool::pool
