// src/check/check.cpp -- see the header.
#include "src/check/check.h"

#include <algorithm>
#include <utility>

#include "src/check/dialling.h"
#include "src/check/google.h"
#include "src/check/listeners.h"
#include "src/check/upstream_check.h"
#include "src/metrics/registry.h"
#include "src/upstream/source_options.h"

namespace sidepool::check {
namespace {

using Environment = std::function<std::optional<std::string>(const std::string&)>;

std::optional<std::string> variable(const Environment& environment, const std::string& name) {
  auto value = environment(name);
  return value && !value->empty() ? std::move(value) : std::nullopt;
}

Login login_of(const Environment& environment) {
  Login login;
  login.user = variable(environment, "PGUSER");
  login.database = variable(environment, "PGDATABASE");
  if (auto password = variable(environment, "PGPASSWORD")) {
    login.password.emplace(*password);
    conf::wipe(password->data(), password->size());
  }
  return login;
}

void check_http(const conf::HttpConfig& http, Report& report) {
  if (!http.metrics && !http.health && !http.quitquitquit) return;
  report.section("probes and metrics");
  if (http.health) check_listener(*http.health, report);
  if (http.metrics && http.metrics != http.health) check_listener(*http.metrics, report);
  if (http.quitquitquit) check_listener({"127.0.0.1", http.admin_port, {}}, report);
}

}  // namespace

int run(const conf::Config& config, const Environment& environment,
        const std::function<void(std::string_view)>& print) {
  Report report(print);
  auto dialling = Dialling::create(config.server.dns_servers);
  if (!dialling) {
    print("Error: " + dialling.error().what);
    return 1;
  }
  std::optional<Google> google;
  const bool cloudsql = std::any_of(config.upstreams.begin(), config.upstreams.end(),
                                    [](const conf::Upstream& u) { return u.is_cloudsql(); });
  if (cloudsql) {
    report.section("Google");
    auto options = upstream::source_options(config.cloudsql, SIDEPOOL_VERSION);
    options.dns_servers = config.server.dns_servers;
    google.emplace(std::move(options));
    google->open(report);
  }
  metrics::Registry registry(1, {});
  const Login login = login_of(environment);
  auto proxy = upstream::SocksProxy::of_environment(environment);
  if (!proxy && cloudsql) report.failed(Subject::Route, proxy.error().what, "Correct ALL_PROXY, or unset it");
  const Means means{google ? &*google : nullptr,         **dialling, login, config.users, registry,
                    proxy && cloudsql ? *proxy : nullptr};
  for (const auto& upstream : config.upstreams) UpstreamCheck(upstream, means, report).run();
  check_http(config.http, report);
  const unsigned failures = report.failures();
  print(failures == 0
            ? "every check has passed"
            : std::to_string(failures) + (failures == 1 ? " check has failed" : " checks have failed"));
  return failures == 0 ? 0 : 1;
}

}  // namespace sidepool::check
