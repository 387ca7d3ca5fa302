// When a server changes hands, and what runs before it does.
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

TEST_F(SessionTest, AQueryIsAnsweredAndTheServerGoesBack) {
  auto& c = client();
  EXPECT_EQ(ask(c, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(c.server, nullptr);
  EXPECT_EQ(c.releases, 1);
  EXPECT_EQ(c.session.phase(), pool::Phase::Idle);
}

TEST_F(SessionTest, ATransactionKeepsItsServer) {
  auto& c = client();
  EXPECT_EQ(ask(c, "BEGIN"), "C:BEGIN Z:T");
  EXPECT_NE(c.server, nullptr);
  EXPECT_EQ(ask(c, "SELECT error"), "E:22012 Z:E");
  EXPECT_NE(c.server, nullptr);
  EXPECT_EQ(ask(c, "SELECT b"), "E:25P02 Z:E");
  EXPECT_EQ(ask(c, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(c.server, nullptr);
}

TEST_F(SessionTest, AnotherClientGetsACleanServerInOneWrite) {
  auto& a = client();
  auto& b = client();
  ask(a, "SELECT a");
  ask(a, "SELECT a");
  EXPECT_EQ(a.session.take_events().resets, 0U) << "its own server needs no cleaning";
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(servers_.size(), 1U);
  EXPECT_EQ(b.session.take_events().resets, 1U);
  const auto& log = servers_[0].pg.log();
  ASSERT_GE(log.size(), 4U);
  EXPECT_EQ(log[log.size() - 4], "RESET SESSION AUTHORIZATION");
  EXPECT_EQ(log[log.size() - 3], "RESET ALL");
  EXPECT_EQ(log[log.size() - 2], "DISCARD SEQUENCES");
}

TEST_F(SessionTest, AServerThatInventsParametersWithoutEndIsNotUsed) {
  for (const bool large : {false, true}) {
    auto& c = client();
    EXPECT_EQ(ask(c, "BEGIN"), "C:BEGIN Z:T");
    auto& server = *c.server;
    const int many = static_cast<int>(pool::ServerState::kMaxLateParameters);
    for (int i = 0; i < (large ? 1 : many); ++i)
      protocol::parameter_status(server.unread, "invented." + std::to_string(i), "x");
    c.deliver();
    EXPECT_FALSE(c.closed) << "an extension may report a few more";
    const std::string value(large ? pool::ServerState::kMaxParameterValue + 1 : 1, 'x');
    protocol::parameter_status(server.unread, "one_more", value);
    c.deliver();
    EXPECT_TRUE(c.closed);
    EXPECT_TRUE(server.closed);
  }
}

TEST_F(SessionTest, AFailedCleanUpForwardsNothing) {
  auto& a = client();
  auto& b = client();
  ask(a, "SELECT a");
  servers_[0].pg.fail_clean_up();
  EXPECT_EQ(ask(b, "SELECT b"), "E:08006!");
  EXPECT_TRUE(b.closed);
  EXPECT_TRUE(servers_[0].closed);
}

TEST_F(SessionTest, SettingsFollowTheClient) {
  auto& a = client();
  auto& b = client();
  EXPECT_EQ(ask(a, "SET TimeZone = 'Mars'"), "C:SET S:TimeZone=Mars Z:I");
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
  const auto key = a.session.state_key();
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
  EXPECT_EQ(a.session.state_key(), key) << "a replay is no change";
}

TEST_F(SessionTest, ARolledBackSettingDoesNotFollow) {
  auto& a = client();
  ask(a, "BEGIN");
  EXPECT_EQ(ask(a, "SET TimeZone = 'Mars'"), "C:SET S:TimeZone=Mars Z:T");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK S:TimeZone=UTC Z:I");
  EXPECT_EQ(a.session.overrides() == nullptr || a.session.overrides()->empty(), true);
}

TEST_F(SessionTest, StartupSettingsComeBackAfterReset) {
  auto& a = client({{"TimeZone", "Venus"}, {"search_path", "x"}});
  EXPECT_TRUE(a.welcome);
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Venus|TimeZone=Venus;search_path=x; C:SELECT 1 Z:I");
  ask(a, "RESET ALL");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Venus|TimeZone=Venus;search_path=x; C:SELECT 1 Z:I");
  ask(a, "BEGIN");
  ask(a, "RESET search_path");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Venus|TimeZone=Venus;search_path=x; C:SELECT 1 Z:T");
}

TEST_F(SessionTest, AStartupValueThatIsRefusedEndsTheLogin) {
  auto& a = client({{"TimeZone", "refused"}});
  EXPECT_FALSE(a.welcome);
  EXPECT_TRUE(a.closed);
  EXPECT_EQ(words_of(a.take()), "E:22023!");
  auto& b = client();
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(SessionTest, AFailedReplayIsTheClientsErrorAndTheConnectionStays) {
  auto& a = client();
  auto& b = client();
  ask(a, "SET TimeZone = 'Mars'");
  ask(b, "SELECT b");
  servers_[0].pg.refuse_value("Mars");
  EXPECT_EQ(ask(a, "SELECT a"), "E:22023 Z:I");
  EXPECT_FALSE(a.closed);
  servers_[0].pg.refuse_value("");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
}

TEST_F(SessionTest, WhatCannotBeReplayedPinsUntilDiscardAll) {
  auto& a = client();
  auto& b = client();
  ask(a, "CREATE TEMP TABLE t");
  EXPECT_TRUE(a.session.pinned());
  EXPECT_NE(a.server, nullptr);
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(servers_.size(), 2U);
  ask(a, "DISCARD ALL");
  EXPECT_FALSE(a.session.pinned());
  EXPECT_EQ(a.server, nullptr);
}

TEST_F(SessionTest, AnErrorBeforeATemporaryTableDoesNotHideIt) {
  auto& a = client();
  auto& b = client();
  EXPECT_EQ(ask(a, join(query("SELECT error"), query("CREATE TEMP TABLE t"))),
            "E:22012 Z:I C:CREATE TABLE Z:I");
  EXPECT_TRUE(a.session.pinned());
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(SessionTest, AServerThatSkipsToASyncIsNotGivenBack) {
  auto& a = client();
  auto& b = client();
  const auto skipped = join(parse("", "SELECT syntax error"), query("SELECT a"));
  a.send(skipped);
  settle();
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(servers_[0].closed);
  auto& c = client();
  c.send(skipped);
  c.grant(free_server());
  c.leave();  // before the error has come
  settle();
  EXPECT_TRUE(c.closed);
  EXPECT_TRUE(servers_[1].closed);
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

// Terminate would be taken for the rest of the message: "SELECT 1" without its last two bytes became
// "SELECT X", which runs.
TEST_F(SessionTest, AServerWithHalfAMessageHearsNothingMore) {
  const auto text = query("SELECT " + std::string(20'000, ' ') + "1");
  auto& a = client();
  a.send(Bytes(text).first(text.size() - 2));
  settle();
  ASSERT_NE(a.server, nullptr);
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(servers_[0].closed);
  EXPECT_TRUE(servers_[0].cut);
}

TEST_F(SessionTest, ARefusedQueryIsOneError) {
  auto& a = client();
  grants_ = false;
  a.send(query("SELECT a"));
  ASSERT_TRUE(a.waiting);
  a.refuse({"ERROR", "53300", "full", {}, {}});
  EXPECT_EQ(words_of(a.take()), "E:53300 Z:I");
  grants_ = true;
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(SessionTest, ARefusedBeginIsAFailedTransaction) {
  auto& a = client();
  grants_ = false;
  a.send(query("BEGIN"));
  a.refuse({"ERROR", "53300", "full", {}, {}});
  EXPECT_EQ(words_of(a.take()), "E:53300 Z:E");
  EXPECT_EQ(ask(a, "SELECT a"), "E:25P02 Z:E");
  EXPECT_EQ(ask(a, join(parse("", "SELECT x"), bind(""), execute(), sync())), "E:25P02 Z:E");
  EXPECT_EQ(ask(a, join(parse("", "COMMIT"), bind(""), execute(), sync())), "1 2 C:ROLLBACK Z:I");
  a.send(join(parse("", "BEGIN"), bind(""), execute(), sync()));
  ASSERT_TRUE(a.waiting);
  a.refuse({"ERROR", "53300", "full", {}, {}});
  EXPECT_EQ(words_of(a.take()), "E:53300 Z:E");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
}

}  // namespace
}  // namespace sidepool::test
