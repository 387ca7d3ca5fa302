// tests/unit/metrics/example.h -- a registry in which every series of the page exists.
#pragma once
#include <gtest/gtest.h>

#include "src/metrics/registry.h"

namespace sidepool::metrics {

struct Example {
  Registry registry{2, {"1.2.3", "00000000-0000-4000-8000-000000000001", ""}, [] {
                      return ProcessGauges{7, 100, 2, 3, true};
                    }};
  UpstreamMetrics& instance = registry.add_upstream("p:r:i", true);
  UpstreamMetrics& hosts = registry.add_upstream("10.0.0.5:5432", false);
  PoolMetrics& pool = registry.add_pool({"p:r:i", "shop", "app"}, [] {
    return PoolGauges{.idle = 1, .active = 2, .pinned = 3, .opening = 4, .closing = 5, .limit = 10};
  });

  Example() {
    using std::chrono::milliseconds;
    const std::chrono::system_clock::time_point now{std::chrono::seconds{1'700'000'000}};
    for (std::size_t i = 0; i < kDialPhases.size(); ++i) {
      instance.phase_done(static_cast<DialPhase>(i), milliseconds{3});
      instance.phase_failed(static_cast<DialPhase>(i));
    }
    instance.dialed(milliseconds{30});
    instance.dialed(milliseconds{60'000});
    instance.dial_failed();
    instance.opened();
    instance.login_failed("28P01");
    instance.refreshed(now + std::chrono::hours{1});
    instance.refresh_failed("forbidden", "notAuthorized");
    instance.refresh_failed("timeout");
    hosts.dialed(milliseconds{1});
    registry.client_refused("max_client_conn");
    registry.config_loaded(true, now);
    registry.config_loaded(false, now + std::chrono::hours{2});
    for (std::size_t worker = 0; worker < 2; ++worker) fill(pool.of(worker));
  }

  static void fill(PoolCounters& c) {
    c.clients_idle.up(3);
    c.clients_idle.down();
    c.clients_waiting.up();
    c.clients_active.up();
    c.wait.observe(std::chrono::microseconds{100});
    c.transaction.observe(std::chrono::milliseconds{5});
    c.query.observe(std::chrono::seconds{100});
    for (Count* count :
         {&c.queries, &c.transactions, &c.from_clients, &c.to_clients, &c.from_servers, &c.to_servers,
          &c.server_logins, &c.resets, &c.replays, &c.prepared, &c.reparsed, &c.cancels, &c.handovers}) {
      count->add(21);
    }
    c.errors.add("query_wait_timeout");
    c.login_failures.add("refused");
    c.pins.add("temp_table");
  }
};

}  // namespace sidepool::metrics
