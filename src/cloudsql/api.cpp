// cloudsql/api.cpp -- see the header.
#include "src/cloudsql/api.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "src/cloudsql/encode.h"

namespace sidepool::cloudsql {
namespace {

constexpr int kAttempts = 5;
constexpr std::string_view kQuery = "?alt=json&prettyPrint=false";

std::string prefix(std::string_view what, const InstanceName& name) {
  return std::string{what} + " (connection name = \"" + name.canonical() + "\")";
}

CallResult<HttpResponse> call(const HttpRequest& request, const std::string& what, const Caller& caller) {
  for (int attempt = 0;; ++attempt) {
    auto response = caller.send(request);
    if (!response) return tl::unexpected(no_answer(std::move(response.error()), what));
    if (response->status >= 200 && response->status <= 299) return std::move(*response);
    // A server that says when to come back has answered; insisting is for those that do not.
    const bool again =
        response->status >= 500 && response->retry_after == Millis{0} && attempt + 1 < kAttempts;
    if (!again || !caller.pause(server_error_delay(attempt, caller.random())))
      return tl::unexpected(refused(Errc::Api, what, "googleapi", *response));
  }
}

bool is_address(const std::string& text) {
  in6_addr any{};
  return inet_pton(AF_INET, text.c_str(), &any) == 1 || inet_pton(AF_INET6, text.c_str(), &any) == 1;
}

bool is_host_name(std::string_view text) {
  return text.size() <= 254 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

tl::unexpected<Error> config_error(const std::string& what, std::string reason) {
  return fail(Errc::Api, "config error: " + what, 0, std::move(reason));
}

}  // namespace

Millis server_error_delay(int attempt, double u) noexcept {
  return Millis{static_cast<Millis::rep>(200.0 * std::pow(1.618, attempt + 1 + u))};
}

Status check_settings(const InstanceName& name, const ConnectSettings& s) {
  if (s.region != name.region)
    return config_error(
        "provided region was mismatched - got " + name.region + ", want " + one_line(s.region, 64),
        "region_mismatch");
  if (s.backend_type != "SECOND_GEN")
    return config_error("unsupported instance - only Second Generation instances are supported",
                        "unsupported");
  if (!s.database_version.starts_with("POSTGRES"))
    return config_error(
        "unsupported instance - sidepool speaks PostgreSQL, the instance runs " +
            (s.database_version.empty() ? "an unknown engine" : one_line(s.database_version, 64)),
        "unsupported");
  if (s.public_ip.empty() && s.private_ip.empty() && s.psc_names.empty())
    return config_error("cannot connect to instance - it has no supported IP addresses", "no_address");
  const bool sound = (s.public_ip.empty() || is_address(s.public_ip)) &&
                     (s.private_ip.empty() || is_address(s.private_ip)) && is_host_name(s.server_name) &&
                     std::all_of(s.psc_names.begin(), s.psc_names.end(), is_host_name);
  if (!sound) return fail(Errc::Api, "an address or a DNS name of the instance is malformed", 0, "malformed");
  if (s.ca_bundle.empty())
    return fail(Errc::Api, "refresh error: instance does not have a server CA certificate", 0, "malformed");
  return {};
}

SqlAdmin::SqlAdmin(ApiOptions options) : options_(std::move(options)) {
  if (!options_.endpoint.ends_with('/')) options_.endpoint += '/';
}

HttpRequest SqlAdmin::request(const InstanceName& name, std::string_view tail, const Token& admin) const {
  std::string path =
      "projects/" + percent_encode(name.project) + "/instances/" + percent_encode(name.instance);
  return request(std::move(path += tail), admin);
}

HttpRequest SqlAdmin::request(std::string path, const Token& admin) const {
  HttpRequest r;
  r.url = options_.endpoint + "sql/v1beta4/" + std::move(path);
  r.url += kQuery;
  r.headers = {"User-Agent: " + options_.user_agent,
               "X-Goog-Api-Client: gl-cpp/20 " + options_.user_agent.substr(0, options_.user_agent.find(' ')),
               "Accept: application/json"};
  if (!options_.quota_project.empty()) r.headers.push_back("X-Goog-User-Project: " + options_.quota_project);
  r.bearer = admin.text.copy();
  return r;
}

CallResult<ConnectSettings> SqlAdmin::connect_settings(const InstanceName& name, const Token& admin,
                                                       const Caller& caller) const {
  const std::string what = prefix("failed to get instance metadata", name);
  const auto response = call(request(name, "/connectSettings", admin), what, caller);
  if (!response) return tl::unexpected(response.error());
  auto settings = read_connect_settings(response->body);
  if (!settings) return tl::unexpected(unusable(std::move(settings.error()), what));
  if (auto ok = check_settings(name, *settings); !ok)
    return tl::unexpected(unusable(std::move(ok.error()), what));
  return std::move(*settings);
}

CallResult<InstanceName> SqlAdmin::resolve(const GoogleName& name, const Token& admin,
                                           const Caller& caller) const {
  const std::string what = "failed to resolve the DNS name " + name.name;
  const std::string path = "locations/" + percent_encode(name.region) + "/dns/" + percent_encode(name.name) +
                           ":resolveConnectSettings";
  const auto response = call(request(path, admin), what, caller);
  if (!response) return tl::unexpected(response.error());
  auto found = read_connection_name(response->body);
  if (!found) return tl::unexpected(unusable(std::move(found.error()), what));
  auto parsed = InstanceName::parse(*found);
  if (!parsed) return tl::unexpected(unusable(std::move(parsed.error()), what));
  return std::move(*parsed);
}

CallResult<std::string> SqlAdmin::ephemeral_cert(const InstanceName& name, std::string_view public_key_pem,
                                                 const Token& admin, const Token* login,
                                                 const Caller& caller) const {
  const std::string what = prefix("create ephemeral cert failed", name);
  HttpRequest r = request(name, ":generateEphemeralCert", admin);
  r.method = HttpRequest::Method::Post;
  r.headers.emplace_back("Content-Type: application/json");
  r.body = write_cert_request(public_key_pem, login ? &login->text : nullptr);
  const auto response = call(r, what, caller);
  if (!response) return tl::unexpected(response.error());
  auto pem = read_ephemeral_cert(response->body);
  if (!pem) return tl::unexpected(unusable(std::move(pem.error()), what));
  return std::move(*pem);
}

}  // namespace sidepool::cloudsql
