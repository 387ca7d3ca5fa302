// tests/unit/worker/startup_sets_test.cpp -- which startup settings get servers of their own.
#include "src/worker/startup_sets.h"

#include <gtest/gtest.h>

namespace sidepool::worker {
namespace {

pool::SettingSet set_of(const std::string& path, const std::string& zone = "Mars") {
  pool::SettingSet s;
  s.set("search_path", path);
  s.set("TimeZone", zone);
  s.set("application_name", "app");
  return s;
}

class Sets : public ::testing::Test {
 protected:
  Sets() {
    pool::SettingSet reported;
    reported.set("TimeZone", "UTC");
    reported_ = std::make_shared<pool::SettingSet>(reported);
  }
  std::optional<StartupSets::Outcome> client(const std::string& path) {
    return sets_.known(StartupSets::key_of(set_of(path)), reported_);
  }
  void accept(const std::string& path) {
    sets_.accepted(StartupSets::key_of(set_of(path)), set_of(path),
                   std::make_shared<pool::SettingSet>(set_of(path)));
  }
  StartupSets sets_;
  pool::Settings reported_;
};

TEST_F(Sets, TheFirstClientTriesItTheSecondMakesItASubPool) {
  EXPECT_FALSE(client("a"));
  accept("a");
  const auto second = client("a");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->startup, 1U);
  EXPECT_EQ(*find(second->reported, "TimeZone"), "Mars") << "what its servers will report";
  const auto opened = sets_.of(1);
  EXPECT_EQ(*find(opened, "search_path"), "a");
  EXPECT_EQ(find(opened, "application_name"), nullptr);
}

TEST_F(Sets, SeveralSetsGetServersOfTheirOwnAndTheRestAreReplayed) {
  for (const std::string path : {"a", "b", "c", "d", "e"}) {
    accept(path);
    const auto outcome = client(path);
    ASSERT_TRUE(outcome);
    const bool own = path != "e";
    EXPECT_EQ(outcome->startup, own ? static_cast<std::uint64_t>(path[0] - 'a') + 1 : 0U);
    EXPECT_EQ(outcome->overrides == nullptr, own);
    EXPECT_EQ(*find(own ? sets_.of(outcome->startup) : outcome->overrides, "search_path"), path);
  }
  EXPECT_EQ(client("b")->startup, 2U) << "the number stays";
  EXPECT_EQ(sets_.of(5), nullptr);
  EXPECT_EQ(sets_.of(0), nullptr);
}

TEST_F(Sets, WhatIsReportedIsKeptPerSet) {
  for (const std::string path : {"a", "b"}) accept(path), client(path);
  pool::SettingSet values;
  values.set("TimeZone", "Venus");
  const auto noted = sets_.note_reported(2, values);
  EXPECT_EQ(sets_.note_reported(2, values), noted) << "one object for equal values";
  EXPECT_EQ(*find(client("a")->reported, "TimeZone"), "Mars");
  EXPECT_EQ(*find(client("b")->reported, "TimeZone"), "Venus");
}

}  // namespace
}  // namespace sidepool::worker
