// cloudsql/credentials.h -- where tokens come from: found and read once, at start.
#pragma once
#include <string>
#include <string_view>
#include <variant>

#include "src/base/result.h"
#include "src/cloudsql/secret.h"
#include "src/tls/openssl_ptr.h"

namespace sidepool::cloudsql {

// What the command line and the configuration say. At most one of the first, third and fourth is set.
struct CredentialOptions {
  SecretText token{};
  SecretText login_token{};
  std::string credentials_file{};
  SecretText json_credentials{};
  std::string universe_domain = "googleapis.com";
};

// The part of the process environment that counts.
struct Environment {
  std::string application_credentials{};  // GOOGLE_APPLICATION_CREDENTIALS
  std::string home{};                     // HOME, else the passwd entry
  std::string metadata_host{};            // GCE_METADATA_HOST
  std::string quota_project{};            // GOOGLE_CLOUD_QUOTA_PROJECT
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
};
struct AuthorizedUser {
  std::string client_id;
  std::string token_url;
  SecretText client_secret;
  SecretText refresh_token;  // replaced when the endpoint rotates it
};
struct MetadataServer {
  std::string host;
  // No file and no variable named it: it is what is left of the search, so an unreachable one means no
  // credentials.
  bool assumed = false;
};

struct Credentials {
  std::variant<StaticTokens, ServiceAccount, AuthorizedUser, MetadataServer> source;
  std::string description;    // for the start log, the original's words: "Authorizing with …"
  std::string principal;      // e-mail if it is known without asking
  std::string quota_project;  // may be empty
};

// Reads files, never the network. The order of the search: token, credentials file, JSON, then Application
// Default Credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file under HOME, the metadata server.
Result<Credentials> load_credentials(const CredentialOptions& options, const Environment& env);

// The PostgreSQL role of a principal: lower case, a service account without its domain, as much as a role
// name holds.
std::string role_name(std::string_view principal);

inline constexpr std::string_view kDefaultTokenUrl = "https://oauth2.googleapis.com/token";
inline constexpr std::string_view kMetadataAddress = "169.254.169.254";

}  // namespace sidepool::cloudsql
