// src/metrics/pools.cpp -- the page's part about pools.
#include <map>
#include <tuple>

#include "src/metrics/subjects.h"

namespace sidepool::metrics {

namespace {

// All workers' blocks of one pool, added up.
struct Totals {
  std::int64_t clients_idle = 0, clients_waiting = 0, clients_active = 0;
  Distribution wait, transaction, query;
  std::uint64_t queries = 0, transactions = 0, from_clients = 0, to_clients = 0, from_servers = 0,
                to_servers = 0;
  std::uint64_t server_logins = 0, resets = 0, replays = 0, prepared = 0, reparsed = 0, cancels = 0,
                handovers = 0;
  std::map<std::string, std::uint64_t> errors, login_failures, pins;
  PoolGauges servers;
};

void add_reasons(std::map<std::string, std::uint64_t>& to, const ReasonCounts& from) {
  for (const auto& [reason, n] : from.read()) to[reason] += n;
}

void add_block(Totals& t, const PoolCounters& c) {
  t.clients_idle += c.clients_idle.get();
  t.clients_waiting += c.clients_waiting.get();
  t.clients_active += c.clients_active.get();
  t.wait += c.wait.read();
  t.transaction += c.transaction.read();
  t.query += c.query.read();
  t.queries += c.queries.get();
  t.transactions += c.transactions.get();
  t.from_clients += c.from_clients.get();
  t.to_clients += c.to_clients.get();
  t.from_servers += c.from_servers.get();
  t.to_servers += c.to_servers.get();
  t.server_logins += c.server_logins.get();
  t.resets += c.resets.get();
  t.replays += c.replays.get();
  t.prepared += c.prepared.get();
  t.reparsed += c.reparsed.get();
  t.cancels += c.cancels.get();
  t.handovers += c.handovers.get();
  add_reasons(t.errors, c.errors);
  add_reasons(t.login_failures, c.login_failures);
  add_reasons(t.pins, c.pins);
}

void add_gauges(PoolGauges& to, const PoolGauges& from) {
  to.idle += from.idle;
  to.active += from.active;
  to.pinned += from.pinned;
  to.opening += from.opening;
  to.closing += from.closing;
  to.limit += from.limit;
}

using ByPool = std::map<std::tuple<std::string, std::string, std::string>, Totals>;

ByPool collect(const Registry& registry) {
  ByPool pools;
  registry.each_pool([&](const PoolMetrics& pool) {
    const auto& l = pool.labels();
    Totals& t = pools[{label_value(l.upstream), label_value(l.database), label_value(l.user)}];
    for (const auto& block : pool.blocks()) add_block(t, block);
    add_gauges(t.servers, pool.gauges());
  });
  return pools;
}

Labels labels_of(const ByPool::key_type& key) {
  return {{"upstream", std::get<0>(key)}, {"database", std::get<1>(key)}, {"user", std::get<2>(key)}};
}

struct CounterRow {
  const char *name, *help;
  std::uint64_t Totals::*value;
};
constexpr CounterRow kCounters[] = {
    {"sidepool_queries_total", "Requests answered: Query, FunctionCall and Sync messages.", &Totals::queries},
    {"sidepool_transactions_total", "Times a client held a server and gave it back.", &Totals::transactions},
    {"sidepool_client_received_bytes_total", "Protocol bytes received from clients.", &Totals::from_clients},
    {"sidepool_client_sent_bytes_total", "Protocol bytes sent to clients.", &Totals::to_clients},
    {"sidepool_server_received_bytes_total", "Protocol bytes received from servers.", &Totals::from_servers},
    {"sidepool_server_sent_bytes_total", "Protocol bytes sent to servers.", &Totals::to_servers},
    {"sidepool_server_logins_total", "Server connections opened and logged in.", &Totals::server_logins},
    {"sidepool_resets_total", "Servers cleaned between two clients.", &Totals::resets},
    {"sidepool_replays_total", "Times the settings of a client were set again on another server.",
     &Totals::replays},
    {"sidepool_statements_prepared_total", "Statements that clients prepared by protocol.",
     &Totals::prepared},
    {"sidepool_statements_reparsed_total", "Statements prepared again on a server that lacked them.",
     &Totals::reparsed},
    {"sidepool_cancels_total", "Cancel requests passed on to a server.", &Totals::cancels},
    {"sidepool_cross_worker_handovers_total", "Servers that moved from one worker thread to another.",
     &Totals::handovers},
};

struct HistogramRow {
  const char *name, *help;
  Distribution Totals::*value;
};
constexpr HistogramRow kHistograms[] = {
    {"sidepool_wait_seconds", "Time clients waited for a server.", &Totals::wait},
    {"sidepool_transaction_seconds", "Time a client held a server at a stretch.", &Totals::transaction},
    {"sidepool_query_seconds", "Time from a request to the end of its answer.", &Totals::query},
};

struct ReasonRow {
  const char *name, *help, *label;
  std::map<std::string, std::uint64_t> Totals::*value;
};
constexpr ReasonRow kReasons[] = {
    {"sidepool_errors_total", "Errors that sidepool itself answered to clients.", "kind", &Totals::errors},
    {"sidepool_server_login_failures_total", "Server connections of a pool that could not be opened.",
     "reason", &Totals::login_failures},
    {"sidepool_pins_total", "Times a client began to keep its server beyond a transaction.", "reason",
     &Totals::pins},
};

void add_states(const ByPool& pools, Families& page) {
  Family clients = gauge("sidepool_clients", "Clients logged in, by state.");
  Family servers = gauge("sidepool_servers", "Server connections, by state.");
  Family limit = gauge("sidepool_servers_limit", "Most server connections that the pool may have.");
  for (const auto& [key, t] : pools) {
    const Labels labels = labels_of(key);
    clients.add(with(labels, "state", "idle"), static_cast<double>(t.clients_idle));
    clients.add(with(labels, "state", "waiting"), static_cast<double>(t.clients_waiting));
    clients.add(with(labels, "state", "active"), static_cast<double>(t.clients_active));
    servers.add(with(labels, "state", "idle"), t.servers.idle);
    servers.add(with(labels, "state", "active"), t.servers.active);
    servers.add(with(labels, "state", "pinned"), t.servers.pinned);
    servers.add(with(labels, "state", "opening"), t.servers.opening);
    servers.add(with(labels, "state", "closing"), t.servers.closing);
    limit.add(labels, t.servers.limit);
  }
  clients.move_to(page);
  servers.move_to(page);
  limit.move_to(page);
}

}  // namespace

void add_pools(const Registry& registry, Families& page) {
  const ByPool pools = collect(registry);
  add_states(pools, page);
  for (const auto& row : kHistograms) {
    Family family = histogram(row.name, row.help);
    for (const auto& [key, t] : pools) family.add(labels_of(key), t.*row.value);
    family.move_to(page);
  }
  for (const auto& row : kCounters) {
    Family family = counter(row.name, row.help);
    for (const auto& [key, t] : pools) family.add(labels_of(key), static_cast<double>(t.*row.value));
    family.move_to(page);
  }
  for (const auto& row : kReasons) {
    Family family = counter(row.name, row.help);
    for (const auto& [key, t] : pools) {
      for (const auto& [reason, n] : t.*row.value) {
        family.add(with(labels_of(key), row.label, reason), static_cast<double>(n));
      }
    }
    family.move_to(page);
  }
}

}  // namespace sidepool::metrics
