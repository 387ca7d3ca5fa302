// cloudsql/call.cpp -- see the header.
#include "src/cloudsql/call.h"

#include <array>

#include "src/cloudsql/json_text.h"

namespace sidepool::cloudsql {
namespace {

constexpr std::string_view kEnableApi =
    "Enable the Cloud SQL Admin API in the project: gcloud services enable sqladmin.googleapis.com";
constexpr std::string_view kWidenScopes =
    "Give the VM the access scope cloud-platform (or sqlservice.admin), or use another credential.";
constexpr std::string_view kQuota =
    "The Cloud SQL Admin API quota of the project is used up: raise it, or run fewer processes.";
constexpr std::string_view kEgress =
    "Check the firewall and the egress of this machine, and HTTPS_PROXY if there is a proxy.";
constexpr std::string_view kEndpoint =
    "Check that the SQL Admin API answers at the endpoint (sqladmin_api_endpoint), and not a proxy or "
    "another "
    "server (HTTPS_PROXY).";
constexpr std::string_view kUnavailable =
    "The Cloud SQL Admin API has a failure of its own, which passes: sidepool goes on trying.";

// Google's words, in its list of reasons or in its text. Matched in order, before the tables below.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kByWord = {{
    {"iam.serviceAccounts.getAccessToken",
     "Grant the principal that impersonates (each delegate on the next one) the role "
     "roles/iam.serviceAccountTokenCreator on the service account."},
    {"Gaia id not found", "Check the spelling of the service account to impersonate, and that it exists."},
    {"SERVICE_DISABLED", kEnableApi},
    {"accessNotConfigured", kEnableApi},
    {"ACCESS_TOKEN_SCOPE_INSUFFICIENT", kWidenScopes},
    {"insufficient authentication scopes", kWidenScopes},
    {"rateLimitExceeded", kQuota},
    {"RESOURCE_EXHAUSTED", kQuota},
    {"invalid_grant",
     "Log in again (gcloud auth application-default login), or use a key that is neither deleted nor "
     "disabled; check "
     "that this machine's clock is right."},
    {"invalid_client", "The OAuth client of the credential file is unknown: create the file anew."},
}};

constexpr std::array<std::pair<int, std::string_view>, 5> kByStatus = {{
    {401, "The access token was refused: it may have expired (a token given by --token is never renewed)."},
    {403,
     "Grant the principal the role roles/cloudsql.client on the instance's project (for IAM logins also "
     "roles/cloudsql.instanceUser)."},
    {404, "Check the spelling of PROJECT:REGION:INSTANCE, and that the instance exists."},
    {409, "The instance is stopped or another operation on it is running."},
    {429, kQuota},
}};

// Reasons of our own.
constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kByReason = {{
    {"malformed", kEndpoint},
    {"too_large", kEndpoint},
    {"transport", kEgress},
    {"no_credentials",
     "Give --credentials-file or --token, set GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth "
     "application-default "
     "login."},
    {"name", "Give the DNS name a TXT record that holds PROJECT:REGION:INSTANCE and nothing else."},
    {"dns", "Check the name servers (/etc/resolv.conf, dns_servers) and the way to them."},
    {"region_mismatch", "Use the region that the instance is in."},
    {"no_address",
     "Use an IP type that the instance has (ip_type, --private-ip, --psc, --auto-ip), or give it the one "
     "that is "
     "wanted."},
    {"clock", "Check this machine's clock."},
    {"resolve",
     "Check DNS and the egress of this machine (Private Google Access for a VM without public IP)."},
    {"connect", kEgress},
    {"timeout", kEgress},
    {"tls", "Check the certificate authorities of this machine (package ca-certificates, SSL_CERT_FILE)."},
}};

constexpr long kTooMany = 429;
constexpr Millis kQuotaPatience = std::chrono::seconds{30};

std::string with_prefix(std::string_view prefix, std::string_view what) {
  std::string out{prefix};
  if (!out.empty()) out += ": ";
  return out += what;
}

}  // namespace

CallFailure no_answer(Error error, std::string_view prefix) {
  // What follows from it is Google's side: an unreachable database is another error with another remedy.
  if (error.code == Errc::Io || error.code == Errc::Timeout) error = {Errc::Api, 0, error.what, error.reason};
  error.what = with_prefix(prefix, error.what);
  return {std::move(error), FailureKind::Transport, Millis{0}, {}};
}

CallFailure unusable(Error error, std::string_view prefix) {
  error.what = with_prefix(prefix, error.what);
  return {std::move(error), FailureKind::Refused, Millis{0}, {}};
}

CallFailure not_run(Error error) {
  if (error.reason != "stopped") error = {Errc::Auth, 0, error.what, "credentials"};
  return {std::move(error), FailureKind::Server, Millis{0}};
}

CallFailure refused(Errc code, std::string_view prefix, std::string_view who, const HttpResponse& response) {
  const ErrorText text = read_error(response.body);
  const std::string status = std::to_string(response.status);
  std::string reason = text.reason;
  if (text.detail_reason == "SERVICE_DISABLED" || text.detail_reason == "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
    reason = text.detail_reason;
  if (reason.empty()) reason = "http_" + status;
  std::string what = with_prefix(prefix, who);
  what += ": Error " + status + ": ";
  what += text.message.empty() ? std::string{"no message"} : text.message;
  what += ", " + reason;
  const FailureKind kind = response.status >= 500 ? FailureKind::Server : FailureKind::Refused;
  Millis patience = response.retry_after;
  // Without a word about when: as long as the quota's own window is, nearly. Clients keep to it, too.
  if (patience == Millis{0} &&
      (response.status == kTooMany || what.find("ateLimitExceeded") != std::string::npos))
    patience = kQuotaPatience;
  return {Error{code, static_cast<int>(response.status), std::move(what), std::move(reason)}, kind, patience,
          code == Errc::Api ? text.reason : std::string{}};
}

std::string_view remedy(const Error& error) noexcept {
  const bool answered = error.code == Errc::Api || error.code == Errc::Auth;
  if (answered)
    for (const auto& [word, advice] : kByWord)
      if (error.reason.find(word) != std::string::npos || error.what.find(word) != std::string::npos)
        return advice;
  for (const auto& [reason, advice] : kByReason)
    if (error.reason == reason) return advice;
  // What a status means is known of the SQL Admin API only.
  if (error.code == Errc::Api)
    for (const auto& [status, advice] : kByStatus)
      if (error.sys == status) return advice;
  if (error.code == Errc::Api && error.sys >= 500) return kUnavailable;
  if (error.code == Errc::Api && error.sys >= 200 && error.sys < 400)
    return kEndpoint;  // redirects are not followed
  return {};
}

}  // namespace sidepool::cloudsql
