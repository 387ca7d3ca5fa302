// cloudsql/credentials.cpp -- see the header.
#include "src/cloudsql/credentials.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/http.h"
#include "src/cloudsql/json_text.h"

namespace sidepool::cloudsql {
namespace {

// Credential files are 2 to 3 KiB.
constexpr std::size_t kMaxFile = 1 << 20;

tl::unexpected<Error> config_error(const std::string& what) {
  return fail(Errc::Config, "config error: " + what, 0, "credentials");
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<SecretText> read_file(const std::string& path) {
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  std::string text;
  if (in) {
    text.resize(kMaxFile + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad() || (text.empty() && errno != 0)) {
    const int code = errno;
    return fail(Errc::Config, "config error: open " + path + ": " + std::strerror(code != 0 ? code : EIO),
                code, "credentials");
  }
  if (text.size() > kMaxFile) return config_error(path + " is larger than 1 MiB");
  return SecretText{std::move(text)};
}

Result<Credentials> service_account(CredentialFile file, const std::string& where) {
  if (file.client_email.empty() || file.private_key.empty())
    return config_error(where + " lacks client_email or private_key");
  ServiceAccount account{file.client_email, file.private_key_id,
                         file.token_uri.empty() ? std::string{kDefaultTokenUrl} : file.token_uri,
                         tls::read_private_key(file.private_key.view())};
  if (!account.key || EVP_PKEY_get_base_id(account.key.get()) != EVP_PKEY_RSA) {
    static_cast<void>(tls::openssl_error());
    return config_error("the private_key in " + where + " is not an RSA key in PEM");
  }
  return Credentials{std::move(account), {}, std::move(file.client_email), std::move(file.quota_project)};
}

// The token endpoint is a constant, as in the original: the refresh token of a person is not sent where a
// file says. The one exception sends it nowhere: a token_uri on this machine (an emulator).
Result<Credentials> authorized_user(CredentialFile file, const std::string& where) {
  if (file.client_id.empty() || file.client_secret.empty() || file.refresh_token.empty())
    return config_error(where + " lacks client_id, client_secret or refresh_token");
  const bool local = is_loopback_url(file.token_uri);
  AuthorizedUser user{std::move(file.client_id), local ? file.token_uri : std::string{kDefaultTokenUrl},
                      std::move(file.client_secret), std::move(file.refresh_token)};
  return Credentials{std::move(user), {}, std::move(file.account), std::move(file.quota_project)};
}

Result<Credentials> from_json(const SecretText& text, const std::string& where,
                              const CredentialOptions& options) {
  auto file = read_credential_file(text.view());
  if (!file) return config_error(where + ": " + file.error().what);
  if (file->oauth_client)
    return config_error(where +
                        " is an OAuth client, not a credential: run gcloud auth application-default login");
  const std::string universe = file->universe_domain.empty() ? "googleapis.com" : file->universe_domain;
  if (universe != options.universe_domain)
    return config_error(where + " belongs to universe " + one_line(universe, 64) + ", not to " +
                        options.universe_domain);
  if (file->type == "service_account") return service_account(std::move(*file), where);
  if (file->type == "authorized_user") return authorized_user(std::move(*file), where);
  if (file->type.empty()) return config_error(where + " has no credential type (key \"type\")");
  return config_error(where + " has credential type \"" + one_line(file->type, 64) +
                      "\", which is not supported; service_account and authorized_user are");
}

Result<Credentials> from_file(const std::string& path, const CredentialOptions& options) {
  const auto text = read_file(path);
  if (!text) return tl::unexpected(text.error());
  return from_json(*text, "credentials file \"" + path + "\"", options);
}

Result<Credentials> application_default(const CredentialOptions& options, const Environment& env) {
  if (!env.application_credentials.empty()) return from_file(env.application_credentials, options);
  if (!env.home.empty()) {
    const std::string path = env.home + "/.config/gcloud/application_default_credentials.json";
    // Missing or unreadable: the search goes on. Readable but wrong: an error.
    if (const auto text = read_file(path))
      return from_json(*text, "credentials file \"" + path + "\"", options);
  }
  if (!env.metadata_host.empty()) return Credentials{MetadataServer{env.metadata_host, false}, {}, {}, {}};
  return Credentials{MetadataServer{std::string{kMetadataAddress}, true}, {}, {}, {}};
}

Result<Credentials> find(const CredentialOptions& options, const Environment& env, std::string& description) {
  if (!options.token.empty()) {
    description = "Authorizing with OAuth2 token";
    return Credentials{StaticTokens{options.token.copy(), options.login_token.copy()}, {}, {}, {}};
  }
  if (!options.credentials_file.empty()) {
    description = "Authorizing with the credentials file at \"" + options.credentials_file + "\"";
    return from_file(options.credentials_file, options);
  }
  if (!options.json_credentials.empty()) {
    description = "Authorizing with JSON credentials environment variable";
    return from_json(options.json_credentials, "the JSON credentials", options);
  }
  description = "Authorizing with Application Default Credentials";
  return application_default(options, env);
}

}  // namespace

Environment process_environment() {
  Environment env;
  env.application_credentials = variable("GOOGLE_APPLICATION_CREDENTIALS");
  env.metadata_host = variable("GCE_METADATA_HOST");
  env.quota_project = variable("GOOGLE_CLOUD_QUOTA_PROJECT");
  env.home = variable("HOME");
  if (env.home.empty()) {
    std::array<char, 4096> buffer{};
    passwd entry{};
    passwd* found = nullptr;
    if (getpwuid_r(getuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
      env.home = found->pw_dir;
  }
  return env;
}

Result<Credentials> load_credentials(const CredentialOptions& options, const Environment& env) {
  std::string description;
  auto found = find(options, env, description);
  if (!found) return found;
  found->description = std::move(description);
  if (!env.quota_project.empty()) found->quota_project = env.quota_project;
  return found;
}

std::string role_name(std::string_view principal) {
  constexpr std::string_view kServiceAccountDomain = ".gserviceaccount.com";
  constexpr std::size_t kMaxRole = 63;  // NAMEDATALEN - 1
  std::string out{principal};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (out.ends_with(kServiceAccountDomain)) out.resize(out.size() - kServiceAccountDomain.size());
  if (out.size() > kMaxRole) out.resize(kMaxRole);
  return out;
}

}  // namespace sidepool::cloudsql
