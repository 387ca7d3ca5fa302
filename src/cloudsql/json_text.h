// cloudsql/json_text.h -- the JSON that Google's endpoints speak, as plain structs.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

// What is read of connectSettings. Missing or mistyped keys are empty.
struct ConnectSettings {
  std::string region;
  std::string backend_type;
  std::string database_version;
  std::string public_ip;  // the last of its type
  std::string private_ip;
  bool psc_enabled = false;
  std::vector<std::string>
      psc_names;            // `.sql-psc.goog` first, then by name; no trailing dots; without repeats
  std::string server_name;  // first dnsNames[].name of any type, else dnsName
  std::string ca_bundle;    // PEM, one or more certificates
  bool mdx = false;         // CLIENT_PROTOCOL_TYPE is supported
};
Result<ConnectSettings> read_connect_settings(std::string_view json);

// connectionName of resolveConnectSettings: PROJECT:REGION:INSTANCE.
Result<std::string> read_connection_name(std::string_view json);

// ephemeralCert.cert, PEM.
Result<std::string> read_ephemeral_cert(std::string_view json);
// {"public_key":…,"access_token":…}; the second only when there is a login token.
SecretText write_cert_request(std::string_view public_key_pem, const SecretText* login_token);

// Google's error body, or OAuth's. Empty strings where the body says nothing.
struct ErrorText {
  std::string message;
  std::string
      reason;  // errors[].reason joined by ',', else status or OAuth's error word; [A-Za-z0-9_,-] only
  std::string detail_reason;  // error.details[].reason, e.g. SERVICE_DISABLED
};
ErrorText read_error(std::string_view json);

struct TokenReply {
  SecretText access_token;
  std::chrono::seconds expires_in{0};
  SecretText refresh_token;  // empty unless it was rotated
};
Result<TokenReply> read_token_reply(std::string_view json);

// The answer of IAM Credentials' generateAccessToken (cloudsql.md §5.6).
struct ImpersonatedReply {
  SecretText access_token;
  std::chrono::sys_time<std::chrono::milliseconds> expires;
};
Result<ImpersonatedReply> read_impersonated_reply(std::string_view json);
// Its request; `delegates` as full resource names.
std::string write_access_token_request(const std::vector<std::string>& delegates,
                                       std::chrono::seconds lifetime, std::string_view scope);

// What `gcloud config config-helper` prints (cloudsql.md §5.7).
struct GcloudReply {
  SecretText access_token;
  std::chrono::sys_time<std::chrono::milliseconds> expires;
  std::string account;  // of the configuration; may be empty
};
Result<GcloudReply> read_gcloud_reply(std::string_view json);

// OAuth's tokeninfo; empty if it names no e-mail.
std::string read_token_info_email(std::string_view json);

// The `options` of a token exchange by a workforce pool.
std::string write_user_project(std::string_view project);

std::string write_jwt_header(std::string_view key_id);
struct JwtClaims {
  std::string_view issuer;
  std::string_view subject;   // empty: left out
  std::string_view audience;  // empty: left out
  std::string_view scope;
  std::chrono::sys_seconds issued;
  std::chrono::sys_seconds expires;
};
std::string write_jwt_claims(const JwtClaims& claims);

}  // namespace sidepool::cloudsql
