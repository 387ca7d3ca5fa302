// cloudsql/credentials.cpp -- see the header.
#include "src/cloudsql/credentials.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "src/cloudsql/command.h"
#include "src/cloudsql/credential_types.h"
#include "src/cloudsql/encode.h"
#include "src/cloudsql/http.h"

namespace sidepool::cloudsql {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Result<Credentials> from_json(const SecretText& text, const std::string& where,
                              const CredentialContext& context) {
  auto file = read_credential_file(text.view());
  if (!file) return credential_error(where + ": " + file.error().what);
  return make_credentials(std::move(*file), where, context);
}

Result<Credentials> from_file(const std::string& path, const CredentialContext& context) {
  const auto file = read_secret_file(path, FileKind::MayBePipe);
  if (!file) return fail(Errc::Config, "config error: " + file.error().what, file.error().sys, "credentials");
  auto out = from_json(file->text, "credentials file \"" + path + "\"", context);
  if (out && file->stamp) {
    out->watched = path;
    out->stamp = file->stamp;
  }
  return out;
}

Result<Credentials> application_default(const CredentialContext& context) {
  const Environment& env = context.env;
  if (!env.application_credentials.empty()) return from_file(env.application_credentials, context);
  const std::string path =
      env.home.empty() ? "" : env.home + "/.config/gcloud/application_default_credentials.json";
  // Missing or unreadable: the search goes on. Readable but wrong: an error.
  if (!path.empty() && read_secret_file(path, FileKind::Regular)) return from_file(path, context);
  MetadataServer server{std::string{kMetadataAddress}, true, context.universe};
  if (!env.metadata_host.empty()) server = {env.metadata_host, false, context.universe};
  Credentials out{std::move(server)};
  out.watched = path;
  out.stamp = path.empty() ? std::nullopt : stamp_of(path);
  return out;
}

struct Found {
  Result<Credentials> credentials;
  std::string with;  // what authorizes, in the original's words (§5.1)
};

Found find(const CredentialOptions& options, const CredentialContext& context) {
  if (!options.token.empty())
    return {Credentials{StaticTokens{options.token.copy(), options.login_token.copy()}}, "OAuth2 token"};
  if (!options.credentials_file.empty())
    return {from_file(options.credentials_file, context),
            "the credentials file at \"" + options.credentials_file + "\""};
  if (!options.json_credentials.empty())
    return {from_json(options.json_credentials, "the JSON credentials", context),
            "JSON credentials environment variable"};
  if (options.gcloud) {
    std::string program = find_program("gcloud", context.env.path);
    if (program.empty()) return {credential_error("gcloud is not in PATH"), {}};
    return {Credentials{Gcloud{std::move(program)}}, "gcloud user credentials"};
  }
  return {application_default(context), "Application Default Credentials"};
}

// An e-mail or the number of a service account: it becomes part of an URL.
bool is_account_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '@' ||
           c == '.' || c == '-' || c == '_' || c == '+' || c == ':';
  });
}

// It becomes part of host names.
bool is_domain(std::string_view name) {
  return !name.starts_with('.') && !name.ends_with('.') && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  });
}

// --impersonate-service-account (§4.5): delegates go out from the source's side, that is in reverse.
Result<Credentials> act_as(const std::vector<std::string>& chain, Credentials source,
                           const CredentialContext& context) {
  constexpr std::string_view kResource = "projects/-/serviceAccounts/";
  for (const std::string& name : chain)
    if (!is_account_name(name))
      return credential_error("\"" + one_line(name, 128) + "\" is not the e-mail of a service account to " +
                              "impersonate");
  std::string url = context.env.iam_credentials_endpoint;
  if (url.empty()) url = "https://iamcredentials." + context.universe + "/";
  if (!url.ends_with('/')) url += '/';
  if (!is_private_url(url))
    return credential_error(
        "the IAM Credentials endpoint of the environment is neither an https URL nor on this machine");
  url += "v1/" + std::string{kResource} + chain.front() + ":generateAccessToken";
  const std::string quota_project = source.quota_project;
  const std::string watched = source.watched;
  const auto stamp = source.stamp;
  Impersonated target{std::move(source), std::move(url)};
  for (auto i = chain.rbegin(); i + 1 != chain.rend(); ++i)
    target.delegates.push_back(std::string{kResource} + *i);
  Credentials out{std::move(target)};
  out.principal = chain.front();
  out.quota_project = quota_project;
  out.watched = watched;
  out.stamp = stamp;
  return out;
}

}  // namespace

Impersonated::Impersonated(Credentials&& from, std::string where)
    : source(std::make_unique<Credentials>(std::move(from))), url(std::move(where)) {}
Impersonated::Impersonated(Impersonated&&) noexcept = default;
Impersonated& Impersonated::operator=(Impersonated&&) noexcept = default;
Impersonated::~Impersonated() = default;

Environment process_environment() {
  Environment env;
  env.application_credentials = variable("GOOGLE_APPLICATION_CREDENTIALS");
  env.path = variable("PATH");
  env.metadata_host = variable("GCE_METADATA_HOST");
  env.quota_project = variable("GOOGLE_CLOUD_QUOTA_PROJECT");
  env.universe_domain = variable("GOOGLE_CLOUD_UNIVERSE_DOMAIN");
  env.iam_credentials_endpoint = variable("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS");
  env.certificate_config = variable("GOOGLE_API_CERTIFICATE_CONFIG");
  env.allow_executables = variable("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES") == "1";
  env.aws_region = variable("AWS_REGION");
  if (env.aws_region.empty()) env.aws_region = variable("AWS_DEFAULT_REGION");
  env.aws_key_id = variable("AWS_ACCESS_KEY_ID");
  env.aws_secret = SecretText{variable("AWS_SECRET_ACCESS_KEY")};
  env.aws_session = SecretText{variable("AWS_SESSION_TOKEN")};
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

std::string universe_of(const CredentialOptions& options, const Environment& env) {
  if (!options.universe_domain.empty()) return options.universe_domain;
  return env.universe_domain.empty() ? "googleapis.com" : env.universe_domain;
}

Result<Credentials> load_credentials(const CredentialOptions& options, const Environment& env) {
  const CredentialContext context{env, universe_of(options, env)};
  if (!is_domain(context.universe))
    return credential_error("\"" + one_line(context.universe, 64) + "\" is not a universe's domain");
  auto [found, with] = find(options, context);
  if (!found) return std::move(found);
  if (!options.impersonate.empty()) found = act_as(options.impersonate, std::move(*found), context);
  if (!found) return std::move(found);
  found->description =
      (options.impersonate.empty() ? "Authorizing with " : "Impersonating service account with ") + with;
  if (!env.quota_project.empty()) found->quota_project = env.quota_project;
  return std::move(found);
}

}  // namespace sidepool::cloudsql
