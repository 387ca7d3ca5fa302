// When connection information is fetched again.
#include "src/cloudsql/refresh.h"

#include <gtest/gtest.h>

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using Answer = RefreshSchedule::Answer;

// A clock that goes only when told to; wall and boot time agree until a test sets the wall clock.
class Schedule : public testing::Test {
 protected:
  explicit Schedule(bool lazy = false) : s_(lazy) {}
  Now now() const { return {wall_, boot_}; }
  void pass(Millis t) {
    wall_ += t;
    boot_ += t;
  }
  void start() {
    ASSERT_TRUE(s_.should_start(now()));
    s_.started(now());
  }
  void succeed(Millis life = 1h) {
    start();
    ASSERT_TRUE(s_.succeeded(now(), wall_ + life, 0.0));
  }
  void fail(FailureKind kind = FailureKind::Refused, Millis retry_after = 0ms) {
    start();
    s_.failed(now(), kind, retry_after, 0.0);
  }
  // How long until the background starts one by itself.
  Millis idle_for() {
    const BootTime from = boot_;
    while (!s_.should_start(now())) pass(std::max<Millis>(s_.wake_at(now()) - boot_, 1ms));
    return boot_ - from;
  }

  WallTime wall_{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
  BootTime boot_{1000s};
  RefreshSchedule s_;
};

TEST(RefreshDelay, Table) {
  EXPECT_EQ(refresh_delay(2h, 0.0), 1h);
  EXPECT_EQ(refresh_delay(1h, 0.0), 30min);
  EXPECT_EQ(refresh_delay(1h - 1s, 0.0), 56min - 1s);
  EXPECT_EQ(refresh_delay(9min, 0.0), 5min);
  EXPECT_EQ(refresh_delay(8min, 0.0), 4min);
  EXPECT_EQ(refresh_delay(6min, 0.0), 3min);
  EXPECT_EQ(refresh_delay(1min, 0.0), 30s);
  EXPECT_EQ(refresh_delay(0s, 0.0), 0s);
  EXPECT_EQ(refresh_delay(-5s, 0.5), 0s);
  // Earlier only, by a tenth at most.
  EXPECT_EQ(refresh_delay(2h, 0.5), 57min);
  EXPECT_GE(refresh_delay(2h, 0.999), 54min);
}

TEST(FailureDelay, Table) {
  EXPECT_EQ(failure_delay(FailureKind::Refused, 1, 0.0), 30s);
  EXPECT_EQ(failure_delay(FailureKind::Refused, 3, 0.0), 120s);
  EXPECT_EQ(failure_delay(FailureKind::Refused, 5, 0.0), 300s);
  EXPECT_EQ(failure_delay(FailureKind::Refused, 4'000'000'000U, 0.0), 300s);
  EXPECT_EQ(failure_delay(FailureKind::Refused, 1, 0.5), 33s);
  EXPECT_EQ(failure_delay(FailureKind::Server, 1, 0.0), 5s);
  EXPECT_EQ(failure_delay(FailureKind::Server, 9, 0.0), 60s);
  EXPECT_EQ(failure_delay(FailureKind::Transport, 1, 0.0), 1s);
  EXPECT_EQ(failure_delay(FailureKind::Transport, 6, 0.0), 30s);
}

TEST_F(Schedule, TheFirstClientWaitsForTheFirstRefresh) {
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  start();
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_EQ(s_.wake_at(now()), BootTime::max());
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  pass(200ms);
  ASSERT_TRUE(s_.succeeded(now(), wall_ + 1h, 0.0));
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
}

TEST_F(Schedule, AnHourlyCertificateIsRefreshedAheadOfItsEnd) {
  succeed(1h - 1s);
  EXPECT_EQ(idle_for(), 56min - 1s);
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
}

TEST_F(Schedule, ACertificateThatIsNearlyOverIsNotFetchedInALoop) {
  unsigned fetches = 0;
  for (const WallTime end = wall_ + 3min; wall_ < end; ++fetches) {
    succeed(end - wall_);
    idle_for();
  }
  EXPECT_LE(fetches, 8U);  // the limiter's two and one in 30 s
}

TEST_F(Schedule, AFailureKeepsWhatIsStillValid) {
  succeed(1h - 1s);
  idle_for();
  fail();
  EXPECT_TRUE(s_.valid(wall_));
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
  EXPECT_EQ(s_.failures(), 1U);
  EXPECT_EQ(idle_for(), 30s);
  fail();
  EXPECT_EQ(idle_for(), 60s);
  succeed();
  EXPECT_EQ(s_.failures(), 0U);
}

TEST_F(Schedule, AtUseTheWallClockDecides) {
  succeed();
  // A machine that was frozen: no timer has run.
  pass(1h);
  EXPECT_FALSE(s_.valid(wall_));
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  EXPECT_TRUE(s_.should_start(now()));
}

TEST_F(Schedule, OnlyTheWallClockMoved) {
  succeed();
  wall_ += 2h;
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  EXPECT_TRUE(s_.should_start(now()));
}

TEST_F(Schedule, WhileFailingClientsGetTheErrorAndMakeNoCalls) {
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  fail();
  // 1000 attempts in 10 s against a permanent 403.
  unsigned calls = 1;
  for (int i = 0; i < 1000; ++i) {
    pass(10ms);
    const Answer answer = s_.on_client(now());
    if (s_.should_start(now())) {
      EXPECT_EQ(answer, Answer::Wait);
      fail();
      ++calls;
    } else {
      EXPECT_EQ(answer, Answer::Fail);
    }
  }
  EXPECT_LE(calls, 4U);
  EXPECT_GE(calls, 2U) << "a client 5 s after the last call tries again";
}

TEST_F(Schedule, ALiftedFaultIsNoticedByAClient) {
  for (int i = 0; i < 6; ++i) {
    fail();
    idle_for();
  }
  fail();
  pass(4999ms);
  EXPECT_EQ(s_.on_client(now()), Answer::Fail);
  EXPECT_FALSE(s_.should_start(now()));
  pass(1ms);
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  succeed();
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
}

TEST_F(Schedule, WithoutClientsTheBackOffIsKept) {
  fail();
  EXPECT_EQ(idle_for(), 30s);
  fail();
  EXPECT_EQ(idle_for(), 60s);
  fail();
  EXPECT_EQ(idle_for(), 120s);
}

TEST_F(Schedule, RetryAfterBindsClientsToo) {
  fail(FailureKind::Refused, 90s);
  pass(60s);
  EXPECT_EQ(s_.on_client(now()), Answer::Fail);
  EXPECT_FALSE(s_.should_start(now()));
  pass(30s);
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  EXPECT_TRUE(s_.should_start(now()));
}

TEST_F(Schedule, ARidiculousRetryAfterIsCapped) {
  fail(FailureKind::Server, 24h);
  EXPECT_EQ(idle_for(), 5min);
  fail(FailureKind::Server, -5s);
  EXPECT_EQ(idle_for(), 10s);
}

TEST_F(Schedule, GoogleOutOfReachIsTriedFasterAndCostsNoQuota) {
  for (const Millis expected : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    fail(FailureKind::Transport);
    EXPECT_EQ(idle_for(), expected);
  }
}

TEST_F(Schedule, AFailedDialFetchesAtTheLimitersPace) {
  succeed();
  unsigned fetches = 0;
  for (const BootTime end = boot_ + 10min; boot_ < end; pass(1s)) {
    s_.force(now());
    EXPECT_EQ(s_.on_client(now()), Answer::Serve);
    if (!s_.should_start(now())) continue;
    succeed();
    ++fetches;
  }
  EXPECT_GE(fetches, 19U);
  EXPECT_LE(fetches, 22U);
}

TEST_F(Schedule, AFailedDialDoesNotShortenTheBackOff) {
  succeed();
  s_.force(now());
  fail();
  s_.force(now());
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_GE(idle_for(), 30s);
}

TEST_F(Schedule, WhoCouldNotReachTheInstanceWaitsForTheFetchThatItsDialCaused) {
  succeed();
  s_.force(now());
  EXPECT_EQ(s_.on_client(now()), Answer::Serve) << "others are served what is there";
  EXPECT_EQ(s_.on_unreached(now()), Answer::Wait);
  start();
  EXPECT_EQ(s_.on_unreached(now()), Answer::Wait);
  ASSERT_TRUE(s_.succeeded(now(), wall_ + 1h, 0.0));
  s_.force(now());
  EXPECT_EQ(s_.on_unreached(now()), Answer::Serve) << "two in a row are all that the limiter has";
  EXPECT_FALSE(s_.should_start(now()));
}

TEST_F(Schedule, ARefusedCertificateIsReplacedBeforeTheNextDial) {
  succeed();
  s_.suspect(now());
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  start();
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  ASSERT_TRUE(s_.succeeded(now(), wall_ + 1h, 0.0));
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
}

TEST_F(Schedule, ARefusedCertificateIsServedWhenNoBetterOneIsToBeHad) {
  succeed();
  s_.suspect(now());
  fail();
  EXPECT_EQ(s_.on_client(now()), Answer::Serve) << "the refresh failed";
  s_.suspect(now());
  EXPECT_EQ(s_.on_client(now()), Answer::Serve) << "the back-off";
}

TEST_F(Schedule, AnInstanceThatRefusesEveryCertificateIsNoStorm) {
  succeed();
  unsigned fetches = 0;
  for (const BootTime end = boot_ + 5min; boot_ < end; pass(100ms)) {
    s_.suspect(now());
    static_cast<void>(s_.on_client(now()));
    if (!s_.should_start(now())) continue;
    succeed();
    ++fetches;
  }
  EXPECT_LE(fetches, 12U);
}

TEST_F(Schedule, ACertificateThatIsOverOnArrivalIsAFailure) {
  start();
  EXPECT_FALSE(s_.succeeded(now(), wall_ - 1s, 0.0));
  EXPECT_EQ(s_.failures(), 1U);
  EXPECT_FALSE(s_.running());
  EXPECT_EQ(s_.on_client(now()), Answer::Fail);
  EXPECT_EQ(idle_for(), 30s);
}

class LazySchedule : public Schedule {
 protected:
  LazySchedule() : Schedule(true) {}
};

TEST_F(LazySchedule, NothingIsFetchedUnasked) {
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_EQ(s_.wake_at(now()), BootTime::max());
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  succeed(1h - 1s);
  EXPECT_EQ(s_.wake_at(now()), BootTime::max());
  pass(2h);
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_EQ(s_.on_client(now()), Answer::Wait) << "over: this client waits";
  EXPECT_TRUE(s_.should_start(now()));
}

TEST_F(LazySchedule, TheNextClientDoesWhatTheTimerWouldHaveDone) {
  s_.on_client(now());
  succeed(1h - 1s);
  pass(55min);
  EXPECT_TRUE(s_.serves_at_once(now()));
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
  EXPECT_FALSE(s_.should_start(now()));
  pass(1min);
  EXPECT_FALSE(s_.serves_at_once(now())) << "somebody has to start the refresh";
  EXPECT_EQ(s_.on_client(now()), Answer::Serve) << "and gets what is there";
  start();
  EXPECT_TRUE(s_.serves_at_once(now())) << "it runs";
  s_.failed(now(), FailureKind::Refused, 0ms, 0.0);
  EXPECT_EQ(s_.on_client(now()), Answer::Serve) << "a failure is invisible while the certificate is valid";
  EXPECT_FALSE(s_.should_start(now()));
  pass(30s);
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
  succeed();
}

TEST_F(LazySchedule, WhoCouldNotReachTheInstanceIsAClient) {
  EXPECT_EQ(s_.on_client(now()), Answer::Wait);
  succeed();
  s_.force(now());
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_EQ(s_.on_unreached(now()), Answer::Wait);
  EXPECT_TRUE(s_.should_start(now()));
}

TEST_F(LazySchedule, AFailedDialIsForTheNextClient) {
  s_.on_client(now());
  succeed();
  s_.force(now());
  EXPECT_FALSE(s_.should_start(now()));
  EXPECT_EQ(s_.on_client(now()), Answer::Serve);
  EXPECT_TRUE(s_.should_start(now()));
  start();
  ASSERT_TRUE(s_.succeeded(now(), wall_ + 1h, 0.0));
  s_.suspect(now());
  pass(30s);
  EXPECT_EQ(s_.on_client(now()), Answer::Wait) << "a refused certificate";
  EXPECT_TRUE(s_.should_start(now()));
}

}  // namespace
}  // namespace sidepool::cloudsql
