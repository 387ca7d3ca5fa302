// What time does to many processes, to one that slept, and to an error that repeats.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "src/cloudsql/log_gate.h"
#include "src/cloudsql/refresh.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;

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
