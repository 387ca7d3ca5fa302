// tests/unit/bench/histogram_test.cpp -- what the bench says of latencies is true within its error.
#include "bench/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace sidepool::bench {
namespace {

TEST(Histogram, SmallValuesAreExact) {
  Histogram h;
  for (std::uint64_t v = 0; v < 256; ++v) h.record(v);
  EXPECT_EQ(h.quantile(0.5), 127U);
  EXPECT_EQ(h.quantile(1.0 / 256), 0U);
  EXPECT_EQ(h.quantile(1), 255U);
  EXPECT_EQ(h.max(), 255U);
  EXPECT_DOUBLE_EQ(h.mean(), 127.5);
}

TEST(Histogram, QuantilesAreWithinAHundredthOfTheTruth) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> nanoseconds(12, 2);
  std::vector<std::uint64_t> values;
  Histogram h;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(nanoseconds(random)));
    h.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto truth = static_cast<double>(values[static_cast<std::size_t>(q * 100'000) - 1]);
    const auto told = static_cast<double>(h.quantile(q));
    EXPECT_GE(told, truth) << q;
    EXPECT_LE(told, truth * 1.008 + 1) << q;
  }
}

TEST(Histogram, TheLargestValueHasAPlace) {
  Histogram h;
  h.record(~0ULL);
  EXPECT_EQ(h.quantile(0.5), ~0ULL);
}

TEST(Histogram, WithoutValuesItSaysZero) { EXPECT_EQ(Histogram{}.quantile(0.99), 0U); }

}  // namespace
}  // namespace sidepool::bench
