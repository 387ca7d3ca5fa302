// tests/unit/pool/broker_login_test.cpp -- slots for first, trial and pass-through logins.
#include "tests/unit/pool/broker_fixture.h"

namespace sidepool::pool {
namespace {

class BrokerLogin : public BrokerTest {
 protected:
  LoginSlot ask(LoginFor what, WorkerId worker = kA, LoginRank rank = LoginRank::Unknown) {
    orders.clear();
    return broker->acquire_login_slot(session(worker), what, now, orders, rank);
  }
  std::optional<ServerId> granted(LoginFor what) {
    const LoginSlot answer = ask(what);
    const auto* grant = std::get_if<LoginGranted>(&answer);
    return grant == nullptr ? std::nullopt : std::optional(grant->server);
  }
  Ticket queued(LoginFor what, WorkerId worker = kA, LoginRank rank = LoginRank::Unknown) {
    const LoginSlot answer = ask(what, worker, rank);
    EXPECT_TRUE(std::holds_alternative<Queued>(answer));
    return std::holds_alternative<Queued>(answer) ? std::get<Queued>(answer).ticket : Ticket{};
  }
  void ended(ServerId server, bool peer_closed = true) {
    orders.clear();
    broker->login_ended(server, peer_closed, now, orders);
  }
  bool adopt(ServerId server, PoolId pool) {
    orders.clear();
    return broker->adopt(server, pool, 0, now, orders);
  }
  void waits(ServerId server) {
    orders.clear();
    broker->login_waits(server, now, orders);
  }
  // What the broker asks of others when the time has come.
  void typing_over() {
    now += BrokerLimits{}.typing;
    poll();
  }
  static FirstLogin first(std::uint64_t identity) { return FirstLogin{Identity{identity}}; }
};

TEST_F(BrokerLogin, FirstLoginBecomesTheFirstServerOfItsPool) {
  const auto slot = granted(first(1));
  ASSERT_TRUE(slot);
  EXPECT_TRUE(orders.list.empty()) << "a grant to the caller is the answer, not an order";
  EXPECT_EQ(broker->counts().slots, 1u);
  EXPECT_EQ(broker->counts().opening, 1u);
  const PoolId pool = broker->add_pool(sized(1));
  EXPECT_TRUE(adopt(*slot, pool));
  EXPECT_EQ(broker->counts(pool, now).out, 1u);
  EXPECT_EQ(broker->counts().opening, 0u);
  EXPECT_TRUE(parks(release(*slot, kA)));
  EXPECT_EQ(used(acquire(pool, kA)), slot);
}

TEST_F(BrokerLogin, OneFirstLoginPerIdentityAndTheRestLookAgain) {
  const auto slot = granted(first(1));
  const Ticket second = queued(first(1), kB), third = queued(first(1), kC);
  const auto other = granted(first(2));
  EXPECT_TRUE(other) << "another identity is another line";
  const PoolId pool = broker->add_pool(sized(1));
  EXPECT_TRUE(adopt(*slot, pool));
  const auto again = all<LookAgain>();
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].waiter.ticket, second);
  EXPECT_EQ(again[1].waiter.ticket, third);
  EXPECT_EQ(again[1].pool, pool);
  EXPECT_FALSE(broker->cancel(third, now, orders));
  ended(*other);
}

TEST_F(BrokerLogin, AFailedFirstLoginLetsTheNextTry) {
  const auto slot = granted(first(1));
  const Ticket second = queued(first(1), kB);
  ended(*slot, false);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_EQ(grant.waiter.ticket, second);
  EXPECT_EQ(grant.waiter.session.worker, kB);
  EXPECT_EQ(broker->counts().slots, 2u) << "the failed one has not closed yet";
  closed(*slot);
  ended(grant.server);
  EXPECT_EQ(broker->counts().slots, 0u);
}

TEST_F(BrokerLogin, ASecondServerDoesNotFitIntoAFullPool) {
  const PoolId pool = broker->add_pool(sized(1));
  const auto slot = granted(first(1));
  fresh(pool, kA);
  EXPECT_FALSE(adopt(*slot, pool));
  ended(*slot);
}

TEST_F(BrokerLogin, ClientsLoginsLeaveOneToThePools) {
  make(upstream(0, 3));
  const PoolId pool = broker->add_pool(sized(5));
  const auto a = granted(first(1)), b = granted(first(2));
  EXPECT_TRUE(a && b);
  const Ticket third = queued(first(3));
  wait(pool, kA);
  const ServerId server = only<OpenOne>().server;
  EXPECT_TRUE(handed(opened(server, kA)));
  EXPECT_TRUE(orders.list.empty());
  ended(*a);
  EXPECT_EQ(only<GrantSlot>().waiter.ticket, third);
}

TEST_F(BrokerLogin, AFullUpstreamEvictsAnIdleServerForALogin) {
  make(upstream(1));
  const PoolId pool = broker->add_pool(sized(5));
  const ServerId idle = parked(pool, kB);
  const Ticket ticket = queued(first(1));
  EXPECT_EQ(only<CloseIdle>().server, idle);
  closed(idle);
  EXPECT_EQ(only<GrantSlot>().waiter.ticket, ticket);
}

TEST_F(BrokerLogin, OneTrialAtATimeAndNoneRefused) {
  const PoolId pool = broker->add_pool(sized(5));
  const auto trial = granted(TrialLogin{pool});
  ASSERT_TRUE(trial);
  const Ticket second = queued(TrialLogin{pool}), third = queued(TrialLogin{pool});
  EXPECT_EQ(broker->counts(pool, now).waiting_logins, 2u);
  EXPECT_TRUE(broker->cancel(second, now, orders));
  ended(*trial);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_EQ(grant.waiter.ticket, third);
  EXPECT_TRUE(adopt(grant.server, pool));
  EXPECT_EQ(broker->counts(pool, now).out, 1u);
}

TEST_F(BrokerLogin, TrialsGoByRankAndWithinItByArrival) {
  const PoolId pool = broker->add_pool(sized(5));
  auto trial = granted(TrialLogin{pool});
  const Ticket suspect = queued(TrialLogin{pool}, kA, LoginRank::Suspect);
  const Ticket unknown = queued(TrialLogin{pool}), gone = queued(TrialLogin{pool});
  const Ticket likely = queued(TrialLogin{pool}, kB, LoginRank::Likely);
  const Ticket second = queued(TrialLogin{pool}, kA, LoginRank::Likely);
  EXPECT_EQ(broker->counts(pool, now).waiting_logins, 5u);
  EXPECT_TRUE(broker->cancel(gone, now, orders));
  for (const Ticket next : {likely, second, unknown, suspect}) {
    ended(*trial);
    const GrantSlot grant = only<GrantSlot>();
    EXPECT_EQ(grant.waiter.ticket, next);
    trial = grant.server;
  }
  ended(*trial);
}

TEST_F(BrokerLogin, FirstLoginsOfSuspectsComeLast) {
  const auto slot = granted(first(1));
  queued(first(1), kA, LoginRank::Suspect);
  const Ticket unknown = queued(first(1));
  ended(*slot);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_EQ(grant.waiter.ticket, unknown);
  ended(grant.server);
  ended(only<GrantSlot>().server);
}

TEST_F(BrokerLogin, PassThroughLoginsOfClientsThatDoNotAnswerMakeWay) {
  const PoolId pool = broker->add_pool(sized(1));
  const auto slot = granted(OwnLogin{pool});
  waits(*slot);
  const Ticket second = queued(OwnLogin{pool}, kB);
  EXPECT_TRUE(orders.list.empty());
  typing_over();
  EXPECT_EQ(only<YieldLogin>().server, *slot);
  ended(*slot, false);
  EXPECT_TRUE(orders.list.empty()) << "its slot is free when the peer has closed";
  closed(*slot);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_EQ(grant.waiter.ticket, second);
  EXPECT_TRUE(adopt(grant.server, pool));
}

TEST_F(BrokerLogin, OfPassThroughLoginsOnlyAsManyMakeWayAsOthersWait) {
  const PoolId pool = broker->add_pool(sized(2));
  const auto a = granted(OwnLogin{pool}), b = granted(OwnLogin{pool});
  waits(*a);
  now += milliseconds(1);
  waits(*b);
  queued(OwnLogin{pool});
  typing_over();
  EXPECT_EQ(only<YieldLogin>().server, *a) << "asked longest ago";
  typing_over();
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(broker->login_resumed(*b, now));
  ended(*a);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_TRUE(adopt(*b, pool));
  ended(grant.server);
}

TEST_F(BrokerLogin, ATrialCountsInThePoolAndTakesAnIdleServersSlot) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId idle = parked(pool, kB);
  const Ticket ticket = queued(TrialLogin{pool});
  EXPECT_EQ(only<CloseIdle>().server, idle);
  closed(idle);
  EXPECT_EQ(only<GrantSlot>().waiter.ticket, ticket);
  wait(pool, kA);
  EXPECT_TRUE(orders.list.empty()) << "the trial holds the pool's only slot";
}

TEST_F(BrokerLogin, ATrialGivesWayToClientsUntilItsPatienceEnds) {
  const PoolId pool = broker->add_pool(sized(1));
  const ServerId server = fresh(pool, kA);
  queued(TrialLogin{pool});
  wait(pool, kA);
  wait(pool, kA);
  wait(pool, kA);
  EXPECT_TRUE(handed(release(server, kA)));
  now += seconds(1);
  EXPECT_TRUE(closes(release(server, kA)));
  closed(server);
  only<GrantSlot>();
}

TEST_F(BrokerLogin, ATrialIsTriedDuringBackOffAndEndsIt) {
  const PoolId pool = broker->add_pool(sized(2));
  const Ticket ticket = wait(pool, kA);
  open_failed(only<OpenOne>().server, OpenFailure::BadCredential);
  const auto trial = granted(TrialLogin{pool});
  ASSERT_TRUE(trial);
  EXPECT_TRUE(adopt(*trial, pool));
  only<OpenOne>();
  EXPECT_FALSE(broker->open_error(pool));
  EXPECT_EQ(handed(release(*trial, kA)), ticket);
}

TEST_F(BrokerLogin, AFailedTrialDoesNotStopThePool) {
  const PoolId pool = broker->add_pool(sized(2));
  ended(*granted(TrialLogin{pool}));
  EXPECT_FALSE(broker->open_error(pool));
  wait(pool, kA);
  only<OpenOne>();
}

TEST_F(BrokerLogin, PassThroughLoginsRunBesideEachOtherInTurnWithClients) {
  const PoolId pool = broker->add_pool(sized(2));
  const auto a = granted(OwnLogin{pool}), b = granted(OwnLogin{pool});
  ASSERT_TRUE(a && b);
  const Ticket third = queued(OwnLogin{pool});
  wait(pool, kA);
  EXPECT_TRUE(adopt(*a, pool));
  EXPECT_TRUE(adopt(*b, pool));
  EXPECT_TRUE(closes(release(*a, kA, Condition::Retire)));
  closed(*a);
  EXPECT_EQ(only<GrantSlot>().waiter.ticket, third) << "it came before the client";
}

TEST_F(BrokerLogin, WhoTypesKeepsItsTurnAsLongAsNobodyElseWantsIt) {
  const auto slot = granted(first(1));
  waits(*slot);
  EXPECT_EQ(orders.wake, now + BrokerLimits{}.typing);
  typing_over();
  now += hours(1);
  poll();
  EXPECT_TRUE(orders.list.empty());
  EXPECT_TRUE(broker->login_resumed(*slot, now));
  const PoolId pool = broker->add_pool(sized(1));
  EXPECT_TRUE(adopt(*slot, pool));
}

TEST_F(BrokerLogin, WhoTypesMakesWayForTheNextOfTheSameIdentity) {
  const auto slot = granted(first(1));
  waits(*slot);
  const Ticket second = queued(first(1), kB);
  EXPECT_TRUE(orders.list.empty()) << "a program answers within a moment";
  typing_over();
  EXPECT_EQ(only<YieldLogin>().server, *slot);
  EXPECT_EQ(all<YieldLogin>()[0].session.worker, kA);
  EXPECT_FALSE(broker->login_resumed(*slot, now)) << "one at a time: the answer came too late";
  ended(*slot, false);
  const GrantSlot grant = only<GrantSlot>();
  EXPECT_EQ(grant.waiter.ticket, second);
  const PoolId pool = broker->add_pool(sized(1));
  EXPECT_TRUE(adopt(grant.server, pool));
  closed(*slot);
}

TEST_F(BrokerLogin, WhoComesLaterSendsAnOldTypistAwayAtOnce) {
  const auto slot = granted(first(1));
  waits(*slot);
  typing_over();
  queued(first(1));
  EXPECT_EQ(only<YieldLogin>().server, *slot);
  ended(*slot);
  ended(only<GrantSlot>().server);
}

TEST_F(BrokerLogin, AnAnswerInTimeIsNotDisturbed) {
  const auto slot = granted(first(1));
  waits(*slot);
  queued(first(1));
  EXPECT_TRUE(broker->login_resumed(*slot, now));
  typing_over();
  EXPECT_TRUE(orders.list.empty());
  const PoolId pool = broker->add_pool(sized(1));
  EXPECT_TRUE(adopt(*slot, pool));
}

TEST_F(BrokerLogin, StrangersWhoNeverAnswerDoNotUseUpTheLoginsInFlight) {
  make(upstream(0, 3));
  const auto a = granted(first(1)), b = granted(first(2));
  waits(*a);
  now += milliseconds(1);
  waits(*b);
  const Ticket third = queued(first(3));
  typing_over();
  EXPECT_EQ(only<YieldLogin>().server, *a) << "asked longest ago; one is enough for one";
  ended(*a, false);
  EXPECT_EQ(only<GrantSlot>().waiter.ticket, third);
  closed(*a);
  typing_over();
  EXPECT_TRUE(orders.list.empty());
}

TEST_F(BrokerLogin, WhoTypesMakesWayForClientsOfAFullUpstream) {
  make(upstream(1));
  const auto slot = granted(first(1));
  waits(*slot);
  typing_over();
  const PoolId pool = broker->add_pool(sized(5));
  wait(pool, kB);
  EXPECT_EQ(only<YieldLogin>().server, *slot);
  ended(*slot, false);
  EXPECT_TRUE(orders.list.empty()) << "its slot is free when the peer has closed";
  closed(*slot);
  only<OpenOne>();
}

TEST_F(BrokerLogin, ATrialWhoseClientTypesMakesWayForClientsOfAFullPool) {
  const PoolId pool = broker->add_pool(sized(1));
  const auto trial = granted(TrialLogin{pool});
  waits(*trial);
  wait(pool, kA);
  EXPECT_TRUE(orders.list.empty());
  typing_over();
  EXPECT_EQ(only<YieldLogin>().server, *trial);
  ended(*trial);
  only<OpenOne>();
}

TEST_F(BrokerLogin, ADrainingPoolSendsItsLoginsAway) {
  const PoolId pool = broker->add_pool(sized(1));
  fresh(pool, kA);
  const Ticket ticket = queued(TrialLogin{pool});
  orders.clear();
  broker->drain_pool(pool, now, orders);
  EXPECT_EQ(only<LookAgain>().waiter.ticket, ticket);
  EXPECT_EQ(std::get<Refused>(ask(TrialLogin{pool})).why, Refused::Why::Draining);
  EXPECT_EQ(std::get<Refused>(ask(OwnLogin{PoolId{999}})).why, Refused::Why::NoPool);
}

}  // namespace
}  // namespace sidepool::pool
