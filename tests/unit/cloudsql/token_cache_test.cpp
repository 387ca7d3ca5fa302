// How long tokens are kept, and what becomes of them when the credentials' file is another one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/unit/cloudsql/token_fixture.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::FakeGoogle;
using test::Tokens;
using testing::HasSubstr;

TEST(RenewFrom, Table) {
  const WallTime t{1'000'000s};
  EXPECT_EQ(renew_from(t, t + 1h, 0.0), t + 45min);
  EXPECT_EQ(renew_from(t, t + 30min, 0.0), t + 20min);
  EXPECT_EQ(renew_from(t, t + 5min, 0.0), t - 5min);
  EXPECT_EQ(renew_from(t, t + 1h, 0.5), t + 1h - 945s);
}

TEST_F(Tokens, AreKeptUntilDueAndFetchedOnce) {
  TokenCache cache{metadata()};
  google_.set_life(1h, 1h);
  ASSERT_TRUE(cache.get(Scope::Admin, caller_.caller));
  ASSERT_TRUE(cache.get(Scope::Admin, caller_.caller));
  clock_.pass(44min);
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-1");
  ASSERT_TRUE(cache.get(Scope::Login, caller_.caller));
  EXPECT_EQ(google_.calls().size(), 2U) << "one a scope";
  clock_.pass(1min);
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-3");
}

TEST_F(Tokens, AFailedRenewalKeepsTheOldOneAndBacksOff) {
  TokenCache cache{metadata()};
  google_.set_life(1h, 1h);
  ASSERT_TRUE(cache.get(Scope::Admin, caller_.caller));
  google_.set_fault([](const Call&) { return Result<HttpResponse>{FakeGoogle::error(403, "forbidden")}; });
  clock_.pass(46min);
  for (int i = 0; i < 10; ++i) EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-1");
  EXPECT_EQ(google_.calls().size(), 2U);
  EXPECT_NE(cache.trouble(Scope::Admin), nullptr);
  clock_.pass(30s);
  ASSERT_TRUE(cache.get(Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.calls().size(), 3U);
  clock_.pass(14min);
  const auto over = cache.get(Scope::Admin, caller_.caller);
  ASSERT_FALSE(over) << "an old token is not used past its end";
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(cache.get(Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.calls().size(), 4U) << "instances that share the source share the refusal";
  google_.set_fault(nullptr);
  clock_.pass(4s);
  EXPECT_TRUE(cache.get(Scope::Admin, caller_.caller));
  EXPECT_EQ(cache.trouble(Scope::Admin), nullptr);
}

TEST_F(Tokens, ADistrustedOneIsReplaced) {
  TokenCache cache{metadata()};
  const auto first = cache.get(Scope::Admin, caller_.caller);
  ASSERT_TRUE(first);
  const auto refused = (*first)->copy();
  cache.distrust(Scope::Admin, refused);
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-2");
  cache.distrust(Scope::Admin, refused);
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-2")
      << "another is in use already";
}

class Reread : public Tokens {
 protected:
  Reread() { options_.credentials_file = dir_.file("c.json", user("one")); }
  static std::string user(const std::string& refresh_token) {
    return R"({"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":")" +
           refresh_token + R"(","token_uri":"http://127.0.0.1:9/token"})";
  }
  // As `mv` and Kubernetes do it.
  void replace(const std::string& text) {
    std::filesystem::rename(dir_.file("next.json", text), options_.credentials_file);
  }
  TokenCache cache() {
    return TokenCache{*load_credentials(options_, {}), [this] { return load_credentials(options_, {}); }};
  }
  test::TempDir dir_;
  CredentialOptions options_;
};

TEST_F(Reread, AnotherFileIsUsedForTheNextToken) {
  TokenCache tokens = cache();
  ASSERT_TRUE(tokens.get(Scope::Admin, caller_.caller));
  EXPECT_FALSE(tokens.reread()) << "nothing has changed";
  replace(user("two"));
  const auto reread = tokens.reread();
  ASSERT_TRUE(reread);
  EXPECT_TRUE(*reread);
  EXPECT_FALSE(tokens.reread()) << "once is enough";
  ASSERT_TRUE(tokens.get(Scope::Admin, caller_.caller));
  EXPECT_THAT(google_.calls().at(1).body, HasSubstr("refresh_token=two"));
}

TEST_F(Reread, AFileWrittenInPlaceIsSeenToo) {
  TokenCache tokens = cache();
  dir_.file("c.json", user("longer than it was"));
  ASSERT_TRUE(tokens.reread());
}

TEST_F(Reread, ABadFileKeepsTheOldCredentialsAndIsLookedAtAgain) {
  TokenCache tokens = cache();
  for (const std::string& text : {std::string{"{"}, std::string{R"({"type":"nonsense"})"}}) {
    replace(text);
    for (int i = 0; i < 2; ++i) {
      const auto reread = tokens.reread();
      ASSERT_TRUE(reread);
      ASSERT_FALSE(*reread);
      EXPECT_THAT(reread->error().what, HasSubstr("c.json"));
    }
  }
  ASSERT_TRUE(tokens.get(Scope::Admin, caller_.caller));
  EXPECT_THAT(google_.calls().at(0).body, HasSubstr("refresh_token=one"));
  std::filesystem::remove(options_.credentials_file);
  const auto gone = tokens.reread();
  ASSERT_TRUE(gone);
  ASSERT_FALSE(*gone);
  EXPECT_THAT(gone->error().what, HasSubstr("is gone"));
  replace(user("two"));
  EXPECT_TRUE(*tokens.reread());
}

TEST_F(Reread, ANewKeyEndsTheWaitThatTheOldOneEarned) {
  TokenCache tokens = cache();
  google_.set_fault(
      [](const Call&) { return Result<HttpResponse>{FakeGoogle::error(400, "invalid_grant")}; });
  ASSERT_FALSE(tokens.get(Scope::Admin, caller_.caller));
  google_.set_fault(nullptr);
  ASSERT_FALSE(tokens.get(Scope::Admin, caller_.caller)) << "too early";
  replace(user("two"));
  ASSERT_TRUE(*tokens.reread());
  EXPECT_TRUE(tokens.get(Scope::Admin, caller_.caller));
}

TEST_F(Reread, TheOldTokenStaysWhileTheNewKeyDoesNotWork) {
  TokenCache tokens = cache();
  ASSERT_TRUE(tokens.get(Scope::Admin, caller_.caller));
  replace(user("two"));
  ASSERT_TRUE(*tokens.reread());
  google_.set_fault(
      [](const Call&) { return Result<HttpResponse>{FakeGoogle::error(400, "invalid_grant")}; });
  const auto token = tokens.get(Scope::Admin, caller_.caller);
  ASSERT_TRUE(token);
  EXPECT_EQ((*token)->text.view(), "admin-1");
  EXPECT_NE(tokens.trouble(Scope::Admin), nullptr);
}

TEST_F(Reread, ALoginOfGcloudIsFoundWhenItIsMadeLater) {
  Environment env;
  env.home = dir_.path();
  env.metadata_host = "127.0.0.1:99";
  const CredentialOptions none;
  TokenCache tokens{*load_credentials(none, env), [&] { return load_credentials(none, env); }};
  EXPECT_TRUE(std::holds_alternative<MetadataServer>(tokens.credentials().source));
  EXPECT_FALSE(tokens.reread());
  const std::string path = dir_.file(".config/gcloud/application_default_credentials.json", user("three"));
  ASSERT_TRUE(tokens.reread());
  EXPECT_TRUE(std::holds_alternative<AuthorizedUser>(tokens.credentials().source));
  std::filesystem::remove(path);
  ASSERT_FALSE(*tokens.reread()) << "nobody becomes the machine's account because a file went away";
  EXPECT_TRUE(std::holds_alternative<AuthorizedUser>(tokens.credentials().source));
}

}  // namespace
}  // namespace sidepool::cloudsql
