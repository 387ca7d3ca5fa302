// cloudsql/json_text.cpp -- see the header.
#include "src/cloudsql/json_text.h"

#include <algorithm>
#include <utility>

#include "src/base/rfc3339.h"
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

std::string word(std::string_view s) {
  std::string out{s.substr(0, 96)};
  for (char& c : out) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == ',' || c == '-';
    if (!plain) c = '_';
  }
  return out;
}

std::string join_reasons(const Json& items) {
  std::string out;
  for (const Json& item : items) {
    const std::string reason = text(item, "reason");
    if (reason.empty()) continue;
    if (!out.empty()) out += ',';
    out += reason;
  }
  return word(out);
}

void trim_dots(std::string& name) {
  while (name.ends_with('.')) name.pop_back();
}

void read_addresses(const Json& j, ConnectSettings& out) {
  for (const Json& item : list(j, "ipAddresses")) {
    const std::string type = text(item, "type");
    if (type == "PRIMARY") out.public_ip = text(item, "ipAddress");
    if (type == "PRIVATE") out.private_ip = text(item, "ipAddress");
  }
}

// `pscEnabled` gates these names: an instance with a public CA has DNS names too.
void read_names(const Json& j, ConnectSettings& out) {
  const Json& names = list(j, "dnsNames");
  if (!names.empty()) out.server_name = text(names.front(), "name");
  const std::string legacy = text(j, "dnsName");
  if (out.server_name.empty()) out.server_name = legacy;
  out.psc_enabled = truth(j, "pscEnabled");
  if (!out.psc_enabled) return;
  for (const Json& item : names) {
    if (text(item, "connectionType") != "PRIVATE_SERVICE_CONNECT" || text(item, "dnsScope") != "INSTANCE")
      continue;
    std::string name = text(item, "name");
    trim_dots(name);
    if (!name.empty()) out.psc_names.push_back(std::move(name));
  }
  if (out.psc_names.empty() && !legacy.empty()) out.psc_names.push_back(legacy);
  for (std::string& name : out.psc_names) trim_dots(name);
  const auto foreign = [](const std::string& s) { return !s.ends_with(".sql-psc.goog"); };
  std::sort(out.psc_names.begin(), out.psc_names.end(), [&](const std::string& a, const std::string& b) {
    return std::pair{foreign(a), std::string_view{a}} < std::pair{foreign(b), std::string_view{b}};
  });
  out.psc_names.erase(std::unique(out.psc_names.begin(), out.psc_names.end()), out.psc_names.end());
}

}  // namespace

Result<ConnectSettings> read_connect_settings(std::string_view json) {
  const Json j = parse_object(json);
  if (j.is_null()) return fail(Errc::Api, "the instance settings are not a JSON object", 0, "malformed");
  ConnectSettings out;
  out.region = text(j, "region");
  out.backend_type = text(j, "backendType");
  out.database_version = text(j, "databaseVersion");
  read_addresses(j, out);
  read_names(j, out);
  if (const Json* ca = member(j, "serverCaCert")) out.ca_bundle = text(*ca, "cert");
  for (const Json& item : list(j, "mdxProtocolSupport"))
    if (const auto* s = item.get_ptr<const Json::string_t*>()) out.mdx |= *s == "CLIENT_PROTOCOL_TYPE";
  return out;
}

Result<std::string> read_connection_name(std::string_view json) {
  std::string name = text(parse_object(json), "connectionName");
  if (name.empty()) return fail(Errc::Api, "the answer holds no connection name", 0, "malformed");
  return name;
}

Result<std::string> read_ephemeral_cert(std::string_view json) {
  const Json j = parse_object(json);
  const Json* cert = j.is_null() ? nullptr : member(j, "ephemeralCert");
  std::string pem = cert ? text(*cert, "cert") : std::string{};
  if (pem.empty()) return fail(Errc::Api, "the answer holds no client certificate", 0, "malformed");
  return pem;
}

SecretText write_cert_request(std::string_view public_key_pem, const SecretText* login_token) {
  Json j{{"public_key", public_key_pem}};
  if (login_token) j["access_token"] = login_token->view();
  return dump_secret(j);
}

ErrorText read_error(std::string_view json) {
  const Json j = parse_object(json);
  ErrorText out;
  const Json* error = j.is_null() ? nullptr : member(j, "error");
  if (!error) return out;
  if (const auto* oauth = error->get_ptr<const Json::string_t*>()) {
    out.reason = word(*oauth);
    out.message = one_line(text(j, "error_description"), 512);
    if (out.message.empty()) out.message = out.reason;
    return out;
  }
  out.message = one_line(text(*error, "message"), 512);
  out.reason = join_reasons(list(*error, "errors"));
  out.detail_reason = join_reasons(list(*error, "details"));
  if (out.reason.empty()) out.reason = word(text(*error, "status"));
  return out;
}

Result<TokenReply> read_token_reply(std::string_view json) {
  Json j = parse_object(json);
  TokenReply out;
  out.access_token = secret(j, "access_token");
  if (out.access_token.empty()) return fail(Errc::Auth, "the answer holds no access token", 0, "malformed");
  const Json* life = member(j, "expires_in");
  // A century at most: what is added to a clock must not overflow it.
  if (life && life->is_number())
    out.expires_in = std::chrono::seconds{
        static_cast<std::int64_t>(std::clamp(life->get<double>(), 0.0, 3'153'600'000.0))};
  if (out.expires_in.count() <= 0)
    return fail(Errc::Auth, "the access token has no lifetime", 0, "malformed");
  out.refresh_token = secret(j, "refresh_token");
  return out;
}

std::string write_jwt_header(std::string_view key_id) {
  return dump(Json{{"alg", "RS256"}, {"typ", "JWT"}, {"kid", key_id}});
}

std::string write_jwt_claims(const JwtClaims& claims) {
  Json j{{"iss", claims.issuer},
         {"scope", claims.scope},
         {"iat", claims.issued.time_since_epoch().count()},
         {"exp", claims.expires.time_since_epoch().count()}};
  if (!claims.audience.empty()) j["aud"] = claims.audience;
  if (!claims.subject.empty()) j["sub"] = claims.subject;
  return dump(j);
}

std::string write_access_token_request(const std::vector<std::string>& delegates,
                                       std::chrono::seconds lifetime, std::string_view scope) {
  Json j{{"lifetime", std::to_string(lifetime.count()) + "s"}, {"scope", Json::array({scope})}};
  if (!delegates.empty()) j["delegates"] = delegates;
  return dump(j);
}

Result<ImpersonatedReply> read_impersonated_reply(std::string_view text_) {
  Json j = parse_object(text_);
  ImpersonatedReply out;
  out.access_token = secret(j, "accessToken");
  if (out.access_token.empty()) return fail(Errc::Auth, "the answer holds no access token", 0, "malformed");
  const auto expires = parse_rfc3339(text(j, "expireTime"));
  if (!expires) return fail(Errc::Auth, "the access token has no date of expiry", 0, "malformed");
  out.expires = std::chrono::floor<std::chrono::milliseconds>(*expires);
  return out;
}

std::string read_token_info_email(std::string_view json) { return text(parse_object(json), "email"); }

std::string write_user_project(std::string_view project) { return dump(Json{{"userProject", project}}); }

Result<GcloudReply> read_gcloud_reply(std::string_view text_) {
  Json j = parse_object(text_);
  GcloudReply out;
  if (const Json* configuration = member(j, "configuration"))
    if (const Json* properties = member(*configuration, "properties"))
      if (const Json* core = member(*properties, "core")) out.account = text(*core, "account");
  const auto credential = j.is_object() ? j.find("credential") : j.end();
  if (credential == j.end()) return fail(Errc::Auth, "gcloud printed no credential", 0, "malformed");
  out.access_token = secret(*credential, "access_token");
  if (out.access_token.empty()) return fail(Errc::Auth, "gcloud printed no access token", 0, "malformed");
  const auto expires = parse_rfc3339(text(*credential, "token_expiry"));
  if (!expires) return fail(Errc::Auth, "gcloud printed no date of expiry", 0, "malformed");
  out.expires = std::chrono::floor<std::chrono::milliseconds>(*expires);
  return out;
}

}  // namespace sidepool::cloudsql
