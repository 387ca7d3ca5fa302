// tests/cloudsql_emulator/oauth.cpp -- giving out tokens.
#include "tests/cloudsql_emulator/oauth.h"

#include <algorithm>
#include <ctime>

#include "tests/cloudsql_emulator/aws.h"

namespace sidepool::emulator {
namespace {

constexpr char kJwtBearer[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr char kTokenExchange[] = "urn:ietf:params:oauth:grant-type:token-exchange";
constexpr char kAwsRequestType[] = "urn:ietf:params:aws:token-type:aws4_request";
constexpr char kAccessTokenType[] = "urn:ietf:params:oauth:token-type:access_token";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> out;
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(part.size() + 1, text.size()));
    if (!part.empty()) out.emplace_back(part);
  }
  return out;
}

Json token_body(const IssuedToken& issued) {
  Json out;
  out["access_token"] = issued.token;
  out["expires_in"] = static_cast<long>(issued.lifetime_s);
  out["token_type"] = "Bearer";
  return out;
}

struct Jwt {
  Json header;
  Json claims;
  std::string signed_part;
  std::string signature;
};

std::optional<Jwt> parse_jwt(const std::string& text) {
  std::vector<std::string> parts = split(text, '.');
  if (parts.size() != 3) return std::nullopt;
  auto header = base64url_decode(parts[0]);
  auto claims = base64url_decode(parts[1]);
  auto signature = base64url_decode(parts[2]);
  if (!header || !claims || !signature) return std::nullopt;
  auto header_json = Json::parse(*header);
  auto claims_json = Json::parse(*claims);
  if (!header_json || !claims_json) return std::nullopt;
  return Jwt{*header_json, *claims_json, parts[0] + "." + parts[1], *signature};
}

std::string rfc3339(std::int64_t seconds) {
  std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Response OAuth::jwt_bearer(const Request& request, const std::string& assertion, Json& details) const {
  auto jwt = parse_jwt(assertion);
  if (!jwt) return oauth_error(400, "invalid_grant", "Invalid JWT: the assertion is malformed.");
  std::string issuer = jwt->claims.text("iss");
  std::string scope = jwt->claims.text("scope");
  std::string audience = jwt->claims.text("aud");
  auto now = static_cast<double>(std::time(nullptr));
  double issued_at = jwt->claims.number("iat", 0);
  double expires_at = jwt->claims.number("exp", 0);
  details["grant"] = "jwt-bearer";
  details["issuer"] = issuer;
  details["scopes"] = split(scope, ' ');
  details["audience"] = audience;
  if (jwt->header.text("alg") != "RS256") {
    return oauth_error(400, "invalid_grant", "Invalid JWT: the algorithm must be RS256.");
  }
  if (!principals_.verify(issuer, jwt->header.text("kid"), jwt->signed_part, jwt->signature)) {
    return oauth_error(400, "invalid_grant", "Invalid JWT Signature.");
  }
  std::string here = "http://" + request.header("Host") + "/token";
  if (audience != here && audience != "https://oauth2.googleapis.com/token") {
    return oauth_error(400, "invalid_grant", "Invalid JWT: the audience is not this endpoint.");
  }
  if (issued_at > now + 60 || expires_at <= now || expires_at - issued_at > 3600) {
    return oauth_error(
        400, "invalid_grant",
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
  }
  if (scope.empty()) return oauth_error(400, "invalid_scope", "No scope was asked for.");
  return json_response(200, token_body(principals_.issue(issuer, split(scope, ' '))));
}

Response OAuth::token(const Request& request, Json& details) const {
  if (request.method != "POST") return oauth_error(405, "invalid_request", "The method must be POST.");
  auto form = parse_form(request.body);
  std::string grant = form["grant_type"];
  if (grant == kJwtBearer) return jwt_bearer(request, form["assertion"], details);
  if (grant != "refresh_token")
    return oauth_error(400, "unsupported_grant_type", "Invalid grant_type: " + grant);
  details["grant"] = "refresh_token";
  details["has_scope"] = form.contains("scope");
  Principals::UserCredentials credentials{form["client_id"], form["client_secret"], form["refresh_token"]};
  auto principal = principals_.user_of_refresh_token(credentials);
  if (!principal) return oauth_error(400, "invalid_grant", "Token has been expired or revoked.");
  details["principal"] = *principal;
  // A refresh grant carries no scope: the token has all that the user consented to (§5.4 b).
  return json_response(200, token_body(principals_.issue(*principal, {kPlatformScope, kLoginScope})));
}

Response OAuth::security_token(const Request& request, Json& details) const {
  auto form = parse_form(request.body);
  details["audience"] = form["audience"];
  details["subject_token_type"] = form["subject_token_type"];
  details["scopes"] = split(form["scope"], ' ');
  details["has_basic_auth"] = request.header("Authorization").starts_with("Basic ");
  if (form["grant_type"] != kTokenExchange || form["requested_token_type"] != kAccessTokenType) {
    return oauth_error(400, "invalid_request", "grant_type or requested_token_type is not supported.");
  }
  if (form["audience"].empty() || form["subject_token_type"].empty()) {
    return oauth_error(400, "invalid_request", "audience and subject_token_type are required.");
  }
  std::string subject = form["subject_token"];
  if (form["subject_token_type"] == kAwsRequestType)
    subject = aws_access_key(subject, form["audience"]).value_or("");
  auto principal = principals_.principal_of_subject_token(subject);
  if (!principal) return oauth_error(400, "invalid_grant", "The subject token is not accepted.");
  details["principal"] = *principal;
  Json out = token_body(principals_.issue(*principal, split(form["scope"], ' ')));
  out["issued_token_type"] = kAccessTokenType;
  return json_response(200, out);
}

Response OAuth::generate_access_token(const Request& request, const std::string& target,
                                      Json& details) const {
  auto source = principals_.lookup(request.bearer());
  if (!source) return google_error(401, "authError", "Request had invalid authentication credentials.");
  if (!source->has(kPlatformScope)) {
    return google_error(403, "insufficientPermissions", "Request had insufficient authentication scopes.");
  }
  auto body = Json::parse(request.body);
  if (!body) return google_error(400, "parseError", "The request body is no JSON object.");
  std::vector<std::string> hops;
  for (const std::string& delegate : body->strings("delegates"))
    hops.push_back(delegate.substr(delegate.rfind('/') + 1));
  details["delegates"] = hops;
  details["scopes"] = body->strings("scope");
  details["lifetime"] = body->text("lifetime");
  hops.push_back(target);
  std::string current = source->principal;
  for (const std::string& hop : hops) {
    auto rights = principals_.rights(hop);
    if (!rights) return google_error(404, "notFound", "Not found; Gaia id not found for email " + hop);
    const auto& allowed = rights->impersonators;
    if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), current) == allowed.end()) {
      return google_error(
          403, "forbidden",
          "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).");
    }
    current = hop;
  }
  std::int64_t lifetime = std::atoll(body->text("lifetime", "3600s").c_str());
  IssuedToken issued = principals_.issue(target, body->strings("scope"), lifetime);
  Json out;
  out["accessToken"] = issued.token;
  out["expireTime"] = rfc3339(std::time(nullptr) + issued.lifetime_s);
  return json_response(200, out);
}

Response OAuth::token_info(const Request& request) const {
  auto form = parse_form(request.method == "POST" ? request.body : request.query);
  auto token = principals_.lookup(form["access_token"]);
  if (!token) return oauth_error(400, "invalid_token", "Invalid Value");
  Json out;
  std::string scopes;
  for (const std::string& scope : token->scopes) scopes += (scopes.empty() ? "" : " ") + scope;
  out["email"] = token->principal;
  out["email_verified"] = "true";
  out["scope"] = scopes;
  return json_response(200, out);
}

Response OAuth::metadata(const Request& request, const std::string& path, Json& details) const {
  auto text = [](int status, std::string body) {
    return Response{
        status, {{"Content-Type", "application/text"}, {"Metadata-Flavor", "Google"}}, std::move(body)};
  };
  if (request.header("Metadata-Flavor") != "Google")
    return text(403, "Missing Metadata-Flavor:Google header.");
  constexpr std::string_view kAccount = "instance/service-accounts/default/";
  std::string principal = principals_.attached();
  if (path == "project/project-id") return text(200, "emulated-project");
  if (!path.starts_with(kAccount) || principal.empty()) return text(404, "Not Found");
  std::string item = path.substr(kAccount.size());
  if (item == "email") return text(200, principal);
  if (item == "aliases") return text(200, "default");
  if (item == "scopes") return text(200, std::string(kPlatformScope) + "\n");
  if (item != "token") return text(404, "Not Found");
  auto query = parse_form(request.query);
  std::vector<std::string> scopes = split(query["scopes"], ',');
  details["scopes"] = scopes;
  if (scopes.empty()) scopes.emplace_back(kPlatformScope);
  Response out = json_response(200, token_body(principals_.issue(principal, scopes)));
  out.headers["Metadata-Flavor"] = "Google";
  return out;
}

}  // namespace sidepool::emulator
