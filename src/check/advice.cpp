// src/check/advice.cpp -- see the header.
#include "src/check/advice.h"

#include <algorithm>
#include <array>
#include <utility>

#include "src/cloudsql/call.h"

namespace sidepool::check {
namespace {

bool mentions(const Error& error, std::string_view word) {
  return error.reason.find(word) != std::string::npos || error.what.find(word) != std::string::npos;
}

// The reasons of HttpSend's errors (cloudsql/http.h), and whatever is not about Google at all.
bool no_answer(const Error& error) {
  constexpr std::array<std::string_view, 7> kReasons{"resolve", "connect",   "tls",      "timeout",
                                                     "stopped", "too_large", "transport"};
  if (error.code != Errc::Api && error.code != Errc::Auth) return true;
  return error.sys == 0 && std::find(kReasons.begin(), kReasons.end(), error.reason) != kReasons.end();
}

bool api_disabled(const Error& error) {
  return mentions(error, "SERVICE_DISABLED") || mentions(error, "accessNotConfigured");
}

bool scopes_missing(const Error& error) {
  return mentions(error, "ACCESS_TOKEN_SCOPE_INSUFFICIENT") ||
         mentions(error, "insufficient authentication scopes");
}

bool looks_like_iam(std::string_view user) { return user.find('@') != std::string_view::npos; }

std::string iam_login(const LoginFacts& f) {
  if (!f.role.empty() && f.user != f.role && looks_like_iam(f.user)) {
    return "Log in as \"" + f.role +
           "\": the database lets nobody but the credentials' own principal in without a password";
  }
  return "Create the role as an IAM user (gcloud sql users create " + f.user +
         " --type=cloud_iam_service_account, or cloud_iam_user for a person), set the database flag "
         "cloudsql.iam_authentication=on, and grant the principal roles/cloudsql.instanceUser";
}

// SQLSTATE -> remedy, for logins of every kind (PostgreSQL manual, appendix A).
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kBySqlstate = {{
    {"28P01", "Check PGUSER and PGPASSWORD: the role, its password, and whether the password has expired"},
    {"28000", "Check that the role exists and may log in, and the lines of pg_hba.conf"},
    {"3D000", "Set PGDATABASE to a database that exists"},
    {"42501", "Grant the role CONNECT on the database"},
    {"53300", "Raise max_connections of the database, or lower pool.size"},
    {"57P03", "Wait until the database has started"},
}};

}  // namespace

Subject subject_of(const Error& error) noexcept {
  if (no_answer(error)) return Subject::Api;
  if (api_disabled(error) || error.sys == 429 || error.sys >= 500) return Subject::Api;
  if (error.sys == 401 || scopes_missing(error)) return Subject::Scopes;
  if (error.sys == 403) return Subject::Roles;
  return Subject::Instance;
}

std::string remedy_of_api(const Error& error) {
  std::string out{cloudsql::remedy(error)};
  if (out.ends_with('.')) out.pop_back();
  // What the API says of an instance that is not there, so that nobody learns of names.
  if (subject_of(error) == Subject::Roles)
    out += ". The same answer is given when the project has no such instance";
  return out;
}

std::string_view remedy_of_route(const Error& error, Reach reach) noexcept {
  if (error.reason == "dns")
    return reach == Reach::Psc
               ? "Create the DNS record of the Private Service Connect endpoint in this network"
               : "Check the host name and the name server";
  if (error.reason == "proxy")
    return "Check ALL_PROXY and NO_PROXY, and that the proxy lets port 3307 through";
  if (error.reason == "refused")
    return reach == Reach::Host ? "Check that the database runs and listens at this address and port"
                                : "Check that the instance runs";
  if (error.reason == "permission") return "Check the local firewall and the rights of the socket file";
  if (error.reason == "no_file") return "Check the directory of the socket, and that the database runs";
  switch (reach) {
    case Reach::PublicIp:
      return "Allow outgoing TCP to port 3307 in firewalls and NAT; an instance that only this network "
             "reaches needs --private-ip";
    case Reach::PrivateIp:
      return "Run in the instance's VPC network, or give this workload access to it (Cloud Run: direct VPC "
             "egress or a connector; elsewhere VPN or peering), and allow TCP to port 3307";
    case Reach::Psc:
      return "Check the Private Service Connect endpoint, and that TCP to port 3307 is allowed";
    case Reach::Host:
      break;
  }
  return "Check the address, routes and firewalls";
}

std::string_view remedy_of_tls(const Error& error, bool cloudsql) noexcept {
  if (error.reason == "tls_refused")
    return "Switch TLS on in the database, or set tls.mode to \"prefer\" or \"disable\"";
  if (!cloudsql) {
    if (error.reason == "certificate")
      return "Set tls.ca_file to the authority that signed it, use the name that it is for, and check the "
             "clock";
    if (error.reason == "client_certificate")
      return "Set tls.cert_file and tls.key_file to a certificate that the database accepts";
    return "Check that a PostgreSQL server with TLS listens there";
  }
  if (error.reason == "certificate")
    return "Check that the address leads to the instance and that nothing on the way decrypts TLS, and this "
           "machine's clock";
  if (error.reason == "client_certificate")
    return "Check this machine's clock; if it is right, the instance's client certificates were reset: try "
           "again in a minute";
  return "Check that nothing on the way (a proxy, an inspecting firewall) answers in the instance's place, "
         "and that the instance runs";
}

std::string remedy_of_login(const LoginFacts& f) {
  if (f.reason == "no_password" && f.iam) return iam_login(f);
  if (f.reason == "no_password") return "Set PGPASSWORD";
  if (f.reason == "cleartext")
    return "Use tls.mode = \"verify-full\", or another password method in pg_hba.conf";
  if (f.reason == "auth_method")
    return "Use scram-sha-256, md5 or password in pg_hba.conf, or pool.mode = \"none\" and a driver that "
           "knows the method";
  if (f.reason == "server_signature")
    return "Check that the address leads to the database that is meant: it does not know the password";
  // A password was tried for a role that needs none.
  if (f.iam && (f.sqlstate == "28P01" || f.sqlstate == "28000") && looks_like_iam(f.user))
    return iam_login(f);
  for (const auto& [state, advice] : kBySqlstate)
    if (f.sqlstate == state) return std::string{advice};
  return f.sqlstate.empty() ? "Look into the log of the database" : "";
}

}  // namespace sidepool::check
