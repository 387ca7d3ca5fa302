// tests/unit/conf/units_test.cpp -- durations and sizes as text.
#include "conf/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace sidepool::conf {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

TEST(Units, ReadsDurationsAsGoDoes) {
  const struct {
    const char* text;
    nanoseconds value;
  } good[] = {{"0", 0ns},        {"0s", 0ns},       {"30s", 30s},     {"1m30s", 90s},
              {"500ms", 500ms},  {"1h", 1h},        {"1.5s", 1500ms}, {".5s", 500ms},
              {"1.s", 1s},       {"-2s", -2s},      {"+2s", 2s},      {"1us", 1us},
              {"1\u00b5s", 1us}, {"1\u03bcs", 1us}, {"7ns", 7ns},     {"1h1m1s1ms", 1h + 1min + 1s + 1ms}};
  for (const auto& c : good) EXPECT_EQ(parse_duration(c.text), c.value) << c.text;
  for (const char* bad : {"", "30", "s", "1x", "1 s", "1s ", " 1s", "-", "+", ".s", "1..5s", "--1s", "1m30",
                          "1d", "9999999999999999999999s", "9223372037s", "2562048h"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(Units, PrintsTheShortestDurationThatReadsBack) {
  const struct {
    nanoseconds value;
    const char* text;
  } cases[] = {{0ns, "0s"},      {1h, "1h"},          {90s, "1m30s"},   {120s, "2m"},     {500ms, "500ms"},
               {-90s, "-1m30s"}, {1500ms, "1s500ms"}, {8760h, "8760h"}, {1h + 1s, "1h1s"}};
  for (const auto& c : cases) {
    EXPECT_EQ(format_duration(c.value), c.text);
    EXPECT_EQ(parse_duration(c.text), c.value);
  }
  EXPECT_EQ(format_duration(nanoseconds::min()).front(), '-');
}

TEST(Units, SecondsMayBeFractionsButNotEndless) {
  EXPECT_EQ(seconds_of(0.25), 250ms);
  EXPECT_EQ(seconds_of(15), 15s);
  EXPECT_FALSE(seconds_of(1e18));
  EXPECT_FALSE(seconds_of(std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(seconds_of(std::numeric_limits<double>::quiet_NaN()));
}

TEST(Units, SizesHaveBinaryUnits) {
  EXPECT_EQ(parse_size("64MiB"), std::uint64_t{64} << 20);
  EXPECT_EQ(parse_size("1GiB"), std::uint64_t{1} << 30);
  EXPECT_EQ(parse_size("1TiB"), std::uint64_t{1} << 40);
  EXPECT_EQ(parse_size("12B"), 12U);
  for (const char* bad : {"", "64", "64MB", "MiB", "1.5GiB", "-1B", "+1B", "1 MiB", "99999999999TiB"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  EXPECT_EQ(format_size(0), "0B");
  EXPECT_EQ(format_size(1024), "1KiB");
  EXPECT_EQ(format_size(1025), "1025B");
  EXPECT_EQ(format_size(std::uint64_t{64} << 20), "64MiB");
}

}  // namespace
}  // namespace sidepool::conf
