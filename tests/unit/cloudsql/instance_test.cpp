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

TEST(InstanceName, DnsNamesAreRefusedByName) {
  const auto name = InstanceName::parse("db.example.com");
  ASSERT_FALSE(name);
  EXPECT_NE(name.error().what.find("a DNS name cannot be used"), std::string::npos) << name.error().what;
}

}  // namespace
}  // namespace sidepool::cloudsql
