// External accounts and impersonation: subject tokens from everywhere, the exchange, and acting as another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "src/cloudsql/subject_token.h"
#include "tests/unit/cloudsql/token_fixture.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::external_json;
using test::FakeGoogle;
using test::impersonation_url;
using test::service_account_json;
using test::user_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class External : public test::Tokens {
 protected:
  // The subject token as it arrives at the STS; an error's text if there is none.
  std::string subject(const std::string& source, const Environment& env = {}) {
    auto credentials = load(external_json(source), env);
    const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
    if (!token) return token.error().error.what;
    const std::string body = google_.calls().back().body;
    const std::size_t at = body.find("subject_token=") + 14;
    return body.substr(at, body.find('&', at) - at);
  }
  Credentials load(const std::string& json, const Environment& env = {}) {
    CredentialOptions options;
    options.json_credentials = SecretText{std::string_view{json}};
    auto got = load_credentials(options, env);
    EXPECT_TRUE(got) << got.error().what;
    return std::move(*got);
  }
  std::string file_source(const std::string& name, const std::string& text, const std::string& more = "") {
    return R"({"file":")" + dir_.file(name, text) + "\"" + more + "}";
  }
  test::TempDir dir_;
};

TEST_F(External, TheExchangeIsExact) {
  auto credentials =
      load(external_json(file_source("t", "k8s token\n"), R"(,"client_id":"cid","client_secret":"cs")"));
  const auto token = fetch_token(credentials, Scope::Login, caller_.caller);
  ASSERT_TRUE(token) << token.error().error.what;
  EXPECT_EQ(token->text.view(), "login-1");
  EXPECT_EQ(token->expires, clock_.now().wall + 7200s);
  const Call call = google_.calls().at(0);
  EXPECT_EQ(call.url, "http://127.0.0.1:9/sts/v1/token");
  EXPECT_TRUE(call.header("Authorization: Basic Y2lkOmNz"));
  EXPECT_EQ(
      call.body,
      "audience=%2F%2Fiam.googleapis.com%2Fprojects%2F1%2Flocations%2Fglobal%2FworkloadIdentityPools%2Fp"
      "%2Fproviders%2Fx"
      "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"
      "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
      "&scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fsqlservice.login"
      "&subject_token=k8s%20token"
      "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt");
}

TEST_F(External, AWorkforcePoolNamesWhoPays) {
  const auto json = [this](const std::string& extra) {
    return R"({"type":"external_account","audience":"//iam.googleapis.com/locations/global/workforcePools/p/providers/x",
      "subject_token_type":"t","token_url":"http://127.0.0.1:9/token","workforce_pool_user_project":"payer",
      "credential_source":)" +
           file_source("t", "x") + extra + "}";
  };
  auto credentials = load(json(""));
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_THAT(google_.calls().back().body, HasSubstr("&options=%7B%22userProject%22%3A%22payer%22%7D"));
  credentials = load(json(R"(,"client_id":"c")"));
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_THAT(google_.calls().back().body, Not(HasSubstr("options=")));
}

TEST_F(External, FilesAreReadAtEachExchange) {
  const std::string source = file_source("t", "one");
  EXPECT_EQ(subject(source), "one");
  dir_.file("t", "  two \r\n");
  EXPECT_EQ(subject(source), "two");
  EXPECT_EQ(subject(file_source("j", R"({"a":"b","tok":"three"})",
                                R"(,"format":{"type":"json","subject_token_field_name":"tok"})")),
            "three");
  EXPECT_THAT(subject(file_source("j", R"({"tok":5})",
                                  R"(,"format":{"type":"json","subject_token_field_name":"tok"})")),
              HasSubstr("has no string \"tok\""));
  EXPECT_THAT(subject(file_source("e", " \n")), HasSubstr("is empty"));
  EXPECT_THAT(subject(R"({"file":"/nonexistent/token"})"),
              HasSubstr("open /nonexistent/token: No such file or directory"));
  EXPECT_THAT(subject(R"({"file":"/dev/zero"})"), HasSubstr("is not a regular file"));
  EXPECT_THAT(subject(file_source("big", std::string((1 << 20) + 1, 'x'))), HasSubstr("larger than 1 MiB"));
}

TEST_F(External, UrlsAreAskedWithTheirHeaders) {
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url != "http://169.254.169.254/identity") return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::json(R"({"access_token":"azure"})")};
  });
  EXPECT_EQ(subject(R"({"url":"http://169.254.169.254/identity","headers":{"Metadata":"True"},
                        "format":{"type":"json","subject_token_field_name":"access_token"}})"),
            "azure");
  EXPECT_TRUE(google_.calls().at(0).header("Metadata: True"));
  google_.set_fault([](const Call&) { return Result<HttpResponse>{FakeGoogle::json("s3cret", 403)}; });
  const std::string error = subject(R"({"url":"http://169.254.169.254/identity"})");
  EXPECT_THAT(error, HasSubstr("cannot fetch the subject token: credential source: Error 403"));
  EXPECT_THAT(error, Not(HasSubstr("s3cret")));
}

class Executable : public External {
 protected:
  std::string reply(const std::string& members) const {
    return R"({"version":1,"success":true,)" + members + "}";
  }
  std::string jwt(const std::string& token, std::chrono::seconds from_now = 600s) const {
    const auto at = std::chrono::floor<std::chrono::seconds>(clock_.now().wall) + from_now;
    return reply(R"("token_type":"urn:ietf:params:oauth:token-type:jwt","expiration_time":)" +
                 std::to_string(at.time_since_epoch().count()) + R"(,"id_token":")" + token + "\"");
  }
  void prints(std::string text, int exit_code = 0) {
    caller_.on_run = [text = std::move(text), exit_code](const Command&) -> Result<CommandOutput> {
      return CommandOutput{exit_code, SecretText{std::string_view{text}}, "on stderr"};
    };
  }
  static Environment allowed() {
    Environment env;
    env.allow_executables = true;
    return env;
  }
  std::string source(const std::string& more = "") const {
    return R"({"executable":{"command":"/bin/idp  --for gcp")" + more + "}}";
  }
};

TEST_F(Executable, IsRunWithWhatItNeedsToKnow) {
  prints(jwt("tok"));
  auto credentials =
      load(external_json(source(R"(,"timeout_millis":5000)"),
                         R"(,"service_account_impersonation_url":")" + impersonation_url() + "\""),
           allowed());
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  const Command& command = caller_.commands.at(0);
  EXPECT_THAT(command.argv, ElementsAre("/bin/idp", "--for", "gcp"));
  EXPECT_EQ(command.timeout, 5s);
  EXPECT_THAT(command.env,
              ElementsAre("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE=//iam.googleapis.com/projects/1/locations/global/"
                          "workloadIdentityPools/p/providers/x",
                          "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE=urn:ietf:params:oauth:token-type:jwt",
                          "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0",
                          "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL=target@proj.iam.gserviceaccount.com"));
}

TEST_F(Executable, MustBeAllowed) {
  prints(jwt("tok"));
  EXPECT_THAT(subject(source()), HasSubstr("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"));
  EXPECT_TRUE(caller_.commands.empty());
  EXPECT_EQ(subject(source(), allowed()), "tok");
}

TEST_F(Executable, RepliesAreCheckedAndNeverQuoted) {
  const std::pair<std::string, const char*> cases[] = {
      {"s3cret", "not a JSON object"},
      {R"({"success":true,"id_token":"s3cret"})", "no \"version\""},
      {R"({"version":1,"id_token":"s3cret"})", "no \"success\""},
      {R"({"version":2,"success":true})", "version is not 1"},
      {R"({"version":1,"success":false,"code":"401","message":"Caller not authorized."})",
       "401: Caller not authorized."},
      {reply(R"("id_token":"s3cret")"), "token_type"},
      {reply(R"("token_type":"urn:ietf:params:oauth:token-type:jwt","saml_response":"s3cret")"), "no token"},
      {jwt("s3cret", -1s), "expired"},
  };
  for (const auto& [text, part] : cases) {
    prints(text);
    const std::string error = subject(source(), allowed());
    EXPECT_THAT(error, HasSubstr(part));
    EXPECT_THAT(error, Not(HasSubstr("s3cret")));
  }
  prints(jwt("s3cret"), 7);
  EXPECT_THAT(subject(source(), allowed()), HasSubstr("failed with exit code 7"));
  caller_.on_run = nullptr;
  EXPECT_THAT(subject(source(), allowed()), HasSubstr("nothing runs here"));
  prints(reply(R"("token_type":"urn:ietf:params:oauth:token-type:saml2","saml_response":"saml")") + "\n");
  EXPECT_EQ(subject(source(), allowed()), "saml");
}

TEST_F(Executable, AKeptTokenSavesTheRun) {
  const std::string kept = dir_.path() + "/kept.json";
  const std::string from = source(R"(,"output_file":")" + kept + "\"");
  prints(jwt("fresh"));
  EXPECT_EQ(subject(from, allowed()), "fresh") << "there is no file yet";
  EXPECT_THAT(caller_.commands.at(0).env, testing::Contains("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE=" + kept));
  dir_.file("kept.json", jwt("kept"));
  EXPECT_EQ(subject(from, allowed()), "kept");
  EXPECT_EQ(caller_.commands.size(), 1U);
  for (const std::string& text :
       {jwt("old", -1s), std::string{R"({"version":1,"success":false,"code":"1","message":"m"})"},
        std::string{}}) {
    dir_.file("kept.json", text);
    EXPECT_EQ(subject(from, allowed()), "fresh");
  }
  dir_.file("kept.json", "{");
  EXPECT_THAT(subject(from, allowed()), HasSubstr("output file " + kept + " is malformed"));
  dir_.file("kept.json", "");
  prints(reply(R"("token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"x")"));
  EXPECT_THAT(subject(from, allowed()), HasSubstr("expiration_time")) << "it could not be kept";
}

class Impersonation : public External {};

TEST_F(Impersonation, TheSourcesTokenBuysTheTargets) {
  auto credentials =
      load(R"({"type":"impersonated_service_account","delegates":["projects/-/serviceAccounts/m@p"],
    "service_account_impersonation_url":")" +
           impersonation_url() + R"(","source_credentials":)" +
           service_account_json(R"(,"token_uri":"http://127.0.0.1:9/token")") + "}");
  const auto admin = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_TRUE(admin) << admin.error().error.what;
  const auto login = fetch_token(credentials, Scope::Login, caller_.caller);
  ASSERT_TRUE(login) << login.error().error.what;
  EXPECT_EQ(admin->text.view(), "as-admin-2");
  EXPECT_EQ(login->text.view(), "as-login-3");
  EXPECT_EQ(login->expires, std::chrono::floor<std::chrono::seconds>(clock_.now().wall + 7200s));
  const auto calls = google_.calls();
  ASSERT_EQ(calls.size(), 3U) << "the source's token is good for both";
  EXPECT_EQ(calls[1].url, impersonation_url());
  const std::size_t claims = calls[0].body.find('.') + 1;
  EXPECT_THAT(test::decode_base64url(calls[0].body.substr(claims, calls[0].body.find('.', claims) - claims)),
              HasSubstr(R"("scope":"https://www.googleapis.com/auth/cloud-platform")"));
  EXPECT_EQ(calls[1].bearer, "admin-1") << "the fake cannot see the scope";
  EXPECT_TRUE(calls[1].header("Content-Type: application/json"));
  EXPECT_EQ(calls[1].body, R"({"delegates":["projects/-/serviceAccounts/m@p"],"lifetime":"3600s",)"
                           R"("scope":["https://www.googleapis.com/auth/sqlservice.admin"]})");
  EXPECT_THAT(calls[2].body, HasSubstr(R"("scope":["https://www.googleapis.com/auth/sqlservice.login"])"));
}

TEST_F(Impersonation, OfAnExternalAccountHasItsOwnLifetime) {
  auto credentials = load(external_json(file_source("t", "x"),
                                        R"(,"service_account_impersonation":{"token_lifetime_seconds":1800},
           "service_account_impersonation_url":")" +
                                            impersonation_url() + "\""));
  ASSERT_TRUE(fetch_token(credentials, Scope::Login, caller_.caller));
  const auto calls = google_.calls();
  EXPECT_THAT(calls.at(0).body, HasSubstr("scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"));
  EXPECT_EQ(calls.at(1).bearer, "platform-1");
  EXPECT_EQ(calls.at(1).body,
            R"({"lifetime":"1800s","scope":["https://www.googleapis.com/auth/sqlservice.login"]})");
}

TEST_F(Impersonation, AStaleSourceTokenIsReplaced) {
  google_.set_life(1h, 1h);
  auto credentials = load(external_json(
      file_source("t", "x"), R"(,"service_account_impersonation_url":")" + impersonation_url() + "\""));
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  clock_.pass(54min);
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.count("/sts/"), 1U);
  clock_.pass(1min);
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.count("/sts/"), 2U);
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find(":generateAccessToken") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(401, "authError")};
  });
  ASSERT_FALSE(fetch_token(credentials, Scope::Admin, caller_.caller));
  google_.set_fault(nullptr);
  ASSERT_TRUE(fetch_token(credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.count("/sts/"), 3U) << "a refused one is not used again";
}

TEST_F(Impersonation, OfATokenGivenByFlagMintsItsOwnLoginToken) {
  CredentialOptions options;
  options.token = SecretText{std::string_view{"T"}};
  options.login_token = SecretText{std::string_view{"L"}};
  options.impersonate = {"target@proj.iam.gserviceaccount.com"};
  auto credentials = load_credentials(options, {});
  ASSERT_TRUE(credentials);
  const auto token = fetch_token(*credentials, Scope::Login, caller_.caller);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->text.view(), "as-login-1");
  EXPECT_EQ(google_.calls().at(0).bearer, "T");
}

TEST_F(Impersonation, ARefusalSaysWhoRefused) {
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find(":generateAccessToken") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(
        403, "forbidden", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource")};
  });
  auto credentials = load(external_json(
      file_source("t", "x"), R"(,"service_account_impersonation_url":")" + impersonation_url() + "\""));
  const auto token = fetch_token(credentials, Scope::Admin, caller_.caller);
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().error.what,
            "cannot impersonate the service account: IAM Credentials: Error 403: Permission "
            "'iam.serviceAccounts.getAccessToken' denied on resource, forbidden");
  EXPECT_THAT(std::string{remedy(token.error().error)}, HasSubstr("roles/iam.serviceAccountTokenCreator"));
}

}  // namespace
}  // namespace sidepool::cloudsql
