// tests/cloudsql_emulator/router.cpp -- paths, fault steps and records.
#include "tests/cloudsql_emulator/router.h"

#include "tests/cloudsql_emulator/aws.h"

namespace sidepool::emulator {
namespace {

std::string default_reason(int status) {
  switch (status) {
    case 400:
      return "invalid";
    case 401:
      return "authError";
    case 403:
      return "notAuthorized";
    case 404:
      return "instanceDoesNotExist";
    case 409:
      return "operationInProgress";
    case 429:
      return "rateLimitExceeded";
    default:
      return "backendError";
  }
}

Response fault_response(const FaultStep& step) {
  std::string reason = step.reason.empty() ? default_reason(step.status) : step.reason;
  std::string message = step.message.empty() ? "Fault ordered by the test." : step.message;
  Response out = google_error(step.status != 0 ? step.status : 200, reason, message);
  if (step.body) out.body = *step.body;
  for (const auto& [name, value] : step.headers) out.headers[name] = value;
  return out;
}

void damage(Response& response, const std::string& how) {
  if (how == "json") {
    response.body.resize(response.body.size() / 2);
    return;
  }
  auto body = Json::parse(response.body);
  if (!body) return;
  std::string pem = how == "pem"
                        ? "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
                        : "";
  for (const char* holder : {"serverCaCert", "ephemeralCert"}) {
    if (body->find(holder) != nullptr) (*body)[holder]["cert"] = pem;
  }
  response.body = body->dump();
}

// Removes `suffix` from the end; false if it is not there.
bool cut(std::string& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

}  // namespace

Router::Route Router::route(const Request& request) const {
  std::vector<std::string> parts = path_segments(request.path);
  bool get = request.method == "GET";
  bool post = request.method == "POST";
  if (parts.empty()) return {"root", "", ""};
  if (parts[0] == "computeMetadata" && parts.size() > 2) {
    std::string path;
    for (std::size_t i = 2; i < parts.size(); ++i) path += (i > 2 ? "/" : "") + parts[i];
    return {path.ends_with("/token") ? "metadata.token" : "metadata", "", path};
  }
  if (parts[0] == "latest" && parts.size() > 1) {
    std::string path;
    for (std::size_t i = 1; i < parts.size(); ++i) path += (i > 1 ? "/" : "") + parts[i];
    return {"aws", "", path};
  }
  if (parts[0] == "token" && parts.size() == 1) return {"token", "", ""};
  if (parts[0] == "tokeninfo" && parts.size() == 1) return {"tokeninfo", "", ""};
  if (parts.size() == 2 && parts[0] == "v1" && parts[1] == "token" && post) return {"sts", "", ""};
  if (parts.size() == 5 && parts[0] == "v1" && parts[3] == "serviceAccounts" && post) {
    if (cut(parts[4], ":generateAccessToken")) return {"generateAccessToken", "", parts[4]};
  }
  if (parts.size() < 6 || parts[0] != "sql" || parts[1] != "v1beta4") return {"unknown", "", ""};
  if (parts[2] == "locations" && parts[4] == "dns" && get && cut(parts[5], ":resolveConnectSettings")) {
    return {"resolveConnectSettings", instances_.by_dns_name(parts[5]).value_or(""), parts[5]};
  }
  if (parts[2] != "projects" || parts[4] != "instances") return {"unknown", "", ""};
  if (parts.size() == 7 && parts[6] == "connectSettings" && get) {
    return {"connectSettings", instances_.by_project(parts[3], parts[5]), ""};
  }
  if (parts.size() == 6 && post && cut(parts[5], ":generateEphemeralCert")) {
    return {"generateEphemeralCert", instances_.by_project(parts[3], parts[5]), ""};
  }
  return {"unknown", "", ""};
}

Response Router::answer(const Request& request, const Route& route, Json& details) const {
  if (route.api == "connectSettings") return admin_.connect_settings(request, route.instance);
  if (route.api == "generateEphemeralCert") {
    return admin_.generate_ephemeral_cert(request, route.instance, details);
  }
  if (route.api == "resolveConnectSettings") return admin_.resolve_connect_settings(request, route.argument);
  if (route.api == "token") return oauth_.token(request, details);
  if (route.api == "tokeninfo") return oauth_.token_info(request);
  if (route.api == "aws") return aws_metadata(request, route.argument);
  if (route.api == "sts") return oauth_.security_token(request, details);
  if (route.api == "generateAccessToken")
    return oauth_.generate_access_token(request, route.argument, details);
  if (route.api.starts_with("metadata")) return oauth_.metadata(request, route.argument, details);
  if (route.api == "root") return {200, {{"Metadata-Flavor", "Google"}}, "computeMetadata/\n"};
  return google_error(404, "notFound", "Not Found");
}

Response Router::handle(const Request& request) {
  if (request.path.starts_with("/_control")) return control_.handle(request);
  Route target = route(request);
  RequestRecord record;
  record.time = wall_seconds();
  record.api = target.api;
  record.instance = target.instance;
  record.request = request;
  if (auto token = principals_.lookup(request.bearer())) record.principal = token->principal;
  recorder_.count("arrived." + target.api);
  auto step = faults_.take(target.api, target.instance);
  if (step) faults_.wait(target.api, *step);
  Response response;
  if (step && step->drop) {
    response.status = 0;
    response.drop = true;
  } else if (step && (step->status != 0 || step->body)) {
    response = fault_response(*step);
  } else {
    response = answer(request, target, record.details);
    if (step && !step->malformed.empty()) damage(response, step->malformed);
  }
  record.status = response.status;
  recorder_.add(std::move(record));
  return response;
}

}  // namespace sidepool::emulator
