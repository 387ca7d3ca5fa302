// src/worker/upstream.cpp -- see upstream.h.
#include "src/worker/upstream.h"

#include <functional>

#include "src/cloudsql/mdx.h"

namespace sidepool::worker {

pool::PoolLimits limits_of(const conf::PoolConfig& c) {
  pool::PoolLimits l;
  l.size = c.size;
  l.min_size = c.min_size;
  l.max_waiting = c.max_waiting;
  l.locality_window = c.locality_window;
  l.lifetime = c.server_lifetime;
  l.idle_timeout = c.server_idle_timeout;
  l.notify_after = c.query_wait_notify;
  l.backoff = {c.server_backoff_min, c.server_backoff_max};
  l.round_robin = c.server_round_robin;
  return l;
}

pool::BrokerLimits broker_limits_of(const conf::PoolConfig& c) {
  pool::BrokerLimits l;
  l.max_servers = c.max_server_connections;
  l.max_opening = c.max_opening;
  return l;
}

io::Keepalive keepalive_of(const conf::PoolConfig& c) {
  io::Keepalive k;
  k.probe = c.tcp_keepalive;
  k.idle = std::chrono::duration_cast<std::chrono::seconds>(c.tcp_keepidle);
  k.interval = std::chrono::duration_cast<std::chrono::seconds>(c.tcp_keepintvl);
  k.probes = static_cast<int>(c.tcp_keepcnt);
  k.user_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(c.tcp_user_timeout);
  return k;
}

pool::SessionOptions options_of(const conf::PoolConfig& c) {
  pool::SessionOptions o;
  o.mode = c.mode == conf::PoolMode::Session     ? pool::Mode::Session
           : c.mode == conf::PoolMode::Statement ? pool::Mode::Statement
                                                 : pool::Mode::Transaction;
  o.isolation = c.isolation == conf::Isolation::Tracked ? pool::Isolation::Tracked : pool::Isolation::Reset;
  o.pinning = c.pinning == conf::Pinning::Refuse ? pool::Pinning::Refuse
              : c.pinning == conf::Pinning::Off  ? pool::Pinning::Off
                                                 : pool::Pinning::Auto;
  o.max_message = static_cast<std::uint32_t>(c.max_message);
  o.max_client_statements = c.max_client_statements;
  o.max_server_statements = c.max_prepared_statements;
  return o;
}

Upstream::Upstream(std::uint16_t number, std::uint16_t workers, const conf::Upstream& conf,
                   cloudsql::CloudSql* source, metrics::Registry& registry,
                   std::shared_ptr<const upstream::SocksProxy> proxy)
    : index(number),
      label(conf.label()),
      name(conf.name),
      broker(number, workers, broker_limits_of(conf.pool)),
      metrics(registry.add_upstream(conf.is_cloudsql() ? conf.instance : conf.name, conf.is_cloudsql())),
      registry_(registry),
      cloudsql_(conf.is_cloudsql() ? source : nullptr),
      proxy_(std::move(proxy)) {
  auto own = limits_of(conf.pool);
  own.min_size = 0;
  own_pool_ = broker.add_pool(own);
  if (cloudsql_) {
    if (auto parsed = cloudsql::InstanceKey::parse(conf.instance, conf.auto_iam_authn))
      key_ = std::move(*parsed);
  }
}

Upstream::~Upstream() {
  for (auto& [key, entry] : pools_) {
    if (entry->metrics) registry_.remove_pool(*entry->metrics);
  }
}

namespace {

cloudsql::IpType ip_type_of(conf::IpType type) {
  switch (type) {
    case conf::IpType::Public:
      return cloudsql::IpType::Public;
    case conf::IpType::Private:
      return cloudsql::IpType::Private;
    case conf::IpType::Psc:
      return cloudsql::IpType::Psc;
    case conf::IpType::Auto:
      return cloudsql::IpType::Auto;
  }
  return cloudsql::IpType::Public;
}

}  // namespace

Status Upstream::set_route(const conf::Upstream& conf) {
  const auto keepalive = keepalive_of(conf.pool);
  const auto ip = ip_type_of(conf.ip_type);
  upstream::Route route;
  route.keepalive = keepalive;
  for (const auto& h : conf.hosts) {
    if (h.is_unix()) {
      const auto slash = h.path.rfind('/');
      const auto dot = h.path.rfind('.');
      route.endpoints.push_back(
          {h.path.substr(0, slash), static_cast<std::uint16_t>(std::stoi(h.path.substr(dot + 1)))});
    } else {
      route.endpoints.push_back({h.name, h.port});
    }
  }
  using Mode = conf::ServerTlsMode;
  if (!conf.is_cloudsql() && conf.tls.mode != Mode::Disable) {
    tls::UpstreamTls t;
    t.check = conf.tls.mode == Mode::VerifyFull ? tls::PeerCheck::ChainAndHost
              : conf.tls.mode == Mode::VerifyCa ? tls::PeerCheck::Chain
                                                : tls::PeerCheck::None;
    t.ca_file = conf.tls.ca_file;
    t.cert_file = conf.tls.cert_file;
    t.key_file = conf.tls.key_file;
    auto context = tls::upstream_context(t);
    if (!context) return tl::unexpected(context.error());
    route.tls.use = conf.tls.mode == Mode::Prefer ? upstream::TlsUse::IfOffered : upstream::TlsUse::Required;
    route.tls.context = std::move(*context);
    route.tls.verifies_peer = t.check != tls::PeerCheck::None;
    route.tls.prepare = [](SSL* ssl, std::string_view host) { return tls::set_peer_name(ssl, host); };
  }
  std::lock_guard lock(mutex_);
  ip_type_ = ip;
  keepalive_ = keepalive;
  route_ = std::move(route);
  return {};
}

upstream::Route Upstream::host_route() const {
  std::lock_guard lock(mutex_);
  return route_;
}

namespace {
std::string address_kind(const cloudsql::ConnectionInfo& info, cloudsql::IpType ip) {
  const bool is_private =
      ip == cloudsql::IpType::Private || (ip == cloudsql::IpType::Auto && info.public_ip.empty());
  const char* type = ip == cloudsql::IpType::Psc ? "PSC" : is_private ? "private IP" : "public IP";
  return std::string(type) + " of " + info.reached.text();
}
}  // namespace

Result<upstream::Route> Upstream::instance_route(const cloudsql::ConnectionInfo& info,
                                                 bool unix_listener) const {
  upstream::Route route;
  cloudsql::IpType ip{};
  {
    std::lock_guard lock(mutex_);
    ip = ip_type_;
    route.keepalive = keepalive_;
  }
  auto hosts = cloudsql::targets(info, ip);
  if (!hosts) return tl::unexpected(hosts.error());
  for (auto& h : *hosts) route.endpoints.push_back({std::move(h), cloudsql::kServerPort});
  route.kind = address_kind(info, ip);
  if (const auto& own = info.reached.dns_name; !own.empty()) {
    // Addresses of the name itself count more than those of the settings (cloudsql.md §1.7).
    route.otherwise = std::exchange(route.endpoints, {{own, cloudsql::kServerPort}});
  }
  route.proxy = proxy_;
  route.tls.use = upstream::TlsUse::Direct;
  route.tls.context = info.context;
  route.tls.verifies_peer = true;
  if (!info.sni.empty()) {
    route.tls.prepare = [sni = info.sni](SSL* ssl, std::string_view) -> Status {
      if (SSL_set_tlsext_host_name(ssl, sni.c_str()) != 1)
        return fail(Errc::Tls, "the server name cannot be set");
      return {};
    };
  }
  if (info.mdx) {
    const auto frame = cloudsql::mdx_frame(unix_listener ? cloudsql::ClientProtocol::UnixSocket
                                                         : cloudsql::ClientProtocol::Tcp);
    route.prologue.assign(frame.begin(), frame.end());
  }
  return route;
}

PoolRef Upstream::find(std::string_view database, std::string_view user) const {
  std::lock_guard lock(mutex_);
  const auto at = pools_.find(Key{database, user});
  return at == pools_.end() ? PoolRef{} : at->second;
}

PoolRef Upstream::find(pool::PoolId id) const {
  std::lock_guard lock(mutex_);
  for (const auto& [key, entry] : pools_) {
    if (entry->id == id) return entry;
  }
  return {};
}

PoolRef Upstream::find_or_create(std::string_view database, std::string_view user,
                                 const conf::PoolConfig& conf, std::atomic<std::uint32_t>& pools,
                                 std::uint32_t max_pools) {
  std::lock_guard lock(mutex_);
  const auto at = pools_.find(Key{database, user});
  if (at != pools_.end()) return at->second;
  if (pools.fetch_add(1) >= max_pools) {
    --pools;
    return {};
  }
  const PoolRef entry{new PoolEntry(*this, std::string(database), std::string(user))};
  entry->id = broker.add_pool(limits_of(conf));
  const auto id = entry->id;
  entry->metrics = &registry_.add_pool({name, entry->database, entry->user}, [this, id] {
    const auto c = broker.counts(id, std::chrono::steady_clock::now());
    return metrics::PoolGauges{c.idle, c.out - c.pinned, c.pinned, c.opening, c.closing, c.size};
  });
  pools_.emplace(Key{database, user}, entry);
  return entry;
}

// Nobody can begin to hold a pool meanwhile: that takes mutex_, or somebody who holds it.
bool Upstream::forget_unused_pool(std::atomic<std::uint32_t>& pools) {
  std::lock_guard lock(mutex_);
  for (auto at = pools_.begin(); at != pools_.end(); ++at) {
    const auto& entry = at->second;
    if (!entry.alone() || !broker.remove_pool(entry->id)) continue;
    registry_.remove_pool(*entry->metrics);
    pools_.erase(at);
    --pools;
    return true;
  }
  return false;
}

void Upstream::apply_limits(const conf::PoolConfig& conf, pool::Time now, pool::Orders& orders) {
  broker.set_limits(broker_limits_of(conf), now, orders);
  for (const auto& p : pools()) broker.set_limits(p->id, limits_of(conf), now, orders);
  auto own = limits_of(conf);
  own.min_size = 0;
  broker.set_limits(own_pool_, own, now, orders);
}

std::vector<PoolRef> Upstream::pools() const {
  std::lock_guard lock(mutex_);
  std::vector<PoolRef> all;
  all.reserve(pools_.size());
  for (const auto& [key, entry] : pools_) all.push_back(entry);
  return all;
}

pool::Identity Upstream::identity(std::string_view database, std::string_view user) {
  const auto hash = std::hash<std::string_view>{};
  return static_cast<pool::Identity>(hash(database) * 31 + hash(user));
}

}  // namespace sidepool::worker
