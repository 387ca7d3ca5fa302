// cloudsql/json_text.h -- the JSON that Google's endpoints and credential files speak, as plain structs.
// Its .cpp is the only file that sees the JSON library (10 s of compilation).
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

// A credential file of any type; only the fields of the types that are supported.
struct CredentialFile {
  std::string type;
  bool oauth_client = false;  // top-level "installed" or "web": an OAuth client, not a credential
  std::string client_email, private_key_id, token_uri;
  std::string client_id, account, quota_project, universe_domain;
  SecretText private_key, client_secret, refresh_token;
};
Result<CredentialFile> read_credential_file(std::string_view json);

std::string write_jwt_header(std::string_view key_id);
std::string write_jwt_claims(std::string_view issuer, std::string_view scope, std::string_view audience,
                             std::chrono::sys_seconds issued, std::chrono::sys_seconds expires);

}  // namespace sidepool::cloudsql
