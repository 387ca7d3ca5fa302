// tests/unit/worker/upstream_test.cpp -- from the configuration to limits, keep-alive and rights of a
// listener.
#include "src/worker/upstream.h"

#include <gtest/gtest.h>

#include "src/worker/messages.h"

namespace sidepool::worker {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Limits, TheBoundsOfTheBackOffReachTheBroker) {
  conf::PoolConfig c;
  c.server_backoff_min = milliseconds(7);
  c.server_backoff_max = seconds(3);
  EXPECT_EQ(limits_of(c).backoff, (pool::Backoff{milliseconds(7), seconds(3)}));
  EXPECT_EQ(limits_of({}).backoff, pool::Backoff{}) << "both have the same defaults";
}

TEST(KeepaliveOf, ZeroAndOffAreNotTheDefaults) {
  conf::PoolConfig c;
  c.tcp_keepalive = false;
  c.tcp_keepidle = c.tcp_keepintvl = {};
  c.tcp_keepcnt = 0;
  c.tcp_user_timeout = milliseconds(1500);
  const auto k = keepalive_of(c);
  EXPECT_FALSE(k.probe);
  EXPECT_EQ(k.idle, seconds(0));
  EXPECT_EQ(k.interval, seconds(0));
  EXPECT_EQ(k.probes, 0);
  EXPECT_EQ(k.user_timeout, milliseconds(1500));
  const auto usual = keepalive_of({});
  EXPECT_TRUE(usual.probe);
  EXPECT_EQ(usual.idle, seconds(30));
  EXPECT_EQ(usual.probes, 6);
  EXPECT_EQ(usual.user_timeout, milliseconds(0)) << "Linux counts a slow reader as dead";
}

// product.md §4.2: the listener's address decides, or the operator's word.
TEST(Entrance, WhoMayComeWithoutAPassword) {
  const auto trusted = [](io::Reach reach, bool opted_in) {
    Entrance e;
    e.reach = reach;
    e.remote_opt_in = opted_in;
    return e.trusted();
  };
  EXPECT_TRUE(trusted(io::Reach::UnixSocket, false));
  EXPECT_TRUE(trusted(io::Reach::Loopback, false));
  EXPECT_FALSE(trusted(io::Reach::Network, false));
  EXPECT_TRUE(trusted(io::Reach::Network, true));
}

TEST(Upstream, ConnectionsFollowTheConfigurationOfTheLastReload) {
  metrics::Registry registry(1, metrics::Identity{"test", "test", {}},
                             [] { return metrics::ProcessGauges{}; });
  conf::Upstream conf;
  conf.name = "u";
  conf.hosts = {{"db.example", 5433, {}}};
  conf.tls.mode = conf::ServerTlsMode::Disable;
  Upstream up(0, 1, conf, nullptr, registry);
  ASSERT_TRUE(up.set_route(conf));
  EXPECT_TRUE(up.host_route().keepalive.probe);
  EXPECT_EQ(up.host_route().tls.use, upstream::TlsUse::Never);
  conf.pool.tcp_keepalive = false;
  conf.tls.mode = conf::ServerTlsMode::Require;
  ASSERT_TRUE(up.set_route(conf));
  EXPECT_FALSE(up.host_route().keepalive.probe);
  EXPECT_EQ(up.host_route().tls.use, upstream::TlsUse::Required);
  EXPECT_EQ(up.host_route().endpoints.front().text(), "db.example:5433");
  conf.tls.ca_file = "/nonexistent";
  conf.tls.mode = conf::ServerTlsMode::VerifyCa;
  conf.pool.tcp_keepalive = true;
  EXPECT_FALSE(up.set_route(conf));
  EXPECT_FALSE(up.host_route().keepalive.probe) << "an error changes nothing";
  EXPECT_EQ(up.host_route().tls.use, upstream::TlsUse::Required);
}

struct PoolsOfAnUpstream : ::testing::Test {
  static conf::Upstream configuration() {
    conf::Upstream conf;
    conf.name = "u";
    conf.hosts = {{"db", 5432, {}}};
    return conf;
  }
  const conf::Upstream conf = configuration();
  metrics::Registry registry{1, metrics::Identity{"test", "test", {}},
                             [] { return metrics::ProcessGauges{}; }};
  Upstream up{0, 1, conf, nullptr, registry};
  std::atomic<std::uint32_t> pools{0};
};

TEST_F(PoolsOfAnUpstream, APoolIsMadeOnceAndWithinTheirNumber) {
  EXPECT_FALSE(up.find("d", "u"));
  const auto one = up.find_or_create("d", "u", conf.pool, pools, 2);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->remembered.check(Time{seconds(5)}, std::chrono::hours(1)), Remembered::Check::FreshLogin)
      << "nothing is known before the login has been learnt";
  EXPECT_EQ(up.find_or_create("d", "u", conf.pool, pools, 2).get(), one.get());
  const auto other = up.find_or_create("d", "v", conf.pool, pools, 2);
  EXPECT_NE(other.get(), one.get());
  EXPECT_FALSE(up.find_or_create("e", "u", conf.pool, pools, 2));
  EXPECT_FALSE(up.find("e", "u"));
  EXPECT_EQ(pools, 2u);
}

TEST_F(PoolsOfAnUpstream, OnlyAPoolThatNobodyHoldsIsForgotten) {
  auto a = up.find_or_create("d", "a", conf.pool, pools, 2);
  auto b = up.find_or_create("d", "b", conf.pool, pools, 2);
  EXPECT_FALSE(up.forget_unused_pool(pools)) << "both are held";
  const auto again = b;
  b = {};
  EXPECT_FALSE(up.forget_unused_pool(pools)) << "the other one holds it as well";
  a = {};
  EXPECT_TRUE(up.forget_unused_pool(pools));
  EXPECT_EQ(pools, 1u);
  EXPECT_FALSE(up.find("d", "a"));
  EXPECT_EQ(up.find("d", "b").get(), again.get());
  // A server on its way is a slot of the broker's before anybody holds the pool for it.
  a = up.find_or_create("d", "a", conf.pool, pools, 2);
  pool::Orders orders;
  up.broker.acquire(a->id, pool::SessionId{}, {}, Time{seconds(5)}, orders);
  a = {};
  EXPECT_FALSE(up.forget_unused_pool(pools));
  EXPECT_EQ(pools, 2u);
}

}  // namespace
}  // namespace sidepool::worker
