// tests/cloudsql_emulator/admin_api.cpp -- connectSettings, generateEphemeralCert, resolveConnectSettings.
#include "tests/cloudsql_emulator/admin_api.h"

#include <ctime>

namespace sidepool::emulator {
namespace {

std::string rfc3339(std::int64_t seconds) {
  std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
  return text;
}

}  // namespace

Response AdminApi::authorize(const Request& request, const std::string& instance) const {
  auto token = principals_.lookup(request.bearer());
  if (!token) {
    Response out =
        google_error(401, "authError",
                     "Request had invalid authentication credentials. Expected OAuth 2 access token, "
                     "login cookie or other valid authentication credential.");
    out.headers["WWW-Authenticate"] =
        "Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\"";
    return out;
  }
  if (!token->has(kAdminScope)) {
    return google_error(403, "insufficientPermissions", "Request had insufficient authentication scopes.");
  }
  auto rights = principals_.rights(token->principal);
  if (!rights || !rights->connect) {
    return google_error(403, "notAuthorized", "The client is not authorized to make this request.");
  }
  if (instance.empty()) {
    return google_error(404, "instanceDoesNotExist", "The Cloud SQL instance does not exist.");
  }
  return {};
}

Json AdminApi::settings_body(const InstanceSettings& s) const {
  Json out;
  out["kind"] = "sql#connectSettings";
  out["region"] = s.region.empty() ? s.region_of_name() : s.region;
  out["backendType"] = s.backend_type;
  out["databaseVersion"] = s.database_version;
  out["ipAddresses"] = Json::Array{};
  auto add_address = [&](const char* type, const std::string& address) {
    if (!address.empty()) out["ipAddresses"].push(Json::Object{{"type", type}, {"ipAddress", address}});
  };
  add_address("PRIMARY", s.address);
  add_address("PRIVATE", s.private_address);
  out["serverCaCert"]["kind"] = "sql#sslCert";
  out["serverCaCert"]["cert"] = instances_.bundle(s.name);
  std::string mode = s.cas ? "GOOGLE_MANAGED_CAS_CA" : "GOOGLE_MANAGED_INTERNAL_CA";
  out["serverCaMode"] = s.server_ca_mode.empty() ? mode : s.server_ca_mode;
  if (!s.mdx.empty()) out["mdxProtocolSupport"] = s.mdx;
  if (s.psc_enabled) out["pscEnabled"] = true;
  if (!s.dns_name.empty()) out["dnsName"] = s.dns_name;
  for (const DnsName& name : s.dns_names) {
    out["dnsNames"].push(Json::Object{
        {"name", name.name}, {"connectionType", name.connection_type}, {"dnsScope", name.scope}});
  }
  return out;
}

Response AdminApi::connect_settings(const Request& request, const std::string& instance) const {
  if (Response refusal = authorize(request, instance); refusal.status != 200) return refusal;
  auto settings = instances_.settings(instance);
  if (!settings) return google_error(404, "instanceDoesNotExist", "The Cloud SQL instance does not exist.");
  return json_response(200, settings_body(*settings));
}

Response AdminApi::generate_ephemeral_cert(const Request& request, const std::string& instance,
                                           Json& details) const {
  if (Response refusal = authorize(request, instance); refusal.status != 200) return refusal;
  auto settings = instances_.settings(instance);
  auto body = Json::parse(request.body);
  if (!settings || !body) return google_error(400, "parseError", "The request body is no JSON object.");
  std::string pem = body->text("public_key");
  details["public_key_label"] = pem.substr(0, pem.find('\n'));
  details["public_key_sha256"] = sha256_hex(pem);
  Key key = parse_public_key(pem);
  if (!key)
    return google_error(400, "invalid", "Invalid request: public_key is no RSA public key in PEM form.");
  std::string login_token = body->text("access_token");
  details["has_access_token"] = !login_token.empty();
  std::string principal;
  if (!login_token.empty()) {
    auto token = principals_.lookup(login_token);
    if (!token || !token->has(kLoginScope)) {
      return google_error(400, "invalid", "Invalid request: access_token is not valid for database login.");
    }
    principal = token->principal;
    details["login_principal"] = principal;
    details["login_scopes"] = token->scopes;
  }
  Cert cert = instances_.sign(instance, key.get(), settings->iam ? principal : std::string());
  std::int64_t now = std::time(nullptr);
  Json out;
  out["ephemeralCert"]["kind"] = "sql#sslCert";
  out["ephemeralCert"]["cert"] = to_pem(cert.get());
  out["ephemeralCert"]["commonName"] = "Google Cloud SQL Client";
  out["ephemeralCert"]["createTime"] = rfc3339(now);
  out["ephemeralCert"]["expirationTime"] = rfc3339(now + settings->cert_lifetime_s);
  out["ephemeralCert"]["instance"] = settings->instance();
  return json_response(200, out);
}

Response AdminApi::resolve_connect_settings(const Request& request, std::string_view dns_name) const {
  auto instance = instances_.by_dns_name(dns_name);
  if (Response refusal = authorize(request, instance.value_or("")); refusal.status != 200) return refusal;
  auto settings = instances_.settings(*instance);
  if (!settings) return google_error(404, "instanceDoesNotExist", "The Cloud SQL instance does not exist.");
  Json out = settings_body(*settings);
  out["connectionName"] = settings->name;
  return json_response(200, out);
}

}  // namespace sidepool::emulator
