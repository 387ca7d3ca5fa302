// Where credentials are found, how tokens are fetched from each source, and how long they are kept.
#include "src/cloudsql/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/cloudsql/encode.h"
#include "tests/unit/cloudsql/fake_google.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::FakeGoogle;
using testing::HasSubstr;

std::string one_line_pem(std::string text) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\n");
  return text;
}

std::string service_account_json(const std::string& extra = "") {
  return R"({"type":"service_account","client_email":"app@proj.iam.gserviceaccount.com","private_key_id":"kid-1",
    "private_key":")" +
         one_line_pem(test::pem(test::shared_rsa_key())) + "\"" + extra + "}";
}
std::string user_json(const std::string& extra = "") {
  return R"({"type":"authorized_user","client_id":"cid","client_secret":"cs/1","refresh_token":"rt&1")" +
         extra + "}";
}

class LoadCredentials : public testing::Test {
 protected:
  Result<Credentials> load(const Environment& env = {}) const { return load_credentials(options_, env); }
  test::TempDir dir_;
  CredentialOptions options_;
};

TEST_F(LoadCredentials, TokenComesFirst) {
  options_.token = SecretText{std::string_view{"T"}};
  options_.credentials_file = "/nonexistent";
  const auto got = load();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->description, "Authorizing with OAuth2 token");
  EXPECT_EQ(std::get<StaticTokens>(got->source).api.view(), "T");
}

TEST_F(LoadCredentials, ServiceAccountFile) {
  options_.credentials_file = dir_.file("sa.json", service_account_json(R"(,"quota_project_id":"q")"));
  const auto got = load();
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->description,
            "Authorizing with the credentials file at \"" + options_.credentials_file + "\"");
  EXPECT_EQ(got->principal, "app@proj.iam.gserviceaccount.com");
  EXPECT_EQ(got->quota_project, "q");
  EXPECT_EQ(std::get<ServiceAccount>(got->source).token_uri, kDefaultTokenUrl);
  Environment env;
  env.quota_project = "from-env";
  EXPECT_EQ(load(env)->quota_project, "from-env");
}

TEST_F(LoadCredentials, ApplicationDefaultSearch) {
  Environment env;
  env.home = dir_.path();
  auto got = load(env);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->description, "Authorizing with Application Default Credentials");
  EXPECT_EQ(std::get<MetadataServer>(got->source).host, kMetadataAddress);
  EXPECT_TRUE(std::get<MetadataServer>(got->source).assumed);

  env.metadata_host = "127.0.0.1:1";
  got = load(env);
  EXPECT_EQ(std::get<MetadataServer>(got->source).host, "127.0.0.1:1");
  EXPECT_FALSE(std::get<MetadataServer>(got->source).assumed);

  dir_.file(".config/gcloud/application_default_credentials.json", user_json());
  got = load(env);
  ASSERT_TRUE(got);
  EXPECT_EQ(std::get<AuthorizedUser>(got->source).client_id, "cid");

  env.application_credentials = dir_.file("sa.json", service_account_json());
  got = load(env);
  ASSERT_TRUE(got);
  EXPECT_TRUE(std::holds_alternative<ServiceAccount>(got->source));

  env.application_credentials = dir_.path() + "/missing.json";
  EXPECT_FALSE(load(env)) << "a named file that is missing ends the search";
}

TEST_F(LoadCredentials, AReadableButWrongGcloudFileIsAnError) {
  Environment env;
  env.home = dir_.path();
  dir_.file(".config/gcloud/application_default_credentials.json", "{");
  EXPECT_FALSE(load(env));
}

TEST_F(LoadCredentials, ErrorsNameTheFileAndTheTrouble) {
  struct Case {
    std::string text, part;
  };
  const Case cases[] = {
      {"", "not a JSON object"},
      {"not json", "not a JSON object"},
      {"{}", "no credential type"},
      {R"({"installed":{}})", "OAuth client, not a credential"},
      {R"({"type":"external_account"})", "credential type \"external_account\", which is not supported"},
      {R"({"type":"service_account"})", "lacks client_email or private_key"},
      {R"({"type":"service_account","client_email":"a@b","private_key":"x"})", "not an RSA key"},
      {R"({"type":"authorized_user","client_id":"c"})", "lacks client_id, client_secret or refresh_token"},
      {user_json(R"(,"universe_domain":"other.goog")"), "universe other.goog"},
      {std::string((1 << 20) + 1, ' '), "larger than 1 MiB"},
  };
  for (const Case& c : cases) {
    options_.credentials_file = dir_.file("c.json", c.text);
    const auto got = load();
    ASSERT_FALSE(got) << c.part;
    EXPECT_EQ(got.error().code, Errc::Config);
    EXPECT_THAT(got.error().what, HasSubstr(c.part));
    EXPECT_THAT(got.error().what, HasSubstr("c.json"));
  }
  options_.credentials_file = dir_.path() + "/missing.json";
  EXPECT_EQ(load().error().what,
            "config error: open " + options_.credentials_file + ": No such file or directory");
  options_.credentials_file = dir_.path();
  EXPECT_FALSE(load()) << "a folder";
}

TEST_F(LoadCredentials, ARefreshTokenIsSentToGoogleOrToThisMachineOnly) {
  const std::pair<const char*, std::string_view> cases[] = {
      {"https://evil.example.com/token", kDefaultTokenUrl},
      {"http://10.0.0.1/token", kDefaultTokenUrl},
      {"http://127.0.0.1.evil.com/token", kDefaultTokenUrl},
      {"http://127.0.0.1@evil.com/token", kDefaultTokenUrl},
      {"http://127.0.0.1:8080/token", "http://127.0.0.1:8080/token"},
      {"http://localhost:8080/token", "http://localhost:8080/token"},
  };
  for (const auto& [uri, expected] : cases) {
    options_.json_credentials = SecretText{user_json(std::string{",\"token_uri\":\""} + uri + "\"")};
    const auto got = load();
    ASSERT_TRUE(got);
    EXPECT_EQ(std::get<AuthorizedUser>(got->source).token_url, expected) << uri;
    EXPECT_EQ(got->description, "Authorizing with JSON credentials environment variable");
  }
}

TEST(RoleName, OfAPrincipal) {
  EXPECT_EQ(role_name("app@proj.iam.gserviceaccount.com"), "app@proj.iam");
  EXPECT_EQ(role_name("Alice@Example.com"), "alice@example.com");
  EXPECT_EQ(role_name(std::string(80, 'a')).size(), 63U);
}

class Tokens : public testing::Test {
 protected:
  Credentials from_json(std::string json) {
    CredentialOptions options;
    options.json_credentials = SecretText{std::move(json)};
    auto got = load_credentials(options, {});
    EXPECT_TRUE(got) << got.error().what;
    return std::move(*got);
  }
  Credentials metadata(bool assumed = false) { return {MetadataServer{"127.0.0.1:99", assumed}, {}, {}, {}}; }

  test::FakeClock clock_;
  FakeGoogle google_{clock_};
  test::FakeCaller caller_{google_, clock_};
};

std::string decode_base64url(std::string text) {
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  const std::size_t padding = (4 - text.size() % 4) % 4;
  text.append(padding, '=');
  std::string out(text.size(), '\0');
  const int n =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  EXPECT_GE(n, 0);
  out.resize(static_cast<std::size_t>(n) - padding);
  return out;
}

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
  ASSERT_TRUE(cache.get(Scope::Admin, caller_.caller));
  cache.distrust(Scope::Admin);
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-2");
  EXPECT_EQ((*cache.get(Scope::Admin, caller_.caller))->text.view(), "admin-2");
}

}  // namespace
}  // namespace sidepool::cloudsql
