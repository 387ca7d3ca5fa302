// tests/unit/pool/statements_test.cpp -- what clients of one worker have together.
#include "pool/statements.h"

#include <gtest/gtest.h>

namespace sidepool::pool {
namespace {

Settings named(const char* spelling, const char* value) { return with(nullptr, spelling, value); }

TEST(StatementStore, EqualSetsOfSettingsAreOneObject) {
  StatementStore store("0123456789abcdef", WorkerId{0}, 1U << 20);
  const auto first = store.share(named("TimeZone", "UTC"));
  EXPECT_EQ(store.share(named("TimeZone", "UTC")), first);
  EXPECT_NE(store.share(named("TimeZone", "GMT")), first);
  // A RESET is told in the spelling of the set.
  EXPECT_NE(store.share(named("timezone", "UTC")), first);
  EXPECT_EQ(store.share(nullptr), nullptr);
}

TEST(StatementStore, KeepsTheLastSetsOnly) {
  StatementStore store("0123456789abcdef", WorkerId{0}, 1U << 20);
  const std::weak_ptr<const SettingSet> old = store.share(named("application_name", "old"));
  for (int i = 0; i < 16; ++i) store.share(named("application_name", std::to_string(i).c_str()));
  EXPECT_TRUE(old.expired());
}

}  // namespace
}  // namespace sidepool::pool
