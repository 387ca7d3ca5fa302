// cloudsql/json_text.cpp -- see the header.
#include "src/cloudsql/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/cloudsql/encode.h"

namespace sidepool::cloudsql {
namespace {

using Json = nlohmann::json;

// The object a body holds; null for anything else. Never throws on bad input.
Json parse_object(std::string_view text) {
  Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return j.is_object() ? std::move(j) : Json{};
}

const Json* member(const Json& j, const char* key) {
  if (!j.is_object()) return nullptr;
  const auto it = j.find(key);
  return it == j.end() ? nullptr : &*it;
}

std::string text(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* s = m ? m->get_ptr<const Json::string_t*>() : nullptr;
  return s ? *s : std::string{};
}

// Takes the string out of the document, which keeps no readable copy.
SecretText secret(Json& j, const char* key) {
  if (!j.is_object()) return {};
  const auto it = j.find(key);
  auto* s = it == j.end() ? nullptr : it->get_ptr<Json::string_t*>();
  return s ? SecretText{std::move(*s)} : SecretText{};
}

bool truth(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* b = m ? m->get_ptr<const Json::boolean_t*>() : nullptr;
  return b && *b;
}

// The elements of an array member; an empty list for anything else.
const Json& list(const Json& j, const char* key) {
  static const Json kNone = Json::array();
  const Json* m = member(j, key);
  return m && m->is_array() ? *m : kNone;
}

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

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
  SecretText out{dump(j)};
  if (login_token) wipe(j["access_token"].get_ref<Json::string_t&>());
  return out;
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

Result<CredentialFile> read_credential_file(std::string_view json) {
  Json j = parse_object(json);
  if (j.is_null()) return fail(Errc::Config, "it is not a JSON object", 0, "credentials");
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
  out.private_key = secret(j, "private_key");
  out.client_secret = secret(j, "client_secret");
  out.refresh_token = secret(j, "refresh_token");
  return out;
}

std::string write_jwt_header(std::string_view key_id) {
  return dump(Json{{"alg", "RS256"}, {"typ", "JWT"}, {"kid", key_id}});
}

std::string write_jwt_claims(std::string_view issuer, std::string_view scope, std::string_view audience,
                             std::chrono::sys_seconds issued, std::chrono::sys_seconds expires) {
  return dump(Json{{"iss", issuer},
                   {"scope", scope},
                   {"aud", audience},
                   {"iat", issued.time_since_epoch().count()},
                   {"exp", expires.time_since_epoch().count()}});
}

}  // namespace sidepool::cloudsql
