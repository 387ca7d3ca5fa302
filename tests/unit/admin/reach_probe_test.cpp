// tests/unit/admin/reach_probe_test.cpp -- one test at a time, however many ask.
#include "src/admin/reach_probe.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sidepool::admin {
namespace {

TEST(ReachProbe, WhoAsksGetsTheResult) {
  int tests = 0;
  ReachProbe* self = nullptr;
  ReachProbe probe([&] {
    ++tests;
    self->tested({"a is away", "b, too"});
  });
  self = &probe;
  EXPECT_EQ(probe.ask(), "a is away; b, too");
  EXPECT_EQ(probe.ask(), "a is away; b, too");
  EXPECT_EQ(tests, 1) << "it is fresh";
}

TEST(ReachProbe, ATestThatTakesLongIsNotWaitedForAndNotRepeated) {
  int tests = 0;
  ReachProbe probe([&] { ++tests; });
  EXPECT_EQ(probe.ask(), "the connections to the database are being tested");
  const auto began = steady_now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(probe.ask(), "the connections to the database are being tested");
  EXPECT_LT(steady_now() - began, 50 * ReachProbe::kPatience) << "its patience is over";
  EXPECT_EQ(tests, 1);
  probe.tested({});
  EXPECT_EQ(probe.ask(), "");
  EXPECT_EQ(tests, 1);
}

TEST(ReachProbe, ManyAskAndOneTests) {
  std::atomic<int> tests{0};
  ReachProbe* self = nullptr;
  ReachProbe probe([&] {
    ++tests;
    self->tested({});
  });
  self = &probe;
  std::atomic<int> reached{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) reached += probe.ask().empty() ? 1 : 0;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(reached, 800);
  EXPECT_EQ(tests, 1);
}

}  // namespace
}  // namespace sidepool::admin
