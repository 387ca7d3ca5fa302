// Where credentials are found, what each type of file needs, and where its secrets may go.
#include "src/cloudsql/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <thread>

#include "src/cloudsql/principal.h"
#include "tests/unit/cloudsql/credential_texts.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::external_json;
using test::impersonation_url;
using test::service_account_json;
using test::user_json;
using testing::ElementsAre;
using testing::HasSubstr;

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
      {R"({"type":"nonsense"})", "the unknown credential type \"nonsense\""},
      {R"({"type":"gdch_service_account"})", "cannot be used with Cloud SQL"},
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

// The places where a file of each type may send secrets.
TEST_F(LoadCredentials, SecretsTravelInClearTextOnThisMachineOnly) {
  const auto with = [](const char* key, const std::string& url) {
    return ",\"" + std::string{key} + "\":\"" + url + "\"";
  };
  const std::string impersonate = "http://10.0.0.1/v1/projects/-/serviceAccounts/a@b:generateAccessToken";
  const std::string user = R"("client_id":"c","client_secret":"s","refresh_token":"r")";
  const std::pair<std::string, const char*> cases[] = {
      {service_account_json(with("token_uri", "http://10.0.0.1/token")), "token_uri"},
      {service_account_json(with("token_uri", "ftp://127.0.0.1/token")), "token_uri"},
      {service_account_json(with("token_uri", "nonsense")), "token_uri"},
      {R"({"type":"external_account_authorized_user",)" + user + with("token_url", "http://10.0.0.1/") + "}",
       "token_url"},
      {R"({"type":"external_account","audience":"a","subject_token_type":"t","credential_source":{"file":"f"})" +
           with("token_url", "http://sts.googleapis.com/v1/token") + "}",
       "token_url"},
      {external_json(R"({"file":"f"})", with("service_account_impersonation_url", impersonate)),
       "service_account_impersonation_url"},
      {R"({"type":"impersonated_service_account","source_credentials":)" + user_json() +
           with("service_account_impersonation_url", impersonate) + "}",
       "service_account_impersonation_url"},
      {external_json(R"({"url":"http://10.0.0.1/"})"), "credential_source url"},
      {external_json(R"({"environment_id":"aws1","region_url":"http://10.0.0.1/"})"), "AWS metadata URL"},
      {external_json(R"({"environment_id":"aws1","url":"http://10.0.0.1/"})"), "AWS metadata URL"},
      {external_json(R"({"environment_id":"aws1","imdsv2_session_token_url":"http://10.0.0.1/"})"),
       "AWS metadata URL"},
  };
  for (const auto& [text, part] : cases) {
    options_.json_credentials = SecretText{std::string_view{text}};
    const auto got = load();
    ASSERT_FALSE(got) << text;
    EXPECT_THAT(got.error().what, HasSubstr(part));
  }
  for (const char* url : {"https://idp.example.com/x", "http://127.0.0.1:1/x", "http://169.254.169.254/x",
                          "http://[fd00:ec2::254]/x"}) {
    options_.json_credentials = SecretText{external_json(R"({"url":")" + std::string{url} + "\"}")};
    EXPECT_TRUE(load()) << url;
  }
}

TEST_F(LoadCredentials, ExternalAccountsNeedTheirParts) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"type":"external_account"})", "lacks audience, subject_token_type or credential_source"},
      {external_json("{}"), "neither file, url, executable, certificate nor AWS"},
      {external_json("[]"), "lacks"},
      {external_json(R"({"environment_id":"aws2"})"), "aws1 is known"},
      {external_json(R"({"certificate":{}})"), "needs either certificate_config_location or"},
      {external_json(
           R"({"certificate":{"use_default_certificate_config":true,"certificate_config_location":"c"}})"),
       "needs either certificate_config_location or"},
      {external_json(R"({"executable":{"command":" "}})"), "without a command"},
      {external_json(R"({"executable":{"command":"x","timeout_millis":4999}})"), "timeout_millis"},
      {external_json(R"({"executable":{"command":"x","timeout_millis":120001}})"), "timeout_millis"},
      {external_json(R"({"file":"f","format":{"type":"xml"}})"), "format \"xml\""},
      {external_json(R"({"file":"f","format":{"type":"json"}})"), "subject_token_field_name"},
      {external_json(R"({"url":"https://a/","headers":{"A B":"c"}})"), "header"},
      {external_json(R"({"file":"f"})", R"(,"workforce_pool_user_project":"p")"), "workforce"},
      {external_json(
           R"({"file":"f"})",
           R"(,"service_account_impersonation":{"token_lifetime_seconds":43201},)"
           R"("service_account_impersonation_url":"https://a/serviceAccounts/b@c:generateAccessToken")"),
       "token_lifetime_seconds"},
      {R"({"type":"impersonated_service_account"})", "lacks source_credentials"},
      {R"({"type":"external_account_authorized_user"})", "lacks client_id"},
  };
  for (const auto& [text, part] : cases) {
    options_.json_credentials = SecretText{std::string_view{text}};
    const auto got = load();
    ASSERT_FALSE(got) << text;
    EXPECT_THAT(got.error().what, HasSubstr(part)) << text;
  }
}

TEST_F(LoadCredentials, SourcesInSourcesEndSomewhere) {
  const std::string head = R"({"type":"impersonated_service_account","service_account_impersonation_url":")" +
                           impersonation_url() + R"(","source_credentials":)";
  std::string text = user_json();
  for (int i = 0; i < 4; ++i) text = head + text + "}";
  options_.json_credentials = SecretText{std::string_view{text}};
  EXPECT_TRUE(load());
  options_.json_credentials = SecretText{head + text + "}"};
  const auto got = load();
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().what, HasSubstr("nested too deeply"));
}

TEST_F(LoadCredentials, TheServiceAccountThatIsActedAsIsThePrincipal) {
  options_.json_credentials =
      SecretText{R"({"type":"impersonated_service_account","delegates":["projects/-/serviceAccounts/m@p"],)"
                 R"("quota_project_id":"q","service_account_impersonation_url":")" +
                 impersonation_url() + R"(","source_credentials":)" + user_json() + "}"};
  auto got = load();
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->principal, "target@proj.iam.gserviceaccount.com");
  EXPECT_EQ(got->quota_project, "q");
  EXPECT_THAT(std::get<Impersonated>(got->source).delegates, ElementsAre("projects/-/serviceAccounts/m@p"));

  options_.json_credentials = SecretText{external_json(
      R"({"file":"f"})", R"(,"service_account_impersonation_url":")" + impersonation_url() + "\"")};
  got = load();
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->principal, "target@proj.iam.gserviceaccount.com");
}

TEST_F(LoadCredentials, TheFlagsChainRunsFromItsEndToItsHead) {
  options_.impersonate = {"a@p.iam.gserviceaccount.com", "b@p.iam.gserviceaccount.com",
                          "c@p.iam.gserviceaccount.com"};
  options_.credentials_file = dir_.file("sa.json", service_account_json(R"(,"quota_project_id":"q")"));
  auto got = load();
  ASSERT_TRUE(got) << got.error().what;
  const auto& target = std::get<Impersonated>(got->source);
  EXPECT_EQ(target.url,
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com"
            ":generateAccessToken");
  EXPECT_THAT(target.delegates, ElementsAre("projects/-/serviceAccounts/c@p.iam.gserviceaccount.com",
                                            "projects/-/serviceAccounts/b@p.iam.gserviceaccount.com"));
  EXPECT_TRUE(std::holds_alternative<ServiceAccount>(target.source->source));
  EXPECT_EQ(got->principal, "a@p.iam.gserviceaccount.com");
  EXPECT_EQ(got->quota_project, "q");
  EXPECT_EQ(got->watched, options_.credentials_file);
  Environment env;
  env.iam_credentials_endpoint = "http://127.0.0.1:9";
  EXPECT_THAT(std::get<Impersonated>(load(env)->source).url,
              testing::StartsWith("http://127.0.0.1:9/v1/projects"));
  env.iam_credentials_endpoint = "http://10.0.0.1/";
  EXPECT_FALSE(load(env));
  for (const char* bad : {"", "a b@c", "a@b/c", "a@b?c", "a@b#c", "../x"}) {
    options_.impersonate = {bad};
    EXPECT_FALSE(load()) << bad;
  }
}

// §5.1: the texts that operators look for.
TEST_F(LoadCredentials, TheLogSaysWhatAuthorizes) {
  dir_.file("bin/gcloud", "#!/bin/sh\n");
  ::chmod((dir_.path() + "/bin/gcloud").c_str(), 0700);
  Environment env;
  env.path = dir_.path() + "/bin";
  const std::string file = dir_.file("sa.json", service_account_json());
  const auto text = [&](const std::function<void(CredentialOptions&)>& set, bool impersonate) {
    options_ = {};
    set(options_);
    if (impersonate) options_.impersonate = {"a@b"};
    const auto got = load(env);
    return got ? got->description : got.error().what;
  };
  const std::pair<std::function<void(CredentialOptions&)>, std::string> cases[] = {
      {[](auto& o) { o.token = SecretText{std::string_view{"t"}}; }, "OAuth2 token"},
      {[&](auto& o) { o.credentials_file = file; }, "the credentials file at \"" + file + "\""},
      {[](auto& o) { o.json_credentials = SecretText{service_account_json()}; },
       "JSON credentials environment variable"},
      {[](auto& o) { o.gcloud = true; }, "gcloud user credentials"},
      {[](auto&) {}, "Application Default Credentials"},
  };
  for (const auto& [set, with] : cases) {
    EXPECT_EQ(text(set, false), "Authorizing with " + with);
    EXPECT_EQ(text(set, true), "Impersonating service account with " + with);
  }
  env.path = "/nonexistent:.:";
  EXPECT_THAT(text(cases[3].first, false), HasSubstr("gcloud is not in PATH"));
}

TEST_F(LoadCredentials, TheUniverseIsTheFlagsOrTheEnvironments) {
  Environment env;
  EXPECT_EQ(universe_of(options_, env), "googleapis.com");
  env.universe_domain = "env.goog";
  EXPECT_EQ(universe_of(options_, env), "env.goog");
  options_.universe_domain = "flag.goog";
  EXPECT_EQ(universe_of(options_, env), "flag.goog");
  EXPECT_EQ(std::get<MetadataServer>(load(env)->source).universe, "flag.goog");
  options_.json_credentials = SecretText{std::string_view{
      R"({"type":"external_account","audience":"a","subject_token_type":"t","credential_source":{"file":"f"},)"
      R"("universe_domain":"flag.goog"})"}};
  EXPECT_EQ(std::get<ExternalAccount>(load(env)->source).token_url, "https://sts.flag.goog/v1/token");
  options_.universe_domain = "evil.com/x?";
  EXPECT_FALSE(load(env));
}

TEST_F(LoadCredentials, APipeIsReadOnceAndNotWatched) {
  const std::string pipe = dir_.path() + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer{[&pipe] { std::ofstream{pipe} << user_json(); }};
  options_.credentials_file = pipe;
  const auto got = load();
  writer.join();
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->watched, "");
}

TEST(ImpersonatedEmail, OfAnUrl) {
  EXPECT_EQ(impersonated_email("https://x/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken"), "a@b.c");
  EXPECT_EQ(impersonated_email("https://x/v1/projects/-/serviceAccounts/123:generateAccessToken"), "");
  EXPECT_EQ(impersonated_email("https://x/v1/projects/-/serviceAccounts/a@b.c:signJwt"), "");
  EXPECT_EQ(impersonated_email(""), "");
}

TEST(RoleName, OfAPrincipal) {
  EXPECT_EQ(role_name("app@proj.iam.gserviceaccount.com"), "app@proj.iam");
  EXPECT_EQ(role_name("Alice@Example.com"), "alice@example.com");
  EXPECT_EQ(role_name(std::string(80, 'a')).size(), 63U);
}

}  // namespace
}  // namespace sidepool::cloudsql
