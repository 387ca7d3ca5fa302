// Google's JSON, hostile JSON, text forms and remedies.
#include "src/cloudsql/json_text.h"

#include <gtest/gtest.h>

#include "src/cloudsql/call.h"
#include "src/cloudsql/encode.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;

TEST(Encode, Forms) {
  EXPECT_EQ(percent_encode("google.com:my-proj"), "google.com%3Amy-proj");
  EXPECT_EQ(percent_encode("a b/\xc3\xa9~_"), "a%20b%2F%C3%A9~_");
  EXPECT_EQ(form_encode({{"grant_type", "urn:x"}, {"a", "b&c=d"}}).view(), "grant_type=urn%3Ax&a=b%26c%3Dd");
  EXPECT_EQ(basic_auth("Aladdin", "open sesame").view(),
            "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");  // RFC 7617 §2
  EXPECT_EQ(base64url(""), "");
  EXPECT_EQ(base64url("f"), "Zg");
  EXPECT_EQ(base64url("fo"), "Zm8");
  EXPECT_EQ(base64url("foo"), "Zm9v");
  EXPECT_EQ(base64url("\xfb\xff\xfe"), "-__-");
  EXPECT_EQ(base64url("foobar"), "Zm9vYmFy");
  EXPECT_EQ(one_line("a\nb\tc\n", 10), "a b c");
  EXPECT_EQ(one_line("abc\xc3\xa9", 4), "abc...");
}

TEST(ConnectSettings, FieldsAreRead) {
  const auto s = read_connect_settings(R"({"kind":"sql#connectSettings","region":"us-central1",
    "backendType":"SECOND_GEN","databaseVersion":"POSTGRES_15",
    "ipAddresses":[{"type":"PRIMARY","ipAddress":"127.0.0.2"},{"type":"OUTGOING","ipAddress":"9.9.9.9"},
                   {"type":"PRIVATE","ipAddress":"10.0.0.2"},{"type":"PRIMARY","ipAddress":"127.0.0.3"}],
    "serverCaCert":{"cert":"PEM"},"mdxProtocolSupport":["OTHER",7,"CLIENT_PROTOCOL_TYPE"]})");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->region, "us-central1");
  EXPECT_EQ(s->backend_type, "SECOND_GEN");
  EXPECT_EQ(s->database_version, "POSTGRES_15");
  EXPECT_EQ(s->public_ip, "127.0.0.3") << "the last of a type";
  EXPECT_EQ(s->private_ip, "10.0.0.2");
  EXPECT_EQ(s->ca_bundle, "PEM");
  EXPECT_EQ(s->server_name, "");
  EXPECT_TRUE(s->mdx);
  EXPECT_FALSE(s->psc_enabled);
}

TEST(ConnectSettings, TheServerNameIsTheFirstDnsNameOfAnyType) {
  const auto s = read_connect_settings(R"({"dnsName":"legacy.goog.","dnsNames":[
    {"name":"first.sql.goog.","connectionType":"PUBLIC","dnsScope":"INSTANCE"},
    {"name":"z.sql-psc.goog.","connectionType":"PRIVATE_SERVICE_CONNECT","dnsScope":"INSTANCE"},
    {"name":"a.example.com","connectionType":"PRIVATE_SERVICE_CONNECT","dnsScope":"INSTANCE"},
    {"name":"b.sql-psc.goog","connectionType":"PRIVATE_SERVICE_CONNECT","dnsScope":"INSTANCE"},
    {"name":"c.sql-psc.goog","connectionType":"PRIVATE_SERVICE_CONNECT","dnsScope":"CLUSTER"},
    {"connectionType":"PRIVATE_SERVICE_CONNECT","dnsScope":"INSTANCE"}],"pscEnabled":true})");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->server_name, "first.sql.goog.");
  EXPECT_EQ(s->psc_names, (std::vector<std::string>{"b.sql-psc.goog", "z.sql-psc.goog", "a.example.com"}));
  const auto legacy = read_connect_settings(R"({"dnsName":"legacy.goog.","pscEnabled":true})");
  EXPECT_EQ(legacy->server_name, "legacy.goog.");
  EXPECT_EQ(legacy->psc_names, std::vector<std::string>{"legacy.goog"});
  const auto no_psc = read_connect_settings(R"({"dnsName":"legacy.goog."})");
  EXPECT_TRUE(no_psc->psc_names.empty()) << "an instance with a public CA has a DNS name too";
}

TEST(ConnectSettings, HostileBodies) {
  for (const char* body : {"", "null", "[]", "7", "{", "{\"region\":", "<html>", "\"x\""})
    EXPECT_FALSE(read_connect_settings(body)) << body;
  const auto odd = read_connect_settings(
      R"({"region":7,"ipAddresses":{"type":"PRIMARY"},"dnsNames":["x",null],"serverCaCert":"PEM","pscEnabled":"true",
          "mdxProtocolSupport":"CLIENT_PROTOCOL_TYPE"})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->region + odd->public_ip + odd->server_name + odd->ca_bundle, "");
  EXPECT_FALSE(odd->psc_enabled || odd->mdx);
  EXPECT_FALSE(read_connect_settings(std::string(100'000, '[')));
}

TEST(Certificates, RequestAndAnswer) {
  const SecretText token{std::string_view{"tok\"en"}};
  EXPECT_EQ(write_cert_request("PEM\n", &token).view(), R"({"access_token":"tok\"en","public_key":"PEM\n"})");
  EXPECT_EQ(write_cert_request("PEM\n", nullptr).view(), R"({"public_key":"PEM\n"})");
  EXPECT_EQ(read_ephemeral_cert(R"({"ephemeralCert":{"cert":"C"}})").value(), "C");
  EXPECT_FALSE(read_ephemeral_cert(R"({"ephemeralCert":{}})"));
  EXPECT_FALSE(read_ephemeral_cert("{}"));
  EXPECT_FALSE(read_ephemeral_cert("no"));
}

TEST(TokenReplies, AreChecked) {
  const auto good = read_token_reply(R"({"access_token":"t","expires_in":3599,"refresh_token":"r"})");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->access_token.view(), "t");
  EXPECT_EQ(good->expires_in, 3599s);
  EXPECT_EQ(good->refresh_token.view(), "r");
  for (const char* body :
       {"{}", "", R"({"access_token":"","expires_in":1})", R"({"access_token":"t"})",
        R"({"access_token":"t","expires_in":0})", R"({"access_token":"t","expires_in":-1})",
        R"({"access_token":7,"expires_in":1})", R"({"access_token":"t","expires_in":"9"})"})
    EXPECT_FALSE(read_token_reply(body)) << body;
  EXPECT_LE(read_token_reply(R"({"access_token":"t","expires_in":1e300})")->expires_in, 24h * 36500);
}

TEST(Errors, GooglesAndOauths) {
  const auto google = read_error(R"({"error":{"code":403,"message":"The client is not\nauthorized.","errors":[
    {"reason":"notAuthorized"},{"reason":"forbidden"}],"status":"PERMISSION_DENIED"}})");
  EXPECT_EQ(google.message, "The client is not authorized.");
  EXPECT_EQ(google.reason, "notAuthorized,forbidden");
  const auto disabled = read_error(R"({"error":{"message":"off","status":"PERMISSION_DENIED",
    "details":[{"reason":"SERVICE_DISABLED"}]}})");
  EXPECT_EQ(disabled.reason, "PERMISSION_DENIED");
  EXPECT_EQ(disabled.detail_reason, "SERVICE_DISABLED");
  const auto oauth = read_error(R"({"error":"invalid_grant","error_description":"Token has been revoked."})");
  EXPECT_EQ(oauth.reason, "invalid_grant");
  EXPECT_EQ(oauth.message, "Token has been revoked.");
  EXPECT_EQ(read_error("<html>").message, "");
  EXPECT_EQ(read_error(R"({"error":{"errors":[{"reason":"a b\n{}\""}]}})").reason, "a_b____")
      << "safe as a label";
}

TEST(ImpersonatedReply, Fields) {
  const auto reply = read_impersonated_reply(R"({"accessToken":"t","expireTime":"2026-01-01T00:00:00Z"})");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->access_token.view(), "t");
  EXPECT_EQ(reply->expires, std::chrono::sys_days{2026y / 1 / 1});
  EXPECT_FALSE(read_impersonated_reply(R"({"accessToken":"t","expireTime":"tomorrow"})"));
  EXPECT_FALSE(read_impersonated_reply(R"({"expireTime":"2026-01-01T00:00:00Z"})"));
  EXPECT_FALSE(read_impersonated_reply("[]"));
}

TEST(GcloudReply, Fields) {
  const auto reply = read_gcloud_reply(
      R"({"configuration":{"properties":{"core":{"account":"a@b.c"}}},
          "credential":{"access_token":"t","token_expiry":"2026-01-01T00:00:00Z"}})");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->access_token.view(), "t");
  EXPECT_EQ(reply->account, "a@b.c");
  EXPECT_EQ(reply->expires, std::chrono::sys_days{2026y / 1 / 1});
  for (const char* bad : {"", "{}", R"({"credential":1})", R"({"credential":{"access_token":"t"}})",
                          R"({"credential":{"token_expiry":"2026-01-01T00:00:00Z"}})"})
    EXPECT_FALSE(read_gcloud_reply(bad)) << bad;
}

TEST(Remedies, Table) {
  struct Case {
    Error error;
    std::string_view part;
  };
  const Case cases[] = {
      {{Errc::Api, 403, "x", "notAuthorized"}, "roles/cloudsql.client"},
      {{Errc::Api, 403, "x", "accessNotConfigured"}, "gcloud services enable"},
      {{Errc::Api, 403, "x", "SERVICE_DISABLED"}, "gcloud services enable"},
      {{Errc::Api, 403, "Request had insufficient authentication scopes.", "insufficientPermissions"},
       "access scope"},
      {{Errc::Api, 404, "x", "instanceDoesNotExist"}, "spelling"},
      {{Errc::Api, 429, "x", "rateLimitExceeded"}, "quota"},
      {{Errc::Api, 401, "x", "authError"}, "--token"},
      {{Errc::Auth, 400, "x", "invalid_grant"}, "gcloud auth application-default login"},
      {{Errc::Auth, 0, "x", "no_credentials"}, "--credentials-file"},
      {{Errc::Auth, 403, "Permission 'iam.serviceAccounts.getAccessToken' denied on resource", "forbidden"},
       "roles/iam.serviceAccountTokenCreator"},
      {{Errc::Auth, 404, "Not found; Gaia id not found for email x", "notFound"}, "impersonate"},
      {{Errc::Io, 0, "x", "resolve"}, "DNS"},
      {{Errc::Timeout, 0, "x", "timeout"}, "HTTPS_PROXY"},
      {{Errc::Api, 0, "x", "region_mismatch"}, "region"},
  };
  for (const Case& c : cases) EXPECT_NE(remedy(c.error).find(c.part), std::string::npos) << c.error.reason;
  for (const int status : {500, 502, 503})
    EXPECT_NE(remedy({Errc::Api, status, "x", "backendError"}).find("goes on trying"), std::string::npos);
  for (const int status : {204, 302})
    EXPECT_NE(remedy({Errc::Api, status, "x", "http"}).find("endpoint"), std::string::npos);
  for (const char* reason : {"malformed", "too_large", "transport"})
    EXPECT_NE(remedy({Errc::Api, 0, "x", reason}).find("HTTPS_PROXY"), std::string::npos) << reason;
  EXPECT_EQ(remedy({Errc::Io, 111, "x", "refused"}), "");
  EXPECT_EQ(remedy({Errc::Auth, 404, "x", "http_404"}), "") << "not an instance that is missing";
}

}  // namespace
}  // namespace sidepool::cloudsql
