// tests/unit/metrics/counters_test.cpp -- buckets, reasons, and what a reader of another thread sees.
#include "src/metrics/counters.h"

#include <gtest/gtest.h>

#include <thread>

namespace sidepool::metrics {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

std::size_t bucket_of(nanoseconds took) {
  Latency latency;
  latency.observe(took);
  const Distribution d = latency.read();
  EXPECT_EQ(d.count, 1u);
  for (std::size_t i = 0; i < d.buckets.size(); ++i) {
    if (d.buckets[i] == 1) return i;
  }
  return d.buckets.size();
}

TEST(Latency, BoundsAreInclusive) {
  EXPECT_EQ(bucket_of(nanoseconds{0}), 0u);
  EXPECT_EQ(bucket_of(microseconds{32}), 0u);
  EXPECT_EQ(bucket_of(microseconds{32} + nanoseconds{1}), 1u);
  EXPECT_EQ(bucket_of(microseconds{33}), 1u);
  for (std::size_t i = 0; i < Distribution::kBuckets; ++i) {
    const microseconds bound{std::int64_t{1} << (Distribution::kFirst + i)};
    EXPECT_EQ(bucket_of(bound), i);
    EXPECT_EQ(bucket_of(bound + nanoseconds{1}), i + 1);
    EXPECT_DOUBLE_EQ(Distribution::bound_seconds(i), std::chrono::duration<double>(bound).count());
  }
}

TEST(Latency, WhatIsAboveTheLastBoundOrBelowZeroStillCounts) {
  Latency latency;
  latency.observe(seconds{3600});
  latency.observe(nanoseconds{-5});
  const Distribution d = latency.read();
  EXPECT_EQ(d.count, 2u);
  EXPECT_EQ(d.buckets[0], 1u);
  EXPECT_EQ(d.nanoseconds, 3'600'000'000'000u);
}

TEST(Latency, SumsAddUp) {
  Latency a, b;
  a.observe(microseconds{40});
  b.observe(microseconds{50});
  Distribution sum = a.read();
  sum += b.read();
  EXPECT_EQ(sum.count, 2u);
  EXPECT_EQ(sum.buckets[1], 2u);
  EXPECT_EQ(sum.nanoseconds, 90'000u);
}

// The reader never sees fewer observations in all than in the buckets: a scrape must not give a broken
// histogram.
TEST(Latency, ReadWhileWritten) {
  Latency latency;
  constexpr std::uint64_t kWrites = 20000;
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < kWrites; ++i) latency.observe(microseconds{i});
  });
  std::uint64_t last = 0;
  while (last < kWrites) {
    const Distribution d = latency.read();
    std::uint64_t in_buckets = 0;
    for (const auto n : d.buckets) in_buckets += n;
    ASSERT_GE(d.count, in_buckets);
    ASSERT_GE(d.count, last);
    last = d.count;
  }
  writer.join();
  EXPECT_EQ(latency.read().count, kWrites);
}

TEST(ReasonCounts, WordsAreMadeLabels) {
  ReasonCounts counts;
  counts.add("notAuthorized");
  counts.add("28P01", 2);
  counts.add("a \"quoted\"\nline");
  counts.add("");
  const auto read = counts.read();
  EXPECT_EQ(read.at("notauthorized"), 1u);
  EXPECT_EQ(read.at("28p01"), 2u);
  EXPECT_EQ(read.at("a__quoted__line"), 1u);
  EXPECT_EQ(read.at("other"), 1u);
}

TEST(ReasonCounts, NeverMoreThanItsBound) {
  ReasonCounts counts;
  for (int i = 0; i < 1000; ++i) counts.add("reason" + std::to_string(i) + std::string(100, 'x'));
  const auto read = counts.read();
  EXPECT_EQ(read.size(), ReasonCounts::kMost);
  std::uint64_t all = 0;
  for (const auto& [reason, n] : read) {
    EXPECT_LE(reason.size(), ReasonCounts::kLongest);
    all += n;
  }
  EXPECT_EQ(all, 1000u);
  EXPECT_EQ(read.at("other"), 1000u - (ReasonCounts::kMost - 1));
}

}  // namespace
}  // namespace sidepool::metrics
