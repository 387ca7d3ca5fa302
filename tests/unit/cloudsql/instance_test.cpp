// Instance connection names.
#include "src/cloudsql/instance.h"

#include <gtest/gtest.h>

namespace sidepool::cloudsql {
namespace {

TEST(InstanceName, ThreePartsOrFour) {
  const auto plain = InstanceName::parse("my-project:us-central1:my-postgres");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->project, "my-project");
  EXPECT_EQ(plain->region, "us-central1");
  EXPECT_EQ(plain->instance, "my-postgres");
  EXPECT_EQ(plain->canonical(), "my-project:us-central1:my-postgres");
  EXPECT_EQ(plain->common_name(), "my-project:my-postgres");
  const auto scoped = InstanceName::parse("google.com:my-proj:europe-west1:db");
  ASSERT_TRUE(scoped);
  EXPECT_EQ(scoped->project, "google.com:my-proj");
  EXPECT_EQ(scoped->canonical(), "google.com:my-proj:europe-west1:db");
  EXPECT_EQ(scoped->common_name(), "google.com:my-proj:db");
}

TEST(InstanceName, EverythingElseIsAnErrorThatShowsTheName) {
  for (const std::string& text :
       {std::string{""}, std::string{"p"}, std::string{"p:r"}, std::string{"p:r:"}, std::string{":r:i"},
        std::string{"p::i"}, std::string{"a:b:c:d:e"}, std::string{"p:r:i?port=1"}, std::string{"p:r:i "},
        std::string{"p:r:i/x"}, std::string{"p:r:.."}, std::string{"p:r:i\n"}, std::string{"p:r:i\0x", 7},
        std::string{"p:r:%41"}, std::string(600, 'a') + ":r:i"}) {
    const auto name = InstanceName::parse(text);
    ASSERT_FALSE(name) << text;
    EXPECT_EQ(name.error().code, Errc::Config);
    EXPECT_NE(name.error().what.find("expected PROJECT:REGION:INSTANCE (connection name = \""),
              std::string::npos);
    EXPECT_EQ(name.error().what.find('\n'), std::string::npos);
  }
}

TEST(InstanceKey, AnInstanceOrADnsName) {
  const auto instance = InstanceKey::parse("google.com:p:r:i", true);
  ASSERT_TRUE(instance);
  EXPECT_EQ(instance->name(), "google.com:p:r:i");
  EXPECT_TRUE(instance->iam);
  EXPECT_EQ(instance->dns_name, "");
  const auto name = InstanceKey::parse("db.example.com", false);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->name(), "db.example.com");
  EXPECT_EQ(InstanceKey::parse("ABC.proj.us-central1.SQL.goog", false)->dns_name,
            "abc.proj.us-central1.sql.goog");
}

TEST(InstanceKey, EverythingElseIsOneLine) {
  for (const char* text :
       {"p", "", "DB.example.com", "db..example.com", "10.0.0.1", "db.example.com?port=1"}) {
    const auto key = InstanceKey::parse(text, false);
    ASSERT_FALSE(key) << text;
    EXPECT_EQ(
        key.error().what,
        "config error: invalid connection name, expected PROJECT:REGION:INSTANCE format or valid DNS domain "
        "name (connection name = \"" +
            std::string{text} + "\")");
  }
  const auto five = InstanceKey::parse("a:b:c:d:e", false);
  ASSERT_FALSE(five);
  EXPECT_EQ(
      five.error().what,
      "config error: invalid instance connection name, expected PROJECT:REGION:INSTANCE (connection name = "
      "\"a:b:c:d:e\")");
}

TEST(ReachedInstance, TextIsTheOriginals) {
  EXPECT_EQ((ReachedInstance{{"p", "r", "i"}}.text()), "p:r:i");
  EXPECT_EQ((ReachedInstance{{"p", "r", "i"}, "db.example.com"}.text()), "db.example.com -> p:r:i");
}

}  // namespace
}  // namespace sidepool::cloudsql
