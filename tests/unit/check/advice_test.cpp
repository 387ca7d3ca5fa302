// tests/unit/check/advice_test.cpp -- which check an error fails, and the remedy that its reader gets.
#include "src/check/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "src/cloudsql/call.h"

namespace sidepool::check {
namespace {

using testing::HasSubstr;
using testing::Not;

Error api(int status, std::string reason, std::string what = "googleapi: Error") {
  return {Errc::Api, status, std::move(what), std::move(reason)};
}

TEST(ApiAdvice, EachErrorFailsOneCheck) {
  struct Case {
    Error error;
    Subject subject;
    const char* remedy;
  };
  const std::vector<Case> cases{
      {{Errc::Io, 0, "no answer", "connect"}, Subject::Api, "HTTPS_PROXY"},
      {{Errc::Io, 0, "no answer", "resolve"}, Subject::Api, "Private Google Access"},
      {{Errc::Timeout, 0, "no answer", "timeout"}, Subject::Api, "firewall"},
      {api(0, "connect"), Subject::Api, "firewall"},
      {api(0, "transport"), Subject::Api, ""},
      {api(403, "SERVICE_DISABLED"), Subject::Api, "gcloud services enable sqladmin.googleapis.com"},
      {api(403, "accessNotConfigured"), Subject::Api, "gcloud services enable"},
      {api(429, "rateLimitExceeded"), Subject::Api, "quota"},
      {api(503, "backendError"), Subject::Api, ""},
      {api(401, "authError"), Subject::Scopes, "expired"},
      {api(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), Subject::Scopes, "scope cloud-platform"},
      {api(403, "insufficientPermissions", "Request had insufficient authentication scopes."),
       Subject::Scopes, "scope cloud-platform"},
      {api(403, "notAuthorized"), Subject::Roles, "roles/cloudsql.client"},
      {api(403, "NOT_AUTHORIZED"), Subject::Roles, "roles/cloudsql.instanceUser"},
      {api(404, "instanceDoesNotExist"), Subject::Instance, "spelling"},
      {api(409, "operationInProgress"), Subject::Instance, "stopped"},
      {api(0, "region_mismatch"), Subject::Instance, "region"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(title(subject_of(c.error)), title(c.subject)) << c.error.sys << c.error.reason;
    EXPECT_THAT(remedy_of_api(c.error), HasSubstr(c.remedy)) << c.error.sys << c.error.reason;
    EXPECT_FALSE(remedy_of_api(c.error).ends_with('.'));
  }
}

TEST(ApiAdvice, ARefusalMayMeanThatThereIsNoSuchInstance) {
  EXPECT_THAT(remedy_of_api(api(403, "notAuthorized")), HasSubstr("no such instance"));
  EXPECT_THAT(remedy_of_api(api(404, "instanceDoesNotExist")), Not(HasSubstr("no such instance")));
}

TEST(RouteAdvice, DependsOnWhatTheAddressIs) {
  const Error late{Errc::Timeout, ETIMEDOUT, "no answer", "timeout"};
  EXPECT_THAT(remedy_of_route(late, Reach::PublicIp), HasSubstr("--private-ip"));
  EXPECT_THAT(remedy_of_route(late, Reach::PrivateIp), HasSubstr("VPC"));
  EXPECT_THAT(remedy_of_route(late, Reach::Psc), HasSubstr("Private Service Connect"));
  EXPECT_THAT(remedy_of_route(late, Reach::Host), Not(HasSubstr("3307")));
  const Error refused{Errc::Io, ECONNREFUSED, "refused", "refused"};
  EXPECT_THAT(remedy_of_route(refused, Reach::PublicIp), HasSubstr("instance runs"));
  EXPECT_THAT(remedy_of_route(refused, Reach::Host), HasSubstr("database runs"));
  const Error proxy{Errc::Io, ECONNREFUSED, "refused", "proxy"};
  EXPECT_THAT(remedy_of_route(proxy, Reach::PublicIp), HasSubstr("ALL_PROXY"));
  const Error dns{Errc::Io, 0, "unknown", "dns"};
  EXPECT_THAT(remedy_of_route(dns, Reach::Psc), HasSubstr("DNS record"));
  EXPECT_THAT(remedy_of_route(dns, Reach::Host), HasSubstr("host name"));
  const Error no_file{Errc::Io, ENOENT, "no file", "no_file"};
  EXPECT_THAT(remedy_of_route(no_file, Reach::Host), HasSubstr("socket"));
}

TEST(TlsAdvice, AHostListHasItsOwnFilesToCorrect) {
  const Error certificate{Errc::Tls, 0, "refused", "certificate"};
  EXPECT_THAT(remedy_of_tls(certificate, false), HasSubstr("tls.ca_file"));
  EXPECT_THAT(remedy_of_tls(certificate, true), Not(HasSubstr("tls.ca_file")));
  const Error client{Errc::Tls, 0, "refused", "client_certificate"};
  EXPECT_THAT(remedy_of_tls(client, false), HasSubstr("tls.cert_file"));
  EXPECT_THAT(remedy_of_tls(client, true), HasSubstr("clock"));
  EXPECT_THAT(remedy_of_tls({Errc::Tls, 0, "no", "tls_refused"}, false), HasSubstr("tls.mode"));
  EXPECT_FALSE(remedy_of_tls({Errc::Io, 0, "no", "closed"}, true).empty());
}

TEST(LoginAdvice, BySqlstate) {
  for (const auto& [state, word] :
       std::vector<std::pair<std::string, std::string>>{{"28P01", "PGPASSWORD"},
                                                        {"28000", "pg_hba.conf"},
                                                        {"3D000", "PGDATABASE"},
                                                        {"42501", "CONNECT"},
                                                        {"53300", "max_connections"},
                                                        {"57P03", "started"}}) {
    EXPECT_THAT(remedy_of_login({.user = "alice", .sqlstate = state, .reason = "server"}), HasSubstr(word));
  }
  EXPECT_EQ(remedy_of_login({.user = "alice", .sqlstate = "XX000", .reason = "server"}), "");
}

TEST(LoginAdvice, WithIamTheRoleIsThePrincipals) {
  LoginFacts f{.user = "bob@p.iam", .reason = "no_password", .iam = true, .role = "app@p.iam"};
  EXPECT_THAT(remedy_of_login(f), HasSubstr("Log in as \"app@p.iam\""));
  f.user = f.role;
  EXPECT_THAT(remedy_of_login(f), HasSubstr("roles/cloudsql.instanceUser"));
  f = {.user = "app@p.iam", .sqlstate = "28P01", .reason = "server", .iam = true, .role = "app@p.iam"};
  EXPECT_THAT(remedy_of_login(f), HasSubstr("cloudsql.iam_authentication=on"));
  f.user = "alice";  // an ordinary user of the same instance
  EXPECT_THAT(remedy_of_login(f), HasSubstr("PGPASSWORD"));
}

TEST(LoginAdvice, WithoutAPassword) {
  EXPECT_EQ(remedy_of_login({.user = "alice", .reason = "no_password"}), "Set PGPASSWORD");
  EXPECT_THAT(remedy_of_login({.user = "alice", .reason = "cleartext"}), HasSubstr("verify-full"));
  EXPECT_THAT(remedy_of_login({.user = "alice", .reason = "auth_method"}), HasSubstr("scram-sha-256"));
  EXPECT_THAT(remedy_of_login({.user = "alice", .reason = "server_signature"}), HasSubstr("address"));
}

}  // namespace
}  // namespace sidepool::check
