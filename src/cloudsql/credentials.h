// cloudsql/credentials.h -- where tokens come from (cloudsql.md §5): found and read at start, and again when
// their file has changed.
#pragma once
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/access_token.h"
#include "src/cloudsql/secret.h"
#include "src/cloudsql/secret_file.h"
#include "src/tls/openssl_ptr.h"

namespace sidepool::cloudsql {

// What the command line and the configuration say. At most one of token, credentials_file, json_credentials
// and gcloud is set; the order of precedence is theirs (§5.1).
struct CredentialOptions {
  SecretText token{};
  SecretText login_token{};
  std::string credentials_file{};
  SecretText json_credentials{};
  bool gcloud = false;
  std::vector<std::string> impersonate{};  // the target first, then its delegates from the nearest on (§4.5)
  std::string universe_domain{};           // empty: the environment's, else googleapis.com
};

// The part of the process environment that counts.
struct Environment {
  std::string application_credentials{};   // GOOGLE_APPLICATION_CREDENTIALS
  std::string home{};                      // HOME, else the passwd entry
  std::string path{};                      // PATH
  std::string metadata_host{};             // GCE_METADATA_HOST
  std::string quota_project{};             // GOOGLE_CLOUD_QUOTA_PROJECT
  std::string universe_domain{};           // GOOGLE_CLOUD_UNIVERSE_DOMAIN
  std::string certificate_config{};        // GOOGLE_API_CERTIFICATE_CONFIG
  std::string iam_credentials_endpoint{};  // CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS, as gcloud has it
  bool allow_executables = false;          // GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES is 1
  std::string aws_region{};                // AWS_REGION, else AWS_DEFAULT_REGION
  std::string aws_key_id{};                // AWS_ACCESS_KEY_ID
  SecretText aws_secret{};                 // AWS_SECRET_ACCESS_KEY
  SecretText aws_session{};                // AWS_SESSION_TOKEN
};
Environment process_environment();

struct StaticTokens {
  SecretText api;
  SecretText login;  // may be empty
};
struct ServiceAccount {
  std::string email;
  std::string key_id;
  std::string token_uri;
  tls::KeyPtr key;
  // Outside googleapis.com there is no exchange: what the key signs is the token (§5.4 a).
  bool self_signed = false;
};
struct AuthorizedUser {
  std::string client_id;
  std::string token_url;
  SecretText client_secret;
  SecretText refresh_token;  // replaced when the endpoint rotates it
  bool basic_auth = false;   // external_account_authorized_user: the client's secret goes into a header
};
struct MetadataServer {
  std::string host;
  // No file and no variable named it: it is what is left of the search, so an unreachable one means no
  // credentials.
  bool assumed = false;
  std::string universe = "googleapis.com";  // that it must belong to
  bool universe_checked = false;
};
struct Gcloud {
  std::string program;
  std::string account{};  // that the last token belongs to
};

// Where the subject token of an external account comes from.
struct SubjectFormat {
  std::string json_field{};  // empty: the text is the token
};
struct FileSubject {
  std::string path;
  SubjectFormat format;
};
struct UrlSubject {
  std::string url;
  std::vector<SecretText> headers;  // "Name: value"
  SubjectFormat format;
};
struct ExecutableSubject {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::chrono::milliseconds timeout;
  std::string output_file;  // may be empty
  bool allowed = false;
};
struct AwsSubject {
  std::string region_url, credentials_url, session_token_url;  // of the metadata server; may be empty
  std::string verification_url;
  std::string region;  // of the environment; else the metadata server's
  std::string key_id;
  SecretText secret, session;
};
struct CertificateSubject {
  std::string config_file;  // says where certificate and key are
  std::string trust_chain;  // the issuers', in PEM; may be empty
};
struct ExternalAccount {
  std::string audience, subject_token_type, token_url;
  std::string client_id;
  SecretText client_secret;
  std::string workforce_user_project;  // empty: not sent
  std::variant<FileSubject, UrlSubject, ExecutableSubject, AwsSubject, CertificateSubject> subject;
};

struct Credentials;
// Tokens of a service account that another principal may speak for (§5.6).
struct Impersonated {
  Impersonated(Credentials&& from, std::string where);
  Impersonated(Impersonated&&) noexcept;
  Impersonated& operator=(Impersonated&&) noexcept;
  ~Impersonated();

  std::unique_ptr<Credentials> source;
  std::string url;                     // …/serviceAccounts/TARGET:generateAccessToken
  std::vector<std::string> delegates;  // projects/-/serviceAccounts/E-MAIL, from the source's side
  std::chrono::seconds lifetime{3600};
  std::optional<Token> source_token{};  // kept, so that two scopes cost one
};

struct Credentials {
  std::variant<StaticTokens, ServiceAccount, AuthorizedUser, MetadataServer, Gcloud, ExternalAccount,
               Impersonated>
      source;
  std::string description{};    // for the start log, the original's words: "Authorizing with …"
  std::string principal{};      // e-mail if it is known without asking
  std::string quota_project{};  // may be empty
  // The file they were read from, or the one that would be read if it were there; empty if there is none.
  std::string watched{};
  std::optional<FileStamp> stamp{};  // of that file
};

// Reads files, never the network. The order of the search: token, credentials file, JSON, gcloud, then
// Application Default Credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file under HOME, the metadata
// server. With `impersonate` what is found becomes the source of the target's tokens.
Result<Credentials> load_credentials(const CredentialOptions& options, const Environment& env);

// The domain that Google's endpoints have.
std::string universe_of(const CredentialOptions& options, const Environment& env);

// The SQL Admin API of that domain.
inline std::string default_endpoint(const CredentialOptions& options, const Environment& env) {
  return "https://sqladmin." + universe_of(options, env) + "/";
}

inline constexpr std::string_view kDefaultTokenUrl = "https://oauth2.googleapis.com/token";
inline constexpr std::string_view kMetadataAddress = "169.254.169.254";

}  // namespace sidepool::cloudsql
