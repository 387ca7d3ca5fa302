// src/metrics/registry.h -- which pools and upstreams are counted, and under which labels.
//
// The registry owns the numbers; workers and the API thread write into what add_pool() and add_upstream()
// gave them. Adding, removing and reading lock; writing into a PoolCounters block does not.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/metrics/counters.h"

namespace sidepool::metrics {

// The names of a pool. Database and user come from a client, so a pool is added only after its first
// successful login: until then anybody who can connect could fill the page with names.
struct PoolLabels {
  std::string upstream, database, user;
};

// A pool's servers at one moment, as its broker counts them.
struct PoolGauges {
  std::uint32_t idle = 0, active = 0, pinned = 0, opening = 0, closing = 0;
  std::uint32_t limit = 0;
};
using PoolGaugesFn = std::function<PoolGauges()>;

class PoolMetrics {
 public:
  PoolMetrics(PoolLabels labels, std::size_t workers, PoolGaugesFn gauges)
      : labels_(std::move(labels)), blocks_(workers), gauges_(std::move(gauges)) {}

  // REQUIRES: worker < the registry's number of workers. The block is that worker's alone to write.
  PoolCounters& of(std::size_t worker) { return blocks_.at(worker); }

  const PoolLabels& labels() const { return labels_; }
  const std::vector<PoolCounters>& blocks() const { return blocks_; }
  PoolGauges gauges() const { return gauges_ ? gauges_() : PoolGauges{}; }

 private:
  PoolLabels labels_;
  std::vector<PoolCounters> blocks_;
  PoolGaugesFn gauges_;
};

// The parts of opening a server connection, in their order.
enum class DialPhase : std::uint8_t { Resolve, Api, Tcp, Tls, Login };
inline constexpr std::array<std::string_view, 5> kDialPhases{"resolve", "api", "tcp", "tls", "login"};

// Numbers of one upstream: rare events, any thread; one lock for all of them.
class UpstreamMetrics {
 public:
  // Bounds of cloudsqlconn_dial_latency in milliseconds, as the Cloud SQL connector publishes them.
  static constexpr std::array<double, 9> kDialBounds{5, 25, 100, 250, 500, 1000, 2000, 5000, 30000};

  struct Snapshot {
    std::array<Distribution, kDialPhases.size()> phases;
    std::array<std::uint64_t, kDialPhases.size()> failed{};
    std::map<std::string, std::uint64_t> login_failures, refresh_failures, refresh_failure_codes;
    std::uint64_t refreshes = 0;
    std::int64_t certificate_expiry = 0;  // seconds of Unix time, 0: no certificate yet
    std::array<std::uint64_t, kDialBounds.size()> dials_by_bound{};
    std::uint64_t dials = 0, dials_failed = 0;
    double dials_milliseconds = 0;
    std::int64_t open = 0;
    bool was_open = false;
    std::uint64_t sent = 0, received = 0;  // that no pool counts
  };

  UpstreamMetrics(std::string upstream, bool cloud_sql)
      : upstream_(std::move(upstream)), cloud_sql_(cloud_sql) {}

  void phase_done(DialPhase phase, std::chrono::nanoseconds took);
  void phase_failed(DialPhase phase);
  // The whole way to an encrypted connection, without the database's login: what the connector calls a dial.
  void dialed(std::chrono::nanoseconds took);
  void dial_failed();
  void opened();
  void closed();
  // A login of a client, or a server's, that the upstream refused while no pool exists yet; see ReasonCounts.
  void login_failed(std::string_view reason);
  void refreshed(std::chrono::system_clock::time_point certificate_expires);
  // `api_code`: Google's errors[].reason, comma-joined, if the API answered with an error.
  void refresh_failed(std::string_view reason, std::string_view api_code = {});
  // What no pool counts: servers that clients have for themselves, and pools that are gone, so that the
  // instance's totals do not fall.
  void add_bytes(std::uint64_t sent, std::uint64_t received);

  const std::string& upstream() const { return upstream_; }
  bool cloud_sql() const { return cloud_sql_; }
  Snapshot read() const;

 private:
  const std::string upstream_;  // the instance connection name, or what the configuration calls the host list
  const bool cloud_sql_;
  mutable std::mutex mutex_;
  Snapshot now_;  // all but phases, login_failures and refresh_failures, which the members below hold
  std::array<Latency, kDialPhases.size()> phases_;
  ReasonCounts login_failures_, refresh_failures_;
};

// What the process itself tells, asked for once per page.
struct ProcessGauges {
  std::uint32_t clients = 0, clients_limit = 0;  // connected, logged in or not
  std::uint32_t workers = 0;
  std::uint64_t log_lines_dropped = 0;
  bool ready = false;  // as /readiness says
};
using ProcessGaugesFn = std::function<ProcessGauges()>;

struct Identity {
  std::string version;
  std::string dialer_id;   // a random UUID per process: the connector's label cloudsql_dialer_id
  std::string name_space;  // put before every name with a '_' (--prometheus-namespace), may be empty
};

class Registry {
 public:
  Registry(std::size_t workers, Identity identity, ProcessGaugesFn process = {})
      : workers_(workers), identity_(std::move(identity)), process_(std::move(process)) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Valid until the registry dies. Upstreams are few and come from the configuration.
  UpstreamMetrics& add_upstream(std::string upstream, bool cloud_sql);

  // Valid until remove_pool(), by when no worker may write any more. `gauges` is called by the thread that
  // makes the page with the registry locked: it must be thread-safe, short, and must not call the registry.
  // Pools with equal labels (servers opened with another set of startup parameters) appear as one, added up.
  PoolMetrics& add_pool(PoolLabels labels, PoolGaugesFn gauges);
  void remove_pool(PoolMetrics& pool);

  // Any thread.
  void client_refused(std::string_view limit) { refused_.add(limit); }
  void config_loaded(bool ok, std::chrono::system_clock::time_point now);

  // Calls `f` with each, locked.
  void each_pool(const std::function<void(const PoolMetrics&)>& f) const;
  void each_upstream(const std::function<void(const UpstreamMetrics&)>& f) const;

  struct ConfigState {
    bool ok = false, tried = false;
    std::int64_t loaded_at = 0;  // seconds of Unix time of the last success
  };
  ConfigState config_state() const;
  std::map<std::string, std::uint64_t> refused() const { return refused_.read(); }
  ProcessGauges process() const { return process_ ? process_() : ProcessGauges{}; }
  const Identity& identity() const { return identity_; }

 private:
  const std::size_t workers_;
  const Identity identity_;
  const ProcessGaugesFn process_;
  ReasonCounts refused_;
  mutable std::mutex mutex_;
  std::list<PoolMetrics> pools_;
  std::list<UpstreamMetrics> upstreams_;
  ConfigState config_;
};

}  // namespace sidepool::metrics
