// tests/unit/conf/diff_test.cpp -- what a reload changes, and when.
#include "conf/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/conf/load.h"

namespace sidepool::conf {
namespace {

using test::load;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr const char* kBase = "[[upstream]]\nname = 'm'\nhosts = 'a'\n";

std::vector<std::string> lines(const ReloadPlan& plan) {
  std::vector<std::string> out;
  for (const Change& change : plan.changes) out.push_back(to_string(change));
  return out;
}

Config config_of(const std::string& text) {
  const auto loaded = load(text);
  EXPECT_THAT(loaded.errors, IsEmpty()) << text;
  return loaded.config;
}

TEST(Reload, NothingChanges) {
  const Config config = config_of(kBase);
  const ReloadPlan plan = plan_reload(config, config);
  EXPECT_THAT(plan.changes, IsEmpty());
  EXPECT_THAT(plan.refused, IsEmpty());
  EXPECT_EQ(plan.config, config);
}

TEST(Reload, EachKeySaysWhen) {
  const Config before = config_of(kBase);
  const Config after =
      config_of(std::string(kBase) +
                "listen = '127.0.0.1:1'\n[upstream.tls]\nmode = 'require'\n[pool]\nsize = 20\n"
                "[server]\nworkers = 3\nmax_client_conn = 5\n[cloudsql]\ncredentials_file = '/new'\n");
  const ReloadPlan plan = plan_reload(before, after);
  EXPECT_THAT(lines(plan),
              ElementsAre("server.workers: 0 -> 3 (restart)", "server.max_client_conn: 1000 -> 5 (now)",
                          "cloudsql.credentials_file: not set -> \"/new\" (restart)",
                          "upstream \"m\".listen: [\"127.0.0.1:5432\"] -> [\"127.0.0.1:1\"] (restart)",
                          "upstream \"m\".pool.size: 10 -> 20 (now)",
                          "upstream \"m\".tls.mode: \"prefer\" -> \"require\" (new connections)"));
  EXPECT_THAT(plan.refused, IsEmpty());
  EXPECT_EQ(plan.config.server.workers, 0U) << "held back";
  EXPECT_EQ(plan.config.server.max_client_conn, 5U);
  EXPECT_EQ(plan.config.upstreams[0].listeners, before.upstreams[0].listeners) << "held back";
  EXPECT_EQ(plan.config.upstreams[0].pool.size, 20U);
  EXPECT_EQ(plan.config.upstreams[0].tls.mode, ServerTlsMode::Require);
}

TEST(Reload, UpstreamsComeAndGoAtARestart) {
  const Config before = config_of(std::string(kBase) + "[[upstream]]\nname = 'old'\nhosts = 'b'\n");
  const Config after = config_of(std::string(kBase) + "[[upstream]]\nname = 'new'\nhosts = 'b'\n");
  const ReloadPlan plan = plan_reload(before, after);
  EXPECT_THAT(lines(plan), ElementsAre("upstream \"old\": present -> absent (restart)",
                                       "upstream \"new\": absent -> present (restart)"));
  EXPECT_EQ(plan.config, before);
}

TEST(Reload, SecretsAreComparedButNotShown) {
  const std::string base = std::string(kBase) + "client_auth = 'trust'\n[[user]]\nname = 'u'\npassword = ";
  const ReloadPlan plan = plan_reload(config_of(base + "'one'"), config_of(base + "'two'"));
  EXPECT_THAT(lines(plan), ElementsAre("user \"u\": present -> changed (new connections)"));
  EXPECT_EQ(plan.config.users[0].password.reveal(), "two");
}

TEST(Reload, RefusesAMixtureThatBreaksARule) {
  const Config before = config_of(std::string(kBase) + "client_auth = 'trust'\n");
  const Config after = config_of(std::string(kBase) + "[pool]\nmode = 'none'\n");
  const ReloadPlan plan = plan_reload(before, after);
  ASSERT_EQ(plan.refused.size(), 1U);
  EXPECT_EQ(to_string(plan.refused[0]),
            "upstream \"m\": client_auth = \"trust\" contradicts pool.mode = \"none\", which passes the "
            "authentication "
            "through");
}

}  // namespace
}  // namespace sidepool::conf
