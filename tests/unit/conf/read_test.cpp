// tests/unit/conf/read_test.cpp -- TOML text to a Config: good files, and bad ones with their exact
// diagnostics.
#include "conf/read.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/conf/load.h"

namespace sidepool::conf {
namespace {

using namespace std::chrono_literals;
using test::load;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Read, OneInstanceIsEnough) {
  const auto loaded = load("[[upstream]]\ninstance = 'p:r:i'\n");
  EXPECT_THAT(loaded.errors, IsEmpty());
  Config expected;
  Upstream up;
  up.name = up.instance = "p:r:i";
  up.listeners = {{{"127.0.0.1", 5432, {}}, RemoteOptIn::No}};
  expected.upstreams = {up};
  EXPECT_EQ(loaded.config, expected);
}

TEST(Read, EveryTypeOfValue) {
  const auto loaded = load(R"(
[server]
statement_memory = "128MiB"
unix_socket_mode = "0770"
workers = 2
[pool]
mode = "session"
server_lifetime = 90           # seconds
server_idle_timeout = 0.5
query_timeout = "1m30s"
ignore_startup_parameters = ["Extra_Float_Digits"]
startup_parameters = { work_mem = "64MB", "app.x" = 1, jit = false }
tcp_keepalive = false
[[upstream]]
name = "main"
hosts = ["db", "[fe80::1]:6000", "unix:/run"]
listen = ["127.0.0.1:6432", "unix:/tmp"]
allow_remote = true
client_auth = "trust"
tls = { mode = "verify-full", ca_file = "/ca.pem" }
  [upstream.listen_tls]
  mode = "require"
  cert_file = "/c"
  key_file = "/k"
  [upstream.pool]
  size = 3
[[user]]
name = "u"
password = { env = "PW" }
[cloudsql]
credentials_file = "/key.json"
sqladmin_api_endpoint = "http://127.0.0.1:8080"
[metrics]
listen = "127.0.0.1:9090"
[health]
listen = "localhost:9090"
[admin]
quitquitquit = true
port = 9999
[log]
level = "warning"
format = "json"
[shutdown]
max_sigterm_delay = "0s"
exit_zero_on_sigterm = true
)");
  EXPECT_THAT(loaded.errors, IsEmpty());
  const Config& c = loaded.config;
  EXPECT_EQ(c.server.statement_memory, Bytes{128} << 20);
  EXPECT_EQ(c.server.unix_socket_mode, 0770U);
  EXPECT_EQ(c.server.workers, 2U);
  EXPECT_EQ(c.pool.mode, PoolMode::Session);
  EXPECT_EQ(c.pool.server_lifetime, 90s);
  EXPECT_EQ(c.pool.server_idle_timeout, 500ms);
  EXPECT_EQ(c.pool.query_timeout, 90s);
  EXPECT_THAT(c.pool.ignore_startup_parameters, ElementsAre("extra_float_digits"));
  EXPECT_EQ(c.pool.startup_parameters,
            (std::map<std::string, std::string>{{"work_mem", "64MB"}, {"app.x", "1"}, {"jit", "off"}}));
  EXPECT_FALSE(c.pool.tcp_keepalive);
  ASSERT_EQ(c.upstreams.size(), 1U);
  const Upstream& up = c.upstreams[0];
  EXPECT_THAT(up.hosts, ElementsAre(Host{"db", 5432, {}}, Host{"fe80::1", 6000, {}},
                                    Host{"", 5432, "/run/.s.PGSQL.5432"}));
  EXPECT_THAT(up.listeners, ElementsAre(Listener{{"127.0.0.1", 6432, {}}, RemoteOptIn::ConfigFile},
                                        Listener{{"", 0, "/tmp/.s.PGSQL.5432"}, RemoteOptIn::ConfigFile}));
  EXPECT_EQ(up.client_auth, ClientAuth::Trust);
  EXPECT_EQ(up.tls, (ServerTls{ServerTlsMode::VerifyFull, "/ca.pem", {}, {}}));
  EXPECT_EQ(up.listen_tls, (ClientTls{ClientTlsMode::Require, "/c", "/k", {}}));
  EXPECT_EQ(up.pool.size, 3U);
  EXPECT_EQ(up.pool.mode, PoolMode::Session) << "inherited";
  EXPECT_EQ(c.pool.size, 10U);
  EXPECT_EQ(c.users[0].password.reveal(), "env:PW");
  EXPECT_EQ(c.cloudsql.sqladmin_api_endpoint, "http://127.0.0.1:8080/");
  EXPECT_EQ(c.http.metrics, c.http.health);
  EXPECT_EQ(c.http.admin_port, 9999);
  EXPECT_EQ(c.log.level, LogLevel::Warning);
  EXPECT_EQ(c.shutdown.max_sigterm_delay, Duration{0}) << "0 is not the same as not set";
  EXPECT_TRUE(c.shutdown.exit_zero_on_sigterm);
}

TEST(Read, EveryKeyOfGooglesSide) {
  const auto loaded = load(R"(
[[upstream]]
instance = "db.example.com"
ip_type = "psc"
[[upstream]]
instance = "google.com:p:r:i"
ip_type = "auto"
[cloudsql]
credentials_json = { env = "KEY" }
impersonate = ["t@p.iam.gserviceaccount.com", "d@p.iam.gserviceaccount.com"]
quota_project = "q"
universe_domain = "example.cloud"
user_agent = "operator/1"
lazy_refresh = true
run_connection_test = true
[metrics]
namespace = "ns"
[server]
skip_failed_listeners = true
[shutdown]
min_sigterm_delay = "5s"
exit_when_idle = 0
)");
  EXPECT_THAT(loaded.errors, IsEmpty());
  const Config& c = loaded.config;
  EXPECT_TRUE(c.upstreams[0].is_domain_name());
  EXPECT_EQ(c.upstreams[0].ip_type, IpType::Psc);
  EXPECT_FALSE(c.upstreams[1].is_domain_name());
  EXPECT_EQ(c.upstreams[1].ip_type, IpType::Auto);
  EXPECT_EQ(c.cloudsql.credentials_json.reveal(), "env:KEY");
  EXPECT_THAT(c.cloudsql.impersonate,
              ElementsAre("t@p.iam.gserviceaccount.com", "d@p.iam.gserviceaccount.com"));
  EXPECT_EQ(c.cloudsql.quota_project, "q");
  EXPECT_EQ(c.cloudsql.universe_domain, "example.cloud");
  EXPECT_EQ(c.cloudsql.user_agent, "operator/1");
  EXPECT_TRUE(c.cloudsql.lazy_refresh);
  EXPECT_TRUE(c.cloudsql.run_connection_test);
  EXPECT_EQ(c.http.prometheus_namespace, "ns");
  EXPECT_TRUE(c.server.skip_failed_listeners);
  EXPECT_EQ(c.shutdown.min_sigterm_delay, 5s);
  EXPECT_EQ(c.shutdown.exit_when_idle, Duration{0}) << "0 is not the same as not set";
  EXPECT_EQ(
      load("[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\ngcloud_auth = true\n").config.cloudsql.gcloud_auth,
      true);
}

TEST(Read, AnUpstreamStartsFromPoolWhereverItStands) {
  const auto loaded = load("[[upstream]]\nhosts = 'a'\n[upstream.pool]\nmin_size = 1\n[pool]\nsize = 3\n");
  EXPECT_THAT(loaded.errors, IsEmpty());
  EXPECT_EQ(loaded.config.upstreams[0].pool.size, 3U);
  EXPECT_EQ(loaded.config.upstreams[0].pool.min_size, 1U);
}

TEST(Read, UnixSocketsOfInstancesLieInTheirOwnDirectory) {
  const auto loaded = load("[[upstream]]\nlisten = 'unix:/cloudsql'\ninstance = 'p:r:i'\n");
  EXPECT_EQ(loaded.config.upstreams[0].listeners[0].address.path, "/cloudsql/p:r:i/.s.PGSQL.5432");
}

struct Bad {
  const char* text;
  const char* error;
};
void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.text; }

class BadFile : public testing::TestWithParam<Bad> {};

TEST_P(BadFile, IsRefusedWithPlaceReasonAndRemedy) {
  EXPECT_THAT(load(GetParam().text).errors, ElementsAre(GetParam().error));
}

constexpr Bad kSyntax[] = {
    {"[pool\n", "f:1:6: not valid TOML: Error while parsing table header: expected ']', saw '\\n'"},
    {"a = 1\na = 2",
     "f:2:5: not valid TOML: Error while parsing key-value pair: cannot redefine existing integer 'a'"},
    {"",
     "there is nothing to connect to: name an instance (PROJECT:REGION:INSTANCE) or write an [[upstream]]"},
};
INSTANTIATE_TEST_SUITE_P(Syntax, BadFile, testing::ValuesIn(kSyntax));

constexpr Bad kNames[] = {
    {"[pol]\n", "f:1:2: unknown section or key \"pol\"; did you mean \"pool\"?"},
    {"[pool]\nsise = 1\n", "f:2:1: unknown key \"sise\" in [pool]; did you mean \"size\"?"},
    {"[pool]\n  pool_mode = 'session'\n", "f:2:3: unknown key \"pool_mode\" in [pool]: use mode in [pool]"},
    {"[server]\nsize = 1\n", "f:2:1: unknown key \"size\" in [server]: size belongs in [pool]"},
    {"[pool]\nmax_client_conn = 1\n",
     "f:2:1: unknown key \"max_client_conn\" in [pool]: max_client_conn belongs in [server]"},
    {"[server]\nlisten_addr = '*'\n",
     "f:2:1: unknown key \"listen_addr\" in [server]: use listen in [[upstream]]"},
    {"[[upstream]]\nhosts = 'a'\nsize = 1\n",
     "f:3:1: unknown key \"size\" in [upstream]: size belongs in [upstream.pool]"},
    {"[[upstream]]\nhosts = 'a'\ntls = { mod = 'prefer' }\n",
     "f:3:9: unknown key \"mod\" in [upstream.tls]; did you mean \"mode\"?"},
    {"[log]\nxyzzy = 1\n", "f:2:1: unknown key \"xyzzy\" in [log]"},
    {"size = 1\n", "f:1:1: unknown section or key \"size\": size belongs in [pool]"},
    {"[upstream]\nhosts = 'a'\n", "f:1:1: write [[upstream]] with two brackets: there may be several"},
    {"pool = 1\n", "f:1:8: pool must be a table, [pool], not an integer"},
    {"instance-connection-name = 'p:r:i'\n",
     "f:1:1: \"instance-connection-name\" at the top level belongs to the Auth Proxy's flat format, whose "
     "flag is "
     "--config-file: write --config-file f, or use sidepool's own format"},
};
INSTANTIATE_TEST_SUITE_P(Names, BadFile, testing::ValuesIn(kNames));

constexpr Bad kValues[] = {
    {"[pool]\nsize = 0\n", "f:2:8: pool.size must be from 1 to 10000, not 0"},
    {"[pool]\nsize = '10'\n", "f:2:8: pool.size must be a whole number, not a string"},
    {"[pool]\nsize = 9223372036854775807\n",
     "f:2:8: pool.size must be from 1 to 10000, not 9223372036854775807"},
    {"[pool]\nmin_size = -1\n", "f:2:12: pool.min_size must be from 0 to 10000, not -1"},
    {"[pool]\nserver_round_robin = 1\n",
     "f:2:22: pool.server_round_robin must be true or false, not an integer"},
    {"[pool]\nmode = 'transactoin'\n",
     "f:2:8: pool.mode is \"transactoin\", but must be one of \"session\", \"transaction\", \"statement\", "
     "\"none\"; did you "
     "mean \"transaction\"?"},
    {"[pool]\npinning = 'never'\n",
     "f:2:11: pool.pinning is \"never\", but must be one of \"auto\", \"refuse\", \"off\""},
    {"[pool]\nquery_timeout = '30'\n",
     "f:2:17: pool.query_timeout is \"30\": write a time with its unit, as in \"30s\", \"500ms\", \"1m30s\""},
    {"[pool]\nquery_timeout = '-1s'\n", "f:2:17: pool.query_timeout must be from 0s to 8760h, not -1s"},
    {"[pool]\nquery_timeout = nan\n", "f:2:17: pool.query_timeout must be from 0s to 8760h, not that"},
    {"[pool]\nserver_connect_timeout = 0\n",
     "f:2:26: pool.server_connect_timeout must be from 1ms to 8760h, not 0s"},
    {"[pool]\ntcp_keepidle = '1500ms'\n", "f:2:16: pool.tcp_keepidle must be a multiple of 1s, not 1s500ms"},
    {"[pool]\nquery_timeout = 2024-01-01\n",
     "f:2:17: pool.query_timeout must be a time such as \"30s\", or a number of seconds, not a date or time"},
    {"[server]\nstatement_memory = '64MB'\n",
     "f:2:20: server.statement_memory is \"64MB\": write a whole number with B, KiB, MiB or GiB, as in "
     "\"64MiB\""},
    {"[server]\nstatement_memory = -5\n", "f:2:20: server.statement_memory must not be negative"},
    {"[server]\nstatement_memory = 5\n", "f:2:20: server.statement_memory must be from 1MiB to 1TiB, not 5B"},
    {"[server]\nunix_socket_mode = 777\n",
     "f:2:20: server.unix_socket_mode must be at most 0o777; TOML writes octal numbers as 0o770 or \"0770\""},
    {"[server]\nunix_socket_mode = '0999'\n",
     "f:2:20: server.unix_socket_mode must be an octal number such as \"0770\", not a string"},
    {"[pool]\nignore_startup_parameters = ['a', 1]\n",
     "f:2:35: pool.ignore_startup_parameters must hold strings, not an integer"},
    {"[pool]\nignore_startup_parameters = ['a b']\n",
     "f:2:30: pool.ignore_startup_parameters does not accept \"a b\": it is not the name of a setting"},
    {"[pool]\nstartup_parameters = { user = 'x' }\n",
     "f:2:24: pool.startup_parameters must not hold \"user\": it comes from the client"},
    {"[pool]\nstartup_parameters = { a = [] }\n",
     "f:2:28: pool.startup_parameters.a must be a string, a whole number or true or false"},
    {"[metrics]\nlisten = ':9090'\n",
     "f:2:10: metrics.listen does not accept \":9090\": name the address: 127.0.0.1 for this machine only, "
     "0.0.0.0 for "
     "every IPv4 interface, [::] for IPv6"},
    {"[[upstream]]\nhosts = 'a'\nlisten = ['127.0.0.1:1', '127.0.0.1:1']\n",
     "f:3:26: upstream.listen names \"127.0.0.1:1\" twice"},
    {"[[upstream]]\nhosts = 'a'\nname = \"a\\u0000b\"\n",
     "f:3:8: upstream.name must not hold control characters"},
    {"[[upstream]]\ninstance = 'p:r:i'\nip_type = 'pcs'\n",
     "f:3:11: upstream.ip_type is \"pcs\", but must be one of \"public\", \"private\", \"psc\", \"auto\"; "
     "did you "
     "mean \"psc\"?"},
    {"[cloudsql]\nimpersonate = ['a@b', 'a@b']\n", "f:2:23: cloudsql.impersonate names \"a@b\" twice"},
    {"[cloudsql]\nimpersonate = ''\n",
     "f:2:15: cloudsql.impersonate does not accept \"\": it is empty, too long or holds control characters"},
    {"[cloudsql]\nuser_agent = \"a\\nb\"\n", "f:2:14: cloudsql.user_agent must not hold control characters"},
    {"[[upstream]]\nhosts = 'a'\nclient_auth = 'md5'\n",
     "f:3:15: upstream.client_auth is \"md5\": not available in this version of sidepool: use \"database\", "
     "where the "
     "database checks the client, or \"trust\""},
    {"[cloudsql]\ntoken = { env = 'missing' }\n",
     "f:2:17: cloudsql.token could not be read from env \"missing\": it is not set"},
    {"[cloudsql]\ntoken = { file = 'empty' }\n",
     "f:2:18: cloudsql.token could not be read from file \"empty\": it is empty"},
    {"[cloudsql]\ntoken = { environment = 'x' }\n",
     "f:2:11: cloudsql.token must be a string, { env = \"NAME\" } or { file = \"PATH\" }"},
    {"[cloudsql]\ntoken = 5\n",
     "f:2:9: cloudsql.token must be a string, { env = \"NAME\" } or { file = \"PATH\" }, not an integer"},
};
INSTANTIATE_TEST_SUITE_P(Values, BadFile, testing::ValuesIn(kValues));

TEST(Read, CollectsEveryProblemInTheOrderOfTheFile) {
  const auto loaded = load("[[upstream]]\nhosts = 1\n[pool]\nsize = 0\nx = 1\n");
  EXPECT_THAT(loaded.errors, ElementsAre("f:2:9: upstream.hosts must be an array of strings, not an integer",
                                         "f:4:8: pool.size must be from 1 to 10000, not 0",
                                         "f:5:1: unknown key \"x\" in [pool]"));
}

TEST(Read, RefusesAHugeFileUnread) {
  EXPECT_THAT(load(std::string(2 << 20, '#')).errors, ElementsAre("f: the file is larger than 1 MiB"));
}

}  // namespace
}  // namespace sidepool::conf
