// When connection information is fetched again.
#include "src/cloudsql/refresh.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "src/cloudsql/log_gate.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using Answer = RefreshSchedule::Answer;

// A clock that goes only when told to; wall and boot time agree until a test sets the wall clock.
class Schedule : public testing::Test {
 protected:
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

// Fifty processes that were started together fetch their hourly certificates all over a tenth of the hour,
// and lie further apart with every hour.
TEST(Fleet, ScheduledRefreshesSpread) {
  constexpr std::size_t kProcesses = 50, kHours = 6;
  const WallTime epoch{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
  std::vector<std::vector<Millis>> at(kHours);  // when each process refreshed, by its refresh
  for (std::size_t process = 0; process < kProcesses; ++process) {
    std::mt19937_64 engine{process};
    std::uniform_real_distribution<double> u{0.0, 1.0};
    RefreshSchedule s;
    Now now{epoch, 1000s};
    for (std::size_t n = 0; n < kHours; ++n) {
      ASSERT_TRUE(s.should_start(now));
      s.started(now);
      ASSERT_TRUE(s.succeeded(now, now.wall + 1h - 1s, u(engine)));
      const Millis wait = s.wake_at(now) - now.boot;
      EXPECT_LT(wait, 56min) << "before the last four minutes of the certificate";
      now = {now.wall + wait, now.boot + wait};
      at[n].push_back(now.boot - 1000s);
    }
  }
  for (std::size_t n = 0; n < kHours; ++n) {
    std::sort(at[n].begin(), at[n].end());
    EXPECT_GE(at[n].back() - at[n].front(), n == 0 ? 4min : 6min) << "refresh " << n;
    std::map<Millis, int> by_minute;
    for (const Millis t : at[n]) ++by_minute[std::chrono::floor<std::chrono::minutes>(t)];
    for (const auto& [minute, count] : by_minute) EXPECT_LE(count, 20) << "in one minute of refresh " << n;
  }
}

// The quota of the Admin API is 180 calls a minute and user; a fleet that was told to wait does not return as
// one.
TEST(Fleet, WhoWasToldTheSameTimeDoesNotComeBackAtTheSameTime) {
  std::vector<BootTime> at;
  for (int process = 0; process < 50; ++process) {
    RefreshSchedule s;
    const Now now{WallTime{1'000'000s}, 1000s};
    s.started(now);
    s.failed(now, FailureKind::Refused, 60s, process / 50.0);
    at.push_back(s.wake_at(now));
    EXPECT_GE(at.back(), now.boot + 60s);
  }
  EXPECT_GE(at.back() - at.front(), 10s);
}

class LazySchedule : public Schedule {
 protected:
  LazySchedule() { s_.~RefreshSchedule(), new (&s_) RefreshSchedule{true}; }
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

using Event = ClockWatch::Event;

TEST(ClockWatch, TellsWhatHappenedToTime) {
  ClockWatch watch;
  const WallTime t{1'000'000s};
  const auto look = [&watch](Now now, BootTime until = BootTime::max()) {
    return watch.look(now, until).event;
  };
  EXPECT_EQ(look({t, 10s, 10s}), Event::None);
  EXPECT_EQ(look({t + 30s, 40s, 40s}, 40s), Event::None);
  EXPECT_EQ(look({t + 8h, 8h + 10s, 41s}, 70s), Event::Slept) << "for a night";
  EXPECT_EQ(look({t + 8h + 20s, 8h + 10s, 41s}), Event::None) << "slewed";
  EXPECT_EQ(look({t + 10h, 8h + 11s, 42s}), Event::WallMoved);
  EXPECT_EQ(look({t + 10h, 8h + 11s, 42s}), Event::None);
  EXPECT_EQ(look({t, 8h + 12s, 43s}), Event::WallMoved) << "backwards";
  EXPECT_EQ(look({t + 30s, 8h + 42s, 73s}, 8h + 35s), Event::None) << "a busy machine";
  EXPECT_EQ(look({t + 90s, 8h + 102s, 133s}, 8h + 72s), Event::Frozen);
  EXPECT_EQ(look({t + 150s, 8h + 162s, 193s}), Event::None) << "a call took a minute";
}

TEST(ClockWatch, TellsByHowMuch) {
  ClockWatch watch;
  const WallTime t{1'000'000s};
  watch.look({t, 10s, 10s}, 10s);
  EXPECT_EQ(watch.look({t + 70s, 80s, 80s}, 40s).by, 40s);
  EXPECT_EQ(watch.look({t + 170s, 180s, 120s}, 120s).by, 60s);
  EXPECT_EQ(watch.look({t - 100s, 181s, 121s}, 180s).by, -271s);
}

std::optional<std::uint64_t> left_out(const std::optional<LogGate::Pass>& p) {
  return p ? std::optional(p->left_out) : std::nullopt;
}

TEST(LogGate, OnceAMinuteWithACountAndTheRemedyOnce) {
  LogGate gate;
  EXPECT_TRUE(gate.admit("a", 0s)->first);
  EXPECT_EQ(gate.admit("a", 1s), std::nullopt);
  EXPECT_EQ(gate.admit("a", 59s), std::nullopt);
  const auto again = gate.admit("a", 60s);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->left_out, 2U);
  EXPECT_FALSE(again->first);
  EXPECT_TRUE(gate.admit("b", 61s)->first) << "another text is news";
  EXPECT_EQ(gate.admit("a", 62s), std::nullopt) << "errors that take turns are not";
  EXPECT_EQ(left_out(gate.admit("a", 120s)), 1U);
  gate.reset();
  EXPECT_TRUE(gate.admit("a", 121s)->first);
  EXPECT_EQ(gate.admit("a", 122s), std::nullopt);
  EXPECT_TRUE(gate.admit("a", 2h)->first) << "a day later the remedy is worth telling again";
}

TEST(LogGate, RemembersFew) {
  LogGate gate;
  for (int i = 0; i < 8; ++i) gate.admit(std::to_string(i), std::chrono::seconds{i});
  gate.admit("0", 10s);
  EXPECT_TRUE(gate.admit("8", 11s)->first);
  EXPECT_EQ(gate.admit("0", 12s), std::nullopt);
  EXPECT_TRUE(gate.admit("1", 13s)->first) << "it was the oldest";
}

}  // namespace
}  // namespace sidepool::cloudsql
