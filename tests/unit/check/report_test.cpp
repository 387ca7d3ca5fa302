// tests/unit/check/report_test.cpp -- the lines of a report, and who listens according to /proc/net/tcp.
#include "src/check/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "src/check/listeners.h"

namespace sidepool::check {
namespace {

TEST(Report, OneLineACheckWithItsRemedy) {
  EXPECT_EQ(line({Subject::Route, Outcome::Ok, "10.0.0.5:3307 accepts connections"}),
            "  ok    route           10.0.0.5:3307 accepts connections");
  EXPECT_EQ(line({Subject::Login, Outcome::Failed, "no", "Set PGPASSWORD"}),
            "  FAIL  database login  no. Remedy: Set PGPASSWORD");
  EXPECT_EQ(line({Subject::IpType, Outcome::Skipped, "an earlier check failed"}),
            "  skip  IP type         an earlier check failed");
}

TEST(Report, WhatOthersSayStaysOnTheLine) {
  EXPECT_EQ(line({Subject::Api, Outcome::Failed, "a\nok    everything\x1b[2J", "b\r\nc"}),
            "  FAIL  Admin API       a ok    everything [2J. Remedy: b  c");
  const auto bounded = line({Subject::Api, Outcome::Failed, std::string(100'000, 'x')});
  EXPECT_LT(bounded.size(), 2000U);
}

TEST(Report, CountsFailuresAndSkipsTheRestOfASection) {
  std::vector<std::string> lines;
  Report report([&](std::string_view text) { lines.emplace_back(text); });
  constexpr std::array kRest{Subject::Roles, Subject::Route};
  report.section("first");
  report.failed(Subject::Roles, "no", "Grant it");
  report.skip_rest(kRest, "why");
  report.section("second");
  report.ok(Subject::Route, "yes");
  report.skip_rest(kRest, "why");
  EXPECT_EQ(report.failures(), 1U);
  EXPECT_THAT(lines, testing::ElementsAre("first", "  FAIL  roles           no. Remedy: Grant it",
                                          "  skip  route           why", "second",
                                          "  ok    route           yes", "  skip  roles           why"));
}

constexpr std::string_view kTable =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1538 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 1111 1 0\n"
    "   1: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2222 1 0\n"
    "   2: 00000000:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3333 1 0\n"
    "garbage\n";

TEST(ListeningInode, FindsTheListenerAndNotAConnection) {
  EXPECT_EQ(listening_inode(kTable, "0100007F:1538"), 2222U);
  EXPECT_EQ(listening_inode(kTable, "0100007F:1539"), 3333U);  // by the wildcard
  EXPECT_EQ(listening_inode(kTable, "0200007F:1538"), std::nullopt);
  EXPECT_EQ(listening_inode("", "0100007F:1538"), std::nullopt);
  EXPECT_EQ(listening_inode(kTable, "nonsense"), std::nullopt);
}

}  // namespace
}  // namespace sidepool::check
