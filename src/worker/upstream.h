// src/worker/upstream.h -- one upstream and its pools, shared by all workers.
#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/config.h"
#include "pool/broker.h"
#include "pool/session.h"
#include "src/base/result.h"
#include "src/cloudsql/source.h"
#include "src/metrics/registry.h"
#include "src/tls/context.h"
#include "src/upstream/attempt.h"
#include "src/worker/cancel_queue.h"
#include "src/worker/failed_peers.h"
#include "src/worker/pool_entry.h"

namespace sidepool::worker {

class Upstream {
 public:
  // `cloudsql` is null for a host list; both outlive the upstream. `proxy`: to a Cloud SQL instance; may be
  // null.
  Upstream(std::uint16_t index, std::uint16_t workers, const conf::Upstream& conf,
           cloudsql::CloudSql* cloudsql, metrics::Registry& registry,
           std::shared_ptr<const upstream::SocksProxy> proxy = nullptr);
  ~Upstream();

  const std::uint16_t index;
  const std::string label;  // conf::Upstream::label()
  const std::string name;
  pool::Broker broker;
  metrics::UpstreamMetrics& metrics;
  CancelQueue cancels;
  FailedPeers failed_peers;
  struct {
    std::mutex mutex;
    cloudsql::LogGate gate;  // guarded by mutex
  } errors;                  // that were logged
  // Counts the times that new connections began to lead to another server: what was dialled before is not to
  // be shared any more. Grows before the broker's servers are retired.
  std::atomic<std::uint32_t> destination{0};

  // How new connections are made, at start and at reload. An error (TLS of a host list) changes nothing.
  Status set_route(const conf::Upstream& conf);

  // Null: there was no successful login yet, or its pool has made room for another since.
  PoolRef find(std::string_view database, std::string_view user) const;
  PoolRef find(pool::PoolId id) const;
  // The pool of a first successful login; another worker may have made it meanwhile. Null: max_pools is
  // reached.
  PoolRef find_or_create(std::string_view database, std::string_view user, const conf::PoolConfig& conf,
                         std::atomic<std::uint32_t>& pools, std::uint32_t max_pools);
  // Forgets a pool that nobody holds, if there is one: no client is connected and no server is left. Looks at
  // each pool.
  bool forget_unused_pool(std::atomic<std::uint32_t>& pools);
  // Servers of pass-through clients, counted in the same bound.
  pool::PoolId own_pool() const { return own_pool_; }
  void apply_limits(const conf::PoolConfig& conf, pool::Time now, pool::Orders& orders);

  bool is_cloudsql() const { return cloudsql_ != nullptr; }
  cloudsql::CloudSql* cloudsql() const { return cloudsql_; }
  const cloudsql::InstanceKey& instance_key() const { return key_; }
  // The way to a host list.
  upstream::Route host_route() const;
  // The way to an instance with this connection information.
  Result<upstream::Route> instance_route(const cloudsql::ConnectionInfo& info, bool unix_listener) const;
  // For the broker: which first logins wait for each other.
  static pool::Identity identity(std::string_view database, std::string_view user);

  std::vector<PoolRef> pools() const;

 private:
  using Key = std::pair<std::string, std::string>;
  metrics::Registry& registry_;
  cloudsql::CloudSql* const cloudsql_;
  const std::shared_ptr<const upstream::SocksProxy> proxy_;
  cloudsql::InstanceKey key_;
  pool::PoolId own_pool_{};
  mutable std::mutex mutex_;  // guards what follows
  cloudsql::IpType ip_type_ = cloudsql::IpType::Public;
  io::Keepalive keepalive_;
  upstream::Route route_;
  std::map<Key, PoolRef, std::less<>> pools_;
};

pool::PoolLimits limits_of(const conf::PoolConfig& conf);
pool::BrokerLimits broker_limits_of(const conf::PoolConfig& conf);
// Towards servers; what is said of clients has no user_timeout.
io::Keepalive keepalive_of(const conf::PoolConfig& conf);
pool::SessionOptions options_of(const conf::PoolConfig& conf);

}  // namespace sidepool::worker
