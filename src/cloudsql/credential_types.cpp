// cloudsql/credential_types.cpp -- see the header.
#include "src/cloudsql/credential_types.h"

#include <algorithm>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/http.h"
#include "src/cloudsql/principal.h"

namespace sidepool::cloudsql {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::string_view kGoogle = "googleapis.com";
constexpr std::string_view kVerificationUrl =
    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

tl::unexpected<Error> not_private(const std::string& where, const char* key) {
  return credential_error("the " + std::string{key} + " in " + where +
                          " is neither an https URL nor on this machine");
}

Result<Credentials> service_account(CredentialFile file, const std::string& where,
                                    const CredentialContext& context) {
  if (file.client_email.empty() || file.private_key.empty())
    return credential_error(where + " lacks client_email or private_key");
  ServiceAccount account{file.client_email, file.private_key_id,
                         file.token_uri.empty() ? std::string{kDefaultTokenUrl} : file.token_uri,
                         tls::read_private_key(file.private_key.view()), context.universe != kGoogle};
  if (!account.key || EVP_PKEY_get_base_id(account.key.get()) != EVP_PKEY_RSA) {
    static_cast<void>(tls::openssl_error());
    return credential_error("the private_key in " + where + " is not an RSA key in PEM");
  }
  if (!is_private_url(account.token_uri)) return not_private(where, "token_uri");
  Credentials out{std::move(account)};
  out.principal = std::move(file.client_email);
  return out;
}

// The token endpoint is a constant, as in the original: the refresh token of a person is not sent where a
// file says. The one exception sends it nowhere: a token_uri on this machine (an emulator).
Result<Credentials> authorized_user(CredentialFile file, const std::string& where) {
  if (file.client_id.empty() || file.client_secret.empty() || file.refresh_token.empty())
    return credential_error(where + " lacks client_id, client_secret or refresh_token");
  const bool local = is_loopback_url(file.token_uri);
  Credentials out{AuthorizedUser{std::move(file.client_id),
                                 local ? file.token_uri : std::string{kDefaultTokenUrl},
                                 std::move(file.client_secret), std::move(file.refresh_token), false}};
  out.principal = std::move(file.account);
  return out;
}

// A person of a workforce pool.
Result<Credentials> external_user(CredentialFile file, const std::string& where) {
  if (file.client_id.empty() || file.client_secret.empty() || file.refresh_token.empty() ||
      file.token_url.empty())
    return credential_error(where + " lacks client_id, client_secret, refresh_token or token_url");
  if (!is_private_url(file.token_url)) return not_private(where, "token_url");
  return Credentials{AuthorizedUser{std::move(file.client_id), std::move(file.token_url),
                                    std::move(file.client_secret), std::move(file.refresh_token), true}};
}

Result<SubjectFormat> subject_format(const CredentialSourceJson& source, const std::string& where) {
  if (source.format_type.empty() || source.format_type == "text") return SubjectFormat{};
  if (source.format_type != "json")
    return credential_error(where + " has the unknown credential_source format \"" +
                            one_line(source.format_type, 32) + "\"");
  if (source.format_field.empty())
    return credential_error(where + " has a json credential_source without subject_token_field_name");
  return SubjectFormat{source.format_field};
}

using Subject = decltype(ExternalAccount::subject);

Result<Subject> url_subject(CredentialSourceJson& source, const std::string& where) {
  auto format = subject_format(source, where);
  if (!format) return tl::unexpected(std::move(format.error()));
  if (!is_private_or_metadata_url(source.url))
    return credential_error("the credential_source url in " + where +
                            " is neither https nor on this machine or its link (a metadata server)");
  UrlSubject out{source.url, {}, std::move(*format)};
  for (auto& [name, value] : source.headers) {
    const bool sound = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
             c == '_';
    });
    if (!sound) return credential_error(where + " has a credential_source header with a malformed name");
    std::string line;
    line.reserve(name.size() + 2 + value.view().size());
    line += name;
    line += ": ";
    line += value.view();
    out.headers.emplace_back(std::move(line));
  }
  return out;
}

Result<Subject> executable_subject(const CredentialSourceJson& source, const CredentialFile& file,
                                   const std::string& where, const CredentialContext& context) {
  constexpr milliseconds kDefault{30'000};
  constexpr milliseconds kLeast{5'000};
  constexpr milliseconds kMost{120'000};
  ExecutableSubject out{};
  std::string_view rest = source.command;
  while (!rest.empty()) {  // split at blanks, as the original does: no shell, no quotes
    const std::size_t from = rest.find_first_not_of(" \t\r\n\v\f");
    if (from == std::string_view::npos) break;
    rest.remove_prefix(from);
    const std::string_view part = rest.substr(0, rest.find_first_of(" \t\r\n\v\f"));
    out.argv.emplace_back(part);
    rest.remove_prefix(part.size());
  }
  if (out.argv.empty()) return credential_error(where + " has an executable without a command");
  out.timeout = source.timeout_ms == 0 ? kDefault : milliseconds{source.timeout_ms};
  if (out.timeout < kLeast || out.timeout > kMost)
    return credential_error(where + " has an executable whose timeout_millis is not within 5000 and 120000");
  out.output_file = source.output_file;
  out.allowed = context.env.allow_executables;
  out.env = {"GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE=" + file.audience,
             "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE=" + file.subject_token_type,
             "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0"};
  if (const std::string email = impersonated_email(file.impersonation_url); !email.empty())
    out.env.push_back("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL=" + email);
  if (!out.output_file.empty()) out.env.push_back("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE=" + out.output_file);
  return out;
}

Result<Subject> aws_subject(const CredentialSourceJson& source, const std::string& where,
                            const CredentialContext& context) {
  if (source.environment_id != "aws1")
    return credential_error(where + " has the unknown environment_id \"" +
                            one_line(source.environment_id, 32) + "\"; aws1 is known");
  for (const std::string* url : {&source.region_url, &source.url, &source.session_token_url})
    if (!url->empty() && !is_private_or_metadata_url(*url))
      return credential_error("an AWS metadata URL in " + where +
                              " is neither https nor on this machine or its link");
  std::string verify =
      source.verification_url.empty() ? std::string{kVerificationUrl} : source.verification_url;
  if (!verify.starts_with("https://")) return not_private(where, "regional_cred_verification_url");
  const Environment& env = context.env;
  return AwsSubject{source.region_url, source.url,     source.session_token_url, std::move(verify),
                    env.aws_region,    env.aws_key_id, env.aws_secret.copy(),    env.aws_session.copy()};
}

// The file that tells where certificate and key are, as Google's libraries find it.
Result<Subject> certificate_subject(const CertificateSourceJson& source, const std::string& where,
                                    const CredentialContext& context) {
  if (source.use_default_config != source.config_location.empty())
    return credential_error(where +
                            " has a certificate that needs either certificate_config_location or "
                            "use_default_certificate_config");
  const Environment& env = context.env;
  std::string config = source.config_location;
  if (config.empty()) config = env.certificate_config;
  if (config.empty()) config = env.home + "/.config/gcloud/certificate_config.json";
  return CertificateSubject{std::move(config), source.trust_chain};
}

// In the original's order (§5.4 d).
Result<Subject> subject_of(CredentialFile& file, const std::string& where, const CredentialContext& context) {
  CredentialSourceJson& source = *file.source;
  if (source.environment_id.starts_with("aws")) return aws_subject(source, where, context);
  if (!source.file.empty()) {
    auto format = subject_format(source, where);
    if (!format) return tl::unexpected(std::move(format.error()));
    return FileSubject{source.file, std::move(*format)};
  }
  if (!source.url.empty()) return url_subject(source, where);
  if (source.executable) return executable_subject(source, file, where, context);
  if (source.certificate) return certificate_subject(*source.certificate, where, context);
  return credential_error(where +
                          " has a credential_source with neither file, url, executable, certificate nor AWS");
}

bool is_workforce(std::string_view audience) {
  constexpr std::string_view kHead = "//iam.googleapis.com/locations/";
  const std::size_t at = audience.find(kHead);
  if (at == std::string_view::npos) return false;
  audience.remove_prefix(at + kHead.size());
  const std::size_t slash = audience.find('/');
  return slash != 0 && slash != std::string_view::npos &&
         audience.substr(slash).starts_with("/workforcePools/");
}

Result<Credentials> external_account(CredentialFile file, const std::string& where,
                                     const CredentialContext& context) {
  constexpr seconds kLongest{43'200};  // Google's limit for a service account's token
  if (file.audience.empty() || file.subject_token_type.empty() || !file.source)
    return credential_error(where + " lacks audience, subject_token_type or credential_source");
  if (!file.workforce_user_project.empty() && !is_workforce(file.audience))
    return credential_error(where + " has a workforce_pool_user_project without being of a workforce pool");
  auto subject = subject_of(file, where, context);
  if (!subject) return tl::unexpected(std::move(subject.error()));
  if (file.token_url.empty()) {
    // The one that asks for a certificate in the handshake has a name of its own.
    const bool mtls = std::holds_alternative<CertificateSubject>(*subject);
    file.token_url = (mtls ? "https://sts.mtls." : "https://sts.") + context.universe + "/v1/token";
  }
  if (!is_private_url(file.token_url)) return not_private(where, "token_url");
  if (!file.impersonation_url.empty() && !is_private_url(file.impersonation_url))
    return not_private(where, "service_account_impersonation_url");
  if (file.impersonation_lifetime < seconds{0} || file.impersonation_lifetime > kLongest)
    return credential_error("the token_lifetime_seconds in " + where + " are not within 0 and 43200");
  // The client's id alone names the project that pays (§5.4 d).
  if (!file.client_id.empty()) file.workforce_user_project.clear();
  Credentials federated{ExternalAccount{std::move(file.audience), std::move(file.subject_token_type),
                                        std::move(file.token_url), std::move(file.client_id),
                                        std::move(file.client_secret), std::move(file.workforce_user_project),
                                        std::move(*subject)}};
  if (file.impersonation_url.empty()) return federated;
  Impersonated target{std::move(federated), file.impersonation_url};
  if (file.impersonation_lifetime.count() > 0) target.lifetime = file.impersonation_lifetime;
  Credentials out{std::move(target)};
  out.principal = impersonated_email(file.impersonation_url);
  return out;
}

Result<Credentials> impersonated(CredentialFile file, const std::string& where,
                                 const CredentialContext& context) {
  if (file.impersonation_url.empty() || !file.source_credentials)
    return credential_error(where + " lacks source_credentials or service_account_impersonation_url");
  if (!is_private_url(file.impersonation_url)) return not_private(where, "service_account_impersonation_url");
  auto source =
      make_credentials(std::move(*file.source_credentials), "source_credentials of " + where, context);
  if (!source) return source;
  Impersonated target{std::move(*source), file.impersonation_url};
  target.delegates = std::move(file.delegates);
  Credentials out{std::move(target)};
  out.principal = impersonated_email(file.impersonation_url);
  return out;
}

Result<Credentials> of_type(CredentialFile file, const std::string& where, const CredentialContext& context) {
  const std::string type = file.type;
  if (type == "service_account") return service_account(std::move(file), where, context);
  if (type == "authorized_user") return authorized_user(std::move(file), where);
  if (type == "external_account") return external_account(std::move(file), where, context);
  if (type == "external_account_authorized_user") return external_user(std::move(file), where);
  if (type == "impersonated_service_account") return impersonated(std::move(file), where, context);
  if (type.empty()) return credential_error(where + " has no credential type (key \"type\")");
  if (type == "gdch_service_account")
    return credential_error(where + " has credential type \"gdch_service_account\", which is for Google " +
                            "Distributed Cloud and cannot be used with Cloud SQL");
  return credential_error(where + " has the unknown credential type \"" + one_line(type, 64) + "\"");
}

}  // namespace

tl::unexpected<Error> credential_error(const std::string& what) {
  return fail(Errc::Config, "config error: " + what, 0, "credentials");
}

Result<Credentials> make_credentials(CredentialFile file, const std::string& where,
                                     const CredentialContext& context) {
  if (file.oauth_client)
    return credential_error(
        where + " is an OAuth client, not a credential: run gcloud auth application-default login");
  const std::string universe = file.universe_domain.empty() ? std::string{kGoogle} : file.universe_domain;
  if (universe != context.universe)
    return credential_error(where + " belongs to universe " + one_line(universe, 64) + ", not to " +
                            context.universe);
  std::string quota_project = file.quota_project;
  auto out = of_type(std::move(file), where, context);
  if (!out) return out;
  out->quota_project = std::move(quota_project);
  out->principal = one_line(out->principal, 256);
  return out;
}

}  // namespace sidepool::cloudsql
