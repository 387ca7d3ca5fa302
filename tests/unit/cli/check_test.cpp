// tests/unit/cli/check_test.cpp -- `check` takes the flags of a start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {
namespace {

TEST(Check, IsAStartThatServesNobody) {
  EXPECT_FALSE(good("p:r:i").check);
  for (const std::string line :
       {"check --port 5000 p:r:i", "--port 5000 check p:r:i", "check p:r:i --port=5000"}) {
    const RunConfig run = good(line);
    EXPECT_TRUE(run.check) << line;
    EXPECT_EQ(listeners(run.config), "127.0.0.1:5000") << line;
    ASSERT_EQ(run.config.upstreams.size(), 1U) << line;
  }
  EXPECT_TRUE(good("check", {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:i"}}).check);
}

TEST(Check, BehindDashesItIsAnInstance) { EXPECT_FALSE(errors("-- check").empty()); }

TEST(Check, RefusesWhatAStartRefuses) {
  EXPECT_EQ(errors("check"), errors(""));
  EXPECT_EQ(errors("check --unix-socket /a --port 1 p:r:i"), errors("--unix-socket /a --port 1 p:r:i"));
}

TEST(Check, HasHelp) {
  for (const std::string line : {"check --help", "help check"}) {
    const auto outcome = run(line);
    const auto* printed = std::get_if<PrintAndExit>(&outcome);
    ASSERT_TRUE(printed) << line;
    EXPECT_EQ(printed->code, 0);
    EXPECT_THAT(printed->text, testing::HasSubstr("PGPASSWORD"));
  }
}

}  // namespace
}  // namespace sidepool::cli::test
