// tests/unit/pool/health_test.cpp -- back-off of dials and the meaning of refused logins.
#include "pool/health.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sidepool::pool {
namespace {

constexpr std::uint64_t kMost = ~std::uint64_t{0};
constexpr Backoff kDefault{};

TEST(DialHealth, BacksOffExponentiallyUpToTheCapWithJitter) {
  DialHealth health;
  Time now{};
  EXPECT_TRUE(health.may_try(now));
  Duration ceiling = kDefault.first;
  for (int i = 0; i < 70; ++i) {
    health.failed(OpenError{}, now, now, 0, kDefault);
    EXPECT_EQ(health.next_attempt(), now + Duration(1)) << "at least a tick";
    now = health.next_attempt();
    health.failed(OpenError{}, now, now, kMost, kDefault);
    ceiling = std::min(ceiling * 2, kDefault.longest);
    EXPECT_GT(health.next_attempt(), now);
    EXPECT_LE(health.next_attempt(), now + ceiling);
    EXPECT_FALSE(health.may_try(now));
    now = health.next_attempt();
    EXPECT_TRUE(health.may_try(now));
    ceiling = std::min(ceiling * 2, kDefault.longest);
  }
}

TEST(DialHealth, JitterCoversTheWholeCeiling) {
  Duration least = Duration::max(), most{};
  for (std::uint64_t i = 0; i < 1000; ++i) {
    DialHealth health;
    health.failed(OpenError{}, Time{}, Time{}, i * 0x9e3779b97f4a7c15u, kDefault);
    least = std::min(least, health.next_attempt() - Time{});
    most = std::max(most, health.next_attempt() - Time{});
  }
  EXPECT_LT(least, kDefault.first / 20);
  EXPECT_GT(most, kDefault.first * 19 / 20);
}

TEST(DialHealth, DialsThatWereInFlightTogetherFailAsOne) {
  DialHealth health;
  const Time start{};
  const Time failed = start + std::chrono::seconds(1);
  health.failed(OpenError{OpenFailure::Unreachable, "08001", "first"}, start, failed, kMost, kDefault);
  const Time next = health.next_attempt();
  health.failed(OpenError{OpenFailure::NotReady, "57P03", "second"}, start,
                failed + std::chrono::milliseconds(1), kMost, kDefault);
  EXPECT_EQ(health.failures(), 1u);
  EXPECT_EQ(health.next_attempt(), next);
  EXPECT_EQ(health.last_error().message, "second");
}

TEST(DialHealth, TheBoundsAreTheCallers) {
  using std::chrono::milliseconds;
  const auto pause = [](DialHealth& h, Time now, const Backoff& b) {
    h.failed(OpenError{}, now, now, kMost, b);
    return h.next_attempt() - now;
  };
  const Backoff bounds{milliseconds(3), milliseconds(7)};
  DialHealth health;
  Time now{};
  for (const auto longest : {3, 6, 7, 7}) {
    const auto waited = pause(health, now, bounds);
    EXPECT_LE(waited, milliseconds(longest));
    now += milliseconds(20);
  }
  DialHealth equal;
  EXPECT_LE(pause(equal, now, {milliseconds(5), milliseconds(5)}), milliseconds(5));
  DialHealth odd;  // never reached by a configuration
  EXPECT_GT(pause(odd, now, {Duration{}, Duration{}}), Duration{});
}

TEST(DialHealth, AShorterLimitEndsAPauseThatWasBegun) {
  using std::chrono::hours;
  using std::chrono::seconds;
  DialHealth health;
  const Time now{};
  health.failed(OpenError{}, now, now, static_cast<std::uint64_t>(Duration(hours(10)).count()) - 1,
                {hours(10), hours(10)});
  ASSERT_EQ(health.next_attempt(), now + hours(10));
  health.shorten(now + seconds(1), {seconds(1), seconds(5)});
  EXPECT_EQ(health.next_attempt(), now + seconds(6));
  health.shorten(now + seconds(2), {hours(1), hours(1)});
  EXPECT_EQ(health.next_attempt(), now + seconds(6)) << "never made longer";
}

TEST(DialHealth, SuccessForgivesAll) {
  DialHealth health;
  health.failed(OpenError{OpenFailure::BadCredential, "28P01", "no"}, Time{}, Time{}, kMost, kDefault);
  EXPECT_TRUE(health.credential_refused());
  EXPECT_TRUE(health.probing());
  health.succeeded();
  EXPECT_FALSE(health.credential_refused());
  EXPECT_FALSE(health.probing());
  EXPECT_TRUE(health.may_try(Time{}));
}

TEST(DialHealth, LoginErrorsByState) {
  for (const char* state : {"57P03", "57P01", "57P02", "53300", "53400"})
    EXPECT_EQ(classify_login_error(state), OpenFailure::NotReady) << state;
  EXPECT_EQ(classify_login_error("28P01"), OpenFailure::BadCredential);
  for (const char* state : {"22023", "42501", "42602", "42704", "55P02"})
    EXPECT_EQ(classify_login_error(state), OpenFailure::RefusedSettings) << state;
  for (const char* state : {"28000", "3D000", "42601", "08P01", "", "5"})
    EXPECT_EQ(classify_login_error(state), OpenFailure::Refused) << state;
}

}  // namespace
}  // namespace sidepool::pool
