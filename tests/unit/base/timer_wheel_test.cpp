// tests/unit/base/timer_wheel_test.cpp -- never early, at most a tick late, for every distance; with a fake
// clock.
#include "src/base/timer_wheel.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace sidepool {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

struct Probe {
  TimerNode node{[](TimerNode& n) noexcept { owner_of<&Probe::node>(n).fire(); }};
  TimerWheel* wheel = nullptr;
  Time now{}, fired_at{};
  const Time* clock = nullptr;
  int fired = 0;
  void (*then)(Probe&) = nullptr;
  void fire() noexcept {
    ++fired;
    if (clock) fired_at = *clock;
    if (then) then(*this);
  }
};

const Time kStart = Time(hours(1000)) + milliseconds(3);

TEST(TimerWheel, FiresNeitherEarlyNorMoreThanATickLate) {
  // Distances around every edge of the levels: 256 ticks, 65536 ticks, 2^24 ticks.
  for (const std::int64_t ms : {0L, 1L, 9L, 10L, 11L, 2549L, 2550L, 2560L, 2561L, 5000L, 655350L, 655360L,
                                655361L, 1000000L, 167772150L, 167772160L, 400000000L}) {
    TimerWheel wheel(kStart);
    Time now = kStart + milliseconds(7);
    wheel.advance(now);
    Probe p;
    const Time deadline = now + milliseconds(ms);
    wheel.arm(p.node, deadline);
    int wakes = 0;
    while (p.fired == 0) {
      const auto next = wheel.next();
      ASSERT_TRUE(next) << ms;
      ASSERT_GT(*next, now) << ms;
      // Just before the time it asked for, nothing happens.
      wheel.advance(*next - Duration(1));
      ASSERT_EQ(p.fired, 0) << ms;
      now = *next;
      wheel.advance(now);
      ASSERT_LT(++wakes, 16) << ms;
    }
    EXPECT_GE(now, deadline) << ms;
    EXPECT_LE(now, deadline + TimerWheel::kTick) << ms;
    EXPECT_FALSE(wheel.next());
    EXPECT_FALSE(p.node.armed());
  }
}

TEST(TimerWheel, ADeadlineInThePastFiresWithTheNextTickNotInside) {
  TimerWheel wheel(kStart);
  wheel.advance(kStart + milliseconds(500));
  Probe p;
  wheel.arm(p.node, kStart);
  EXPECT_EQ(p.fired, 0);
  wheel.advance(kStart + milliseconds(510));
  EXPECT_EQ(p.fired, 1);
}

TEST(TimerWheel, CallbacksMayArmDisarmAndDestroyAnyNode) {
  TimerWheel wheel(kStart);
  static TimerWheel* w;
  static std::vector<std::unique_ptr<Probe>> probes;
  w = &wheel;
  for (int i = 0; i < 4; ++i) {
    probes.push_back(std::make_unique<Probe>());
    wheel.arm(probes.back()->node, kStart + milliseconds(100));
  }
  static int order;
  order = 0;
  probes[0]->then = [](Probe&) {
    ++order;
    probes[1].reset();                                    // one that is due in the same tick
    w->arm(probes[2]->node, kStart + milliseconds(300));  // another is put off
  };
  probes[3]->then = [](Probe& p) {
    w->arm(p.node, kStart);  // itself, overdue: next tick
    if (p.fired == 2) probes[3].reset();
  };
  Probe* second = probes[2].get();
  wheel.advance(kStart + milliseconds(100));
  EXPECT_EQ(order, 1);
  EXPECT_EQ(second->fired, 0);
  EXPECT_EQ(probes[3]->fired, 1);
  wheel.advance(kStart + milliseconds(110));
  EXPECT_EQ(probes[3], nullptr);
  wheel.advance(kStart + milliseconds(300));
  EXPECT_EQ(second->fired, 1);
  probes.clear();
}

TEST(TimerWheel, AgreesWithAPlainListOverRandomUse) {
  std::mt19937_64 rng(7);
  TimerWheel wheel(kStart);
  struct Entry {
    Probe probe;
    Time deadline{};
    bool armed = false;
  };
  std::vector<std::unique_ptr<Entry>> entries;
  static Time clock;
  clock = kStart;
  for (int i = 0; i < 60; ++i) {
    entries.push_back(std::make_unique<Entry>());
    entries.back()->probe.clock = &clock;
  }
  const auto distance = [&] {
    const auto kind = rng() % 4;
    const std::uint64_t top = kind == 0 ? 50 : kind == 1 ? 5000 : kind == 2 ? 1000000 : 300000000;
    return milliseconds(rng() % top);
  };
  for (int round = 0; round < 20000; ++round) {
    Entry& e = *entries[rng() % entries.size()];
    if (rng() % 3 != 0) {
      e.deadline = clock + distance();
      e.armed = true;
      wheel.arm(e.probe.node, e.deadline);
    } else {
      e.armed = false;
      e.probe.node.disarm();
    }
    if (rng() % 2) continue;
    clock += rng() % 2 ? milliseconds(rng() % 30) : distance();
    wheel.advance(clock);
    for (auto& x : entries) {
      if (x->probe.fired > 0) {
        ASSERT_EQ(x->probe.fired, 1);
        ASSERT_TRUE(x->armed);
        ASSERT_GE(clock, x->deadline);
        x->probe.fired = 0;
        x->armed = false;
      } else if (x->armed) {
        ASSERT_LT(clock, x->deadline + 2 * TimerWheel::kTick);
      }
      ASSERT_EQ(x->armed, x->probe.node.armed());
    }
  }
}

TEST(TimerWheel, ALongSleepCostsNoWalkOverTicks) {
  TimerWheel wheel(kStart);
  Probe p;
  wheel.arm(p.node, kStart + hours(24 * 365));  // farther than the wheel reaches
  wheel.advance(kStart + hours(24 * 364));
  EXPECT_EQ(p.fired, 0);
  wheel.advance(kStart + hours(24 * 365) + milliseconds(10));
  EXPECT_EQ(p.fired, 1);
}

}  // namespace
}  // namespace sidepool
