// src/metrics/upstreams.cpp -- the page's part about upstreams: dials, refused logins, certificates.
#include "src/metrics/subjects.h"

namespace sidepool::metrics {

namespace {

struct Upstream {
  Labels labels;
  bool cloud_sql;
  UpstreamMetrics::Snapshot now;
};

std::vector<Upstream> collect(const Registry& registry) {
  std::vector<Upstream> all;
  registry.each_upstream([&](const UpstreamMetrics& u) {
    all.push_back({{{"upstream", label_value(u.upstream())}}, u.cloud_sql(), u.read()});
  });
  return all;
}

void add_dials(const std::vector<Upstream>& upstreams, Families& page) {
  Family took = histogram("sidepool_dial_seconds", "Time of each phase of opening a server connection.");
  Family failed =
      counter("sidepool_dial_failures_total", "Server connections that failed in a phase of opening.");
  for (const auto& u : upstreams) {
    for (std::size_t i = 0; i < kDialPhases.size(); ++i) {
      const Labels labels = with(u.labels, "phase", kDialPhases[i]);
      if (u.now.phases[i].count > 0) took.add(labels, u.now.phases[i]);
      failed.add(labels, static_cast<double>(u.now.failed[i]));
    }
  }
  took.move_to(page);
  failed.move_to(page);
}

void add_certificates(const std::vector<Upstream>& upstreams, Families& page) {
  Family refreshes =
      counter("sidepool_certificate_refreshes_total", "Client certificates fetched for an instance.");
  Family failures = counter("sidepool_certificate_refresh_failures_total",
                            "Attempts to fetch a client certificate that failed.");
  Family expiry = gauge("sidepool_certificate_expiry_timestamp_seconds",
                        "When the client certificate of an instance expires, in Unix time.");
  for (const auto& u : upstreams) {
    if (!u.cloud_sql) continue;
    refreshes.add(u.labels, static_cast<double>(u.now.refreshes));
    for (const auto& [reason, n] : u.now.refresh_failures) {
      failures.add(with(u.labels, "reason", reason), static_cast<double>(n));
    }
    if (u.now.certificate_expiry != 0) expiry.add(u.labels, static_cast<double>(u.now.certificate_expiry));
  }
  refreshes.move_to(page);
  failures.move_to(page);
  expiry.move_to(page);
}

}  // namespace

void add_upstreams(const Registry& registry, Families& page) {
  const auto upstreams = collect(registry);
  Family refused = counter("sidepool_login_failures_total", "Logins that the upstream refused, by reason.");
  Family open = gauge("sidepool_server_connections", "Connections open to an upstream, logged in or not.");
  for (const auto& u : upstreams) {
    for (const auto& [reason, n] : u.now.login_failures) {
      refused.add(with(u.labels, "reason", reason), static_cast<double>(n));
    }
    open.add(u.labels, static_cast<double>(u.now.open));
  }
  open.move_to(page);
  refused.move_to(page);
  add_dials(upstreams, page);
  add_certificates(upstreams, page);
}

}  // namespace sidepool::metrics
