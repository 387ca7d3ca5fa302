// src/metrics/connector.cpp -- the names that the Cloud SQL Go connector publishes (internal/trace/metrics.go
// of its version 1.22), so that existing dashboards go on. Milliseconds and missing _total are theirs.
#include <map>

#include "src/metrics/subjects.h"

namespace sidepool::metrics {

namespace {

struct Bytes {
  std::uint64_t sent = 0, received = 0;
};

std::map<std::string, Bytes> bytes_by_upstream(const Registry& registry) {
  std::map<std::string, Bytes> bytes;
  registry.each_pool([&](const PoolMetrics& pool) {
    Bytes& b = bytes[pool.labels().upstream];
    for (const auto& block : pool.blocks()) {
      b.sent += block.to_servers.get();
      b.received += block.from_servers.get();
    }
  });
  return bytes;
}

struct Page {
  Page()
      : latency(histogram("cloudsqlconn_dial_latency", "The distribution of dialer latencies (ms)")),
        open(gauge("cloudsqlconn_open_connections", "The current number of open Cloud SQL connections")),
        failed(counter("cloudsqlconn_dial_failure_count", "The number of failed dial attempts")),
        refreshes(counter("cloudsqlconn_refresh_success_count",
                          "The number of successful certificate refresh operations")),
        refresh_failures(counter("cloudsqlconn_refresh_failure_count",
                                 "The number of failed certificate refresh operations")),
        sent(counter("cloudsqlconn_bytes_sent", "The number of bytes sent to Cloud SQL")),
        received(counter("cloudsqlconn_bytes_received", "The number of bytes received from Cloud SQL")) {}

  // A series exists only after its first record.
  void add(const std::string& dialer, const std::string& instance, const UpstreamMetrics::Snapshot& now,
           Bytes bytes) {
    const Labels labels{{"cloudsql_dialer_id", dialer}, {"cloudsql_instance", instance}};
    if (now.dials > 0) {
      latency.add(labels, UpstreamMetrics::kDialBounds.data(), now.dials_by_bound.data(),
                  now.dials_by_bound.size(), now.dials, now.dials_milliseconds);
    }
    if (now.was_open) open.add(labels, static_cast<double>(now.open));
    const auto count = [&](Family& family, std::uint64_t n) {
      if (n > 0) family.add(labels, static_cast<double>(n));
    };
    count(failed, now.dials_failed);
    count(refreshes, now.refreshes);
    for (const auto& [code, n] : now.refresh_failure_codes) {
      Labels more{{"cloudsql_dialer_id", dialer}};
      if (!code.empty()) more.emplace_back("cloudsql_error_code", label_value(code));
      more.emplace_back("cloudsql_instance", instance);
      refresh_failures.add(more, static_cast<double>(n));
    }
    count(sent, bytes.sent + now.sent);
    count(received, bytes.received + now.received);
  }

  Family latency, open, failed, refreshes, refresh_failures, sent, received;
};

}  // namespace

void add_connector(const Registry& registry, Families& families) {
  const Identity& identity = registry.identity();
  const auto bytes = bytes_by_upstream(registry);
  Page page;
  registry.each_upstream([&](const UpstreamMetrics& u) {
    if (!u.cloud_sql()) return;
    const auto found = bytes.find(u.upstream());
    page.add(identity.dialer_id, label_value(u.upstream()), u.read(),
             found == bytes.end() ? Bytes{} : found->second);
  });
  for (Family* family : {&page.latency, &page.open, &page.failed, &page.refreshes, &page.refresh_failures,
                         &page.sent, &page.received}) {
    family->move_to(families);
  }
}

}  // namespace sidepool::metrics
