// cloudsql/credential_json.cpp -- see the header.
#include "src/cloudsql/credential_json.h"

#include <algorithm>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/json_member.h"

namespace sidepool::cloudsql {
namespace {

using json::dump;
using json::dump_secret;
using json::Json;
using json::list;
using json::member;
using json::parse_object;
using json::secret;
using json::text;
using json::truth;

constexpr int kMaxDepth = 4;

// Whole numbers; 0 for anything else. Bounded, so that they can be added to clocks.
std::int64_t number(const Json& j, const char* key) {
  constexpr double kMost = 1e15;
  const Json* m = member(j, key);
  return m && m->is_number() ? static_cast<std::int64_t>(std::clamp(m->get<double>(), -kMost, kMost)) : 0;
}

Json* object(Json& j, const char* key) {
  if (!j.is_object()) return nullptr;
  const auto it = j.find(key);
  return it != j.end() && it->is_object() ? &*it : nullptr;
}

CredentialSourceJson read_source(Json& j) {
  CredentialSourceJson out;
  out.environment_id = text(j, "environment_id");
  out.file = text(j, "file");
  out.url = text(j, "url");
  out.region_url = text(j, "region_url");
  out.verification_url = text(j, "regional_cred_verification_url");
  out.session_token_url = text(j, "imdsv2_session_token_url");
  if (Json* headers = object(j, "headers"))
    for (auto it = headers->begin(); it != headers->end(); ++it)
      out.headers.emplace_back(std::string{it.key()}, secret(*headers, it.key().c_str()));
  if (const Json* format = object(j, "format")) {
    out.format_type = text(*format, "type");
    out.format_field = text(*format, "subject_token_field_name");
  }
  if (const Json* executable = object(j, "executable")) {
    out.executable = true;
    out.command = text(*executable, "command");
    out.output_file = text(*executable, "output_file");
    out.timeout_ms = number(*executable, "timeout_millis");
  }
  if (const Json* certificate = object(j, "certificate"))
    out.certificate = {truth(*certificate, "use_default_certificate_config"),
                       text(*certificate, "certificate_config_location"),
                       text(*certificate, "trust_chain_path")};
  return out;
}

Result<CredentialFile> read_file(Json& j, int depth) {
  CredentialFile out;
  out.type = text(j, "type");
  out.oauth_client = member(j, "installed") || member(j, "web");
  out.client_email = text(j, "client_email");
  out.private_key_id = text(j, "private_key_id");
  out.token_uri = text(j, "token_uri");
  out.client_id = text(j, "client_id");
  out.account = text(j, "account");
  out.quota_project = text(j, "quota_project_id");
  out.universe_domain = text(j, "universe_domain");
  out.audience = text(j, "audience");
  out.subject_token_type = text(j, "subject_token_type");
  out.token_url = text(j, "token_url");
  out.impersonation_url = text(j, "service_account_impersonation_url");
  out.workforce_user_project = text(j, "workforce_pool_user_project");
  if (const Json* more = object(j, "service_account_impersonation"))
    out.impersonation_lifetime = std::chrono::seconds{number(*more, "token_lifetime_seconds")};
  for (const Json& item : list(j, "delegates"))
    if (const auto* s = item.get_ptr<const Json::string_t*>()) out.delegates.emplace_back(*s);
  if (Json* source = object(j, "credential_source")) out.source = read_source(*source);
  out.private_key = secret(j, "private_key");
  out.client_secret = secret(j, "client_secret");
  out.refresh_token = secret(j, "refresh_token");
  if (Json* inner = object(j, "source_credentials")) {
    if (depth == kMaxDepth)
      return fail(Errc::Config, "source_credentials are nested too deeply", 0, "credentials");
    auto read = read_file(*inner, depth + 1);
    if (!read) return read;
    out.source_credentials = std::make_unique<CredentialFile>(std::move(*read));
  }
  return out;
}

}  // namespace

Result<CredentialFile> read_credential_file(std::string_view json) {
  Json j = parse_object(json);
  if (j.is_null()) return fail(Errc::Config, "it is not a JSON object", 0, "credentials");
  return read_file(j, 0);
}

SecretText read_subject_field(std::string_view json, const std::string& field) {
  Json j = parse_object(json);
  return secret(j, field.c_str());
}

ExecutableReply read_executable_reply(std::string_view json, bool expiry_needed,
                                      std::chrono::sys_seconds now) {
  using Kind = ExecutableReply::Kind;
  const auto reply = [](Kind kind, std::string why) { return ExecutableReply{kind, {}, std::move(why)}; };
  Json j = parse_object(json);
  if (j.is_null()) return reply(Kind::Malformed, "it is not a JSON object");
  const Json* success = member(j, "success");
  const std::int64_t version = number(j, "version");
  if (version == 0) return reply(Kind::Malformed, "it has no \"version\"");
  if (!success || !success->is_boolean()) return reply(Kind::Malformed, "it has no \"success\"");
  if (!success->get<bool>())
    return reply(Kind::Refused, one_line(text(j, "code"), 64) + ": " + one_line(text(j, "message"), 256));
  if (version != 1) return reply(Kind::Malformed, "its version is not 1");
  const std::int64_t expiry = number(j, "expiration_time");
  if (expiry == 0 && expiry_needed) return reply(Kind::Malformed, "it has no \"expiration_time\"");
  const std::string type = text(j, "token_type");
  const bool saml = type == "urn:ietf:params:oauth:token-type:saml2";
  if (!saml && type != "urn:ietf:params:oauth:token-type:jwt" &&
      type != "urn:ietf:params:oauth:token-type:id_token")
    return reply(Kind::Malformed, "its \"token_type\" is missing or unknown");
  if (expiry != 0 && expiry < now.time_since_epoch().count())
    return reply(Kind::Expired, "its token has expired");
  ExecutableReply out{Kind::Token, secret(j, saml ? "saml_response" : "id_token"), {}};
  if (out.token.empty()) return reply(Kind::Malformed, "it holds no token");
  return out;
}

AwsKeys read_aws_keys(std::string_view json) {
  Json j = parse_object(json);
  return {text(j, "AccessKeyId"), secret(j, "SecretAccessKey"), secret(j, "Token")};
}

CertificateConfig read_certificate_config(std::string_view json) {
  Json j = parse_object(json);
  Json* configs = object(j, "cert_configs");
  if (!configs) return {};
  if (const Json* workload = object(*configs, "workload"))
    return {text(*workload, "cert_path"), text(*workload, "key_path"), truth(*workload, "use_ecp")};
  const bool managed =
      object(*configs, "pkcs11") || object(*configs, "macos_keychain") || object(*configs, "windows_store");
  return {{}, {}, managed};
}

std::string write_string_list(const std::vector<std::string>& items) { return dump(Json(items)); }

SecretText write_aws_request(std::string_view url,
                             const std::vector<std::pair<std::string, SecretText>>& headers) {
  Json j{{"url", url}, {"method", "POST"}, {"headers", Json::array()}};
  for (const auto& [key, value] : headers)
    j["headers"].push_back(Json{{"key", key}, {"value", value.view()}});
  return dump_secret(j);
}

}  // namespace sidepool::cloudsql
