// How tokens are fetched from each source that needs no other token first.
#include "src/cloudsql/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/rfc3339.h"
#include "src/cloudsql/metadata_server.h"
#include "tests/unit/cloudsql/token_fixture.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::decode_base64url;
using test::FakeGoogle;
using test::service_account_json;
using test::Tokens;
using test::user_json;
using testing::HasSubstr;

TEST_F(Tokens, ServiceAccountSignsAnAssertion) {
  auto credentials = from_json(service_account_json(R"(,"token_uri":"http://127.0.0.1:9/token")"));
  const auto token = fetch_token(credentials, Scope::Login, caller_.caller);
  ASSERT_TRUE(token) << token.error().error.what;
  EXPECT_EQ(token->expires, clock_.now().wall + 7200s);
  const Call call = google_.calls().at(0);
  EXPECT_EQ(call.url, "http://127.0.0.1:9/token");
  EXPECT_TRUE(call.header("Content-Type: application/x-www-form-urlencoded"));
  const std::string tail = "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
  ASSERT_TRUE(call.body.starts_with("assertion=") && call.body.ends_with(tail)) << call.body;
  const std::string jwt = call.body.substr(10, call.body.size() - 10 - tail.size());
  const std::size_t a = jwt.find('.');
  const std::size_t b = jwt.rfind('.');
  EXPECT_EQ(decode_base64url(jwt.substr(0, a)), R"({"alg":"RS256","kid":"kid-1","typ":"JWT"})");
  const auto iat =
      std::chrono::floor<std::chrono::seconds>(clock_.now().wall).time_since_epoch().count() - 10;
  EXPECT_EQ(
      decode_base64url(jwt.substr(a + 1, b - a - 1)),
      R"({"aud":"http://127.0.0.1:9/token","exp":)" + std::to_string(iat + 3600) + R"(,"iat":)" +
          std::to_string(iat) +
          R"(,"iss":"app@proj.iam.gserviceaccount.com","scope":"https://www.googleapis.com/auth/sqlservice.login"})");
  const std::string signature = decode_base64url(jwt.substr(b + 1));
  const tls::DigestCtxPtr ctx{EVP_MD_CTX_new()};
  EVP_DigestVerifyInit(ctx.get(), nullptr, EVP_sha256(), nullptr, test::shared_rsa_key());
  EXPECT_EQ(EVP_DigestVerify(ctx.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                             signature.size(), reinterpret_cast<const unsigned char*>(jwt.data()), b),
            1);
}

TEST_F(Tokens, OutsideGoogleapisTheKeyMakesTheTokenItself) {
  CredentialOptions options;
  options.universe_domain = "other.goog";
  options.json_credentials = SecretText{service_account_json(R"(,"universe_domain":"other.goog")")};
  auto credentials = load_credentials(options, {});
  ASSERT_TRUE(credentials) << credentials.error().what;
  const auto token = fetch_token(*credentials, Scope::Login, caller_.caller);
  ASSERT_TRUE(token);
  EXPECT_TRUE(google_.calls().empty());
  const std::string jwt{token->text.view()};
  const std::size_t a = jwt.find('.');
  const std::string claims = decode_base64url(jwt.substr(a + 1, jwt.rfind('.') - a - 1));
  const auto iat =
      std::chrono::floor<std::chrono::seconds>(clock_.now().wall).time_since_epoch().count() - 10;
  EXPECT_EQ(claims, R"({"exp":)" + std::to_string(iat + 3600) + R"(,"iat":)" + std::to_string(iat) +
                        R"(,"iss":"app@proj.iam.gserviceaccount.com",)"
                        R"("scope":"https://www.googleapis.com/auth/sqlservice.login",)"
                        R"("sub":"app@proj.iam.gserviceaccount.com"})");
  EXPECT_EQ(token->expires, WallTime{std::chrono::seconds{iat + 3600}});
}

TEST_F(Tokens, AuthorizedUserKeepsARotatedRefreshToken) {
  auto credentials = from_json(user_json(R"(,"token_uri":"http://127.0.0.1:9/token")"));
  google_.set_fault([](const Call&) {
    return Result<HttpResponse>{
        FakeGoogle::json(R"({"access_token":"t","expires_in":60,"refresh_token":"rt2"})")};
  });
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  ASSERT_TRUE(fetch_token(credentials, Scope::Login, caller_.caller));
  EXPECT_EQ(google_.calls()[0].body,
            "grant_type=refresh_token&refresh_token=rt%261&client_id=cid&client_secret=cs%2F1");
  EXPECT_EQ(google_.calls()[1].body,
            "grant_type=refresh_token&refresh_token=rt2&client_id=cid&client_secret=cs%2F1");
}

TEST_F(Tokens, MetadataServerIsAskedForOneScope) {
  auto credentials = metadata();
  ASSERT_TRUE(fetch_token(credentials, Scope::Login, caller_.caller));
  const Call call = google_.calls().at(0);
  EXPECT_EQ(call.url,
            "http://127.0.0.1:99/computeMetadata/v1/instance/service-accounts/default/token"
            "?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fsqlservice.login");
  EXPECT_TRUE(call.header("Metadata-Flavor: Google"));
  EXPECT_FALSE(call.use_proxy);
  EXPECT_EQ(fetch_metadata_principal(std::get<MetadataServer>(credentials.source), caller_.caller),
            "app@proj.iam.gserviceaccount.com");
}

TEST_F(Tokens, TheMetadataServersUniverseIsAskedForOnce) {
  Credentials credentials{MetadataServer{"127.0.0.1:99"}};
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller)) << "404 is googleapis.com";
  ASSERT_TRUE(fetch_token(credentials, Scope::Login, caller_.caller));
  EXPECT_EQ(google_.count("/computeMetadata/v1/universe/universe-domain"), 1U);

  Credentials elsewhere{MetadataServer{"127.0.0.1:99"}};
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (!call.url.ends_with("/universe-domain")) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::json("other.goog\n")};
  });
  const auto refused = fetch_token(elsewhere, Scope::Admin, caller_.caller);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.what, HasSubstr("belongs to universe other.goog, not to googleapis.com"));
}

TEST_F(Tokens, MetadataServerOfAStartingPod) {
  auto credentials = metadata();
  int left = 3;
  google_.set_fault([&left](const Call&) -> std::optional<Result<HttpResponse>> {
    if (left-- > 0)
      return left % 2 == 0 ? FakeGoogle::unreachable() : Result<HttpResponse>{FakeGoogle::json("", 503)};
    return std::nullopt;
  });
  EXPECT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(caller_.pauses, (std::vector<Millis>{100ms, 200ms, 400ms}));
}

TEST_F(Tokens, MetadataServerGivesUp) {
  auto credentials = metadata();
  google_.set_fault([](const Call&) { return FakeGoogle::unreachable(); });
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, FailureKind::Transport);
  EXPECT_EQ(google_.calls().size(), 5U);
  google_.set_fault([](const Call&) { return Result<HttpResponse>{FakeGoogle::json("not defined", 404)}; });
  EXPECT_EQ(fetch_token(credentials, Scope::Admin, caller_.caller).error().kind, FailureKind::Refused);
  EXPECT_EQ(google_.calls().size(), 6U) << "a 404 is an answer";
}

TEST_F(Tokens, NoCredentialsAnywhereIsSaidSo) {
  auto credentials = metadata(true);
  google_.set_fault([](const Call&) { return FakeGoogle::unreachable(); });
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(token);
  EXPECT_THAT(token.error().error.what, HasSubstr("could not find default credentials"));
  EXPECT_THAT(std::string{remedy(token.error().error)}, HasSubstr("--credentials-file"));
}

TEST_F(Tokens, StaticTokensNeverEnd) {
  CredentialOptions options;
  options.token = SecretText{std::string_view{"A"}};
  TokenCache without_login{*load_credentials(options, {})};
  ASSERT_TRUE(without_login.get(Scope::Admin, caller_.caller));
  const auto refused = without_login.get(Scope::Login, caller_.caller);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().error.what, HasSubstr("--login-token"));
  options.login_token = SecretText{std::string_view{"L"}};
  TokenCache both{*load_credentials(options, {})};
  clock_.pass(24h * 365);
  const auto token = both.get(Scope::Login, caller_.caller);
  ASSERT_TRUE(token);
  EXPECT_EQ((*token)->text.view(), "L");
  EXPECT_EQ((*token)->expires, std::nullopt);
  EXPECT_EQ(google_.calls().size(), 0U);
}

TEST_F(Tokens, APersonOfAWorkforcePoolShowsItsClientInAHeader) {
  auto credentials = from_json(
      R"({"type":"external_account_authorized_user","audience":"a","client_id":"cid","client_secret":"cs",
          "refresh_token":"rt","token_url":"http://127.0.0.1:9/v1/oauthtoken"})");
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  const Call call = google_.calls().at(0);
  EXPECT_EQ(call.url, "http://127.0.0.1:9/v1/oauthtoken");
  EXPECT_EQ(call.body, "grant_type=refresh_token&refresh_token=rt");
  EXPECT_TRUE(call.header("Authorization: Basic Y2lkOmNz"));
}

TEST_F(Tokens, EndpointsInTroubleAreAskedThreeTimes) {
  auto credentials = from_json(user_json(R"(,"token_uri":"http://127.0.0.1:9/token")"));
  int left = 2;
  google_.set_fault([&left](const Call&) -> std::optional<Result<HttpResponse>> {
    if (left-- > 0) return Result<HttpResponse>{FakeGoogle::json("", 503)};
    return std::nullopt;
  });
  EXPECT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(caller_.pauses, (std::vector<Millis>{323ms, 523ms}));
  left = 100;
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().kind, FailureKind::Server);
  EXPECT_EQ(google_.calls().size(), 6U);
  google_.set_fault([](const Call&) { return FakeGoogle::unreachable(); });
  EXPECT_EQ(fetch_token(credentials, Scope::Admin, caller_.caller).error().kind, FailureKind::Transport);
  EXPECT_EQ(google_.calls().size(), 7U) << "who does not answer is not insisted upon";
}

TEST_F(Tokens, GcloudIsRun) {
  Credentials credentials{Gcloud{"/opt/gcloud"}};
  const auto expires = std::chrono::floor<std::chrono::seconds>(clock_.now().wall) + 1h;
  caller_.on_run = [&](const Command&) -> Result<CommandOutput> {
    const auto text = format_rfc3339(std::chrono::time_point_cast<sidepool::WallTime::duration>(expires));
    return CommandOutput{0,
                         SecretText{R"({"configuration":{"properties":{"core":{"account":"bob@example.com"}}},
                            "credential":{"access_token":"gcloud-token","token_expiry":")" +
                                    text + "\"}}"},
                         {}};
  };
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_TRUE(token) << token.error().error.what;
  EXPECT_EQ(token->text.view(), "gcloud-token");
  EXPECT_EQ(token->expires, expires);
  EXPECT_THAT(caller_.commands.at(0).argv, testing::ElementsAre("/opt/gcloud", "--format", "json", "config",
                                                                "config-helper", "--min-expiry", "1h"));
  EXPECT_EQ(std::get<Gcloud>(credentials.source).account, "bob@example.com");
  EXPECT_THAT(fetch_token(credentials, Scope::Login, caller_.caller).error().error.what,
              HasSubstr("--gcloud-auth"))
      << "a login token has one scope";
}

TEST_F(Tokens, GcloudsTroubleIsToldInItsWords) {
  Credentials credentials{Gcloud{"/opt/gcloud"}};
  caller_.on_run = [](const Command&) -> Result<CommandOutput> {
    return CommandOutput{1, SecretText{std::string_view{"s3cret"}}, "ERROR: You do not\nhave an account.\n"};
  };
  auto failed = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().error.what,
              HasSubstr("exit code 1; stderr was: ERROR: You do not have an account."));
  EXPECT_THAT(failed.error().error.what, Not(HasSubstr("s3cret")));
  caller_.on_run = [](const Command&) -> Result<CommandOutput> {
    return CommandOutput{0, SecretText{std::string_view{"s3cret"}}, {}};
  };
  failed = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().error.what, HasSubstr("gcloud printed no credential"));
  EXPECT_THAT(failed.error().error.what, Not(HasSubstr("s3cret")));
}

TEST_F(Tokens, ARefusalCarriesGooglesWords) {
  auto credentials = from_json(user_json(R"(,"token_uri":"http://127.0.0.1:9/token")"));
  google_.set_fault([](const Call&) {
    return Result<HttpResponse>{
        FakeGoogle::json(R"({"error":"invalid_grant","error_description":"Token has been revoked."})", 400)};
  });
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(token);
  EXPECT_EQ(
      token.error().error.what,
      "cannot renew the user's token: token endpoint: Error 400: Token has been revoked., invalid_grant");
  EXPECT_EQ(token.error().error.reason, "invalid_grant");
  EXPECT_EQ(token.error().kind, FailureKind::Refused);
}

}  // namespace
}  // namespace sidepool::cloudsql
