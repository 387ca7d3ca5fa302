// cloudsql/credential_json.h -- the JSON of credential files and of where external accounts get their subject
// tokens from (cloudsql.md §5.3, §5.4 c to e), as plain structs. Missing or mistyped keys are empty.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

// `certificate` of a credential source.
struct CertificateSourceJson {
  bool use_default_config = false;
  std::string config_location, trust_chain;
};

// `credential_source` of an external account.
struct CredentialSourceJson {
  std::string environment_id, file, url, region_url, verification_url, session_token_url;
  std::vector<std::pair<std::string, SecretText>> headers;
  std::string format_type, format_field;
  bool executable = false;
  std::string command, output_file;
  std::int64_t timeout_ms = 0;  // 0: not given
  std::optional<CertificateSourceJson> certificate;
};

// A credential file of any type; each type uses some of the fields.
struct CredentialFile {
  std::string type;
  bool oauth_client = false;  // top-level "installed" or "web": an OAuth client, not a credential
  std::string client_email, private_key_id, token_uri;
  std::string client_id, account, quota_project, universe_domain;
  std::string audience, subject_token_type, token_url, impersonation_url, workforce_user_project;
  std::chrono::seconds impersonation_lifetime{0};  // 0: not given
  std::vector<std::string> delegates;
  std::optional<CredentialSourceJson> source;
  std::unique_ptr<CredentialFile> source_credentials;
  SecretText private_key, client_secret, refresh_token;
};
// An error for what is no JSON object, and for source_credentials in source_credentials beyond a depth of 4.
Result<CredentialFile> read_credential_file(std::string_view json);

// The string at `field` of a JSON object; empty if there is none.
SecretText read_subject_field(std::string_view json, const std::string& field);

// What a credential's executable prints or keeps in its output file.
struct ExecutableReply {
  enum class Kind : std::uint8_t {
    Token,
    Expired,    // or a failure that was kept: not to be used, the executable may do better
    Refused,    // the executable says so; `why` has its words
    Malformed,  // `why` says what is wrong, without quoting
  } kind = Kind::Malformed;
  SecretText token;
  std::string why;
};
// `expiry_needed`: with an output file the reply must say when the token ends.
ExecutableReply read_executable_reply(std::string_view json, bool expiry_needed,
                                      std::chrono::sys_seconds now);

// Keys of AWS, from its metadata server. Empty where the document says nothing.
struct AwsKeys {
  std::string id;
  SecretText secret;
  SecretText session;  // may be empty
};
AwsKeys read_aws_keys(std::string_view json);

// Where a workload's certificate and key are (gcloud's certificate_config.json). Empty where it does not say.
struct CertificateConfig {
  std::string certificate, key;
  // The key is not in a file: Google's Enterprise Certificate Proxy keeps it.
  bool managed = false;
};
CertificateConfig read_certificate_config(std::string_view json);

std::string write_string_list(const std::vector<std::string>& items);

// A signed request as Google's STS wants to see it.
SecretText write_aws_request(std::string_view url,
                             const std::vector<std::pair<std::string, SecretText>>& headers);

}  // namespace sidepool::cloudsql
