// When a server changes hands, and what runs before it does.
#include <gmock/gmock.h>

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
  const std::vector<std::string> clean_up(log.end() - 10, log.end() - 1);
  EXPECT_THAT(clean_up, ::testing::ElementsAre("BEGIN", "RESET SESSION AUTHORIZATION", "RESET ALL",
                                               "CLOSE ALL", "UNLISTEN *", "DISCARD TEMP", "DISCARD SEQUENCES",
                                               "COMMIT", "SELECT pg_catalog.pg_advisory_unlock_all()"));
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

TEST_F(SessionTest, WhatFollowsAResetInItsCycleRunsUnderStartupValues) {
  auto& a = client({{"TimeZone", "Venus"}, {"search_path", "x"}});
  const auto run = [](std::string_view text) { return join(parse("", text), bind(""), execute()); };
  EXPECT_EQ(ask(a, join(run("RESET ALL"), run("SELECT a"), sync())),
            "1 2 C:RESET 1 2 D:SELECT a,v|parsed in Venus|TimeZone=Venus;search_path=x; C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, join(run("RESET ALL"), query("SELECT a"))),
            "1 2 C:RESET T D:SELECT a|parsed in Venus|TimeZone=Venus;search_path=x; C:SELECT 1 Z:I");
  ask(a, "SET TimeZone = 'Mars'");
  EXPECT_EQ(ask(a, join(run("RESET TimeZone"), run("SELECT error"), sync())), "1 2 C:RESET 1 2 E:22012 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars;search_path=x; C:SELECT 1 Z:I");
}

TEST_F(SessionTest, ATextThatRunsUnderWrongValuesBehindAResetIsRefused) {
  auto& a = client({{"search_path", "x"}});
  for (const auto* text :
       {"RESET ALL; SELECT a", "BEGIN; RESET search_path; SELECT a; COMMIT",
        "SET search_path TO DEFAULT; SELECT a", "BEGIN; SET LOCAL search_path TO DEFAULT"}) {
    EXPECT_EQ(ask(a, text), "E:0A000 Z:I") << text;
  }
  EXPECT_EQ(ask(a, "RESET ALL; CLOSE ALL; UNLISTEN *"), "C:RESET C:CLOSE C:UNLISTEN Z:I");
  EXPECT_EQ(ask(a, "SELECT a; RESET TimeZone"),
            "T D:SELECT a|parsed in UTC|search_path=x; C:SELECT 1 C:RESET Z:I");
  EXPECT_EQ(ask(client(), "RESET ALL; SELECT b"), "C:RESET T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(SessionTest, AReloadThatAClientSawIsTheServersOwnValue) {
  auto& a = client();
  auto& b = client();
  ask(a, "BEGIN");
  servers_[0].pg.reload("TimeZone", "Mars");
  EXPECT_EQ(ask(a, "COMMIT"), "C:COMMIT S:TimeZone=Mars Z:I");
  EXPECT_EQ(ask(b, "SELECT b"), "S:TimeZone=Mars T D:SELECT b|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
  ask(a, "BEGIN");
  servers_[0].pg.reload("TimeZone", "UTC");
  ask(a, "COMMIT");
  EXPECT_EQ(ask(b, "SELECT b"), "S:TimeZone=UTC T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "S:TimeZone=UTC T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I") << "once more";
}

TEST_F(SessionTest, WhatAClientHasSetIsItsOwnWhereAServerHasTheSameValue) {
  auto& a = client();
  ask(a, "SET TimeZone = 'Mars'");
  avoid_ = &servers_[0];
  servers_.emplace_back(7U).pg.reload("TimeZone", "Mars");
  ask(client(), "SELECT b");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
  avoid_ = nullptr;
  servers_[1].lent = true;
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
}

TEST_F(SessionTest, WhatTheEndOfATransactionPutsBackIsStillTheClientsOwn) {
  for (const char* end : {"COMMIT", "ROLLBACK"}) {
    auto& a = client();
    avoid_ = nullptr;
    ask(a, "SET TimeZone = 'Mars'");
    ask(a, "BEGIN");
    ask(a, "SET LOCAL TimeZone = 'Venus'");
    EXPECT_EQ(ask(a, end), std::string("C:") + end + " S:TimeZone=Mars Z:I");
    avoid_ = &servers_[0];
    if (servers_.size() == 1) servers_.emplace_back(7U);
    servers_[1].pg.reload("TimeZone", "Mars");
    ask(client(), "SELECT b");
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I") << end;
    servers_[1].pg.reload("TimeZone", "UTC");
    ask(client(), "SELECT b");
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I") << end;
  }
}

TEST_F(SessionTest, AStartupValueThatIsTheServersOwnTooStaysTheClients) {
  auto& a = client({{"TimeZone", "UTC"}, {"client_encoding", "UTF8"}});
  auto& b = client();
  ask(b, "SELECT b");
  a.session.take_events();
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(a.session.take_events().replays, 0U) << "the server has it";
  server_with("TimeZone", "Mars");
  for (const int round : {1, 2}) {
    avoid_ = &servers_[0];
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I") << round;
    EXPECT_EQ(ask(b, "SELECT b").substr(0, 36), "S:TimeZone=Mars T D:SELECT b|parsed ") << round;
    EXPECT_EQ(ask(a, "RESET TimeZone"), "C:RESET Z:I") << round;
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I") << round;
    avoid_ = &servers_[1];
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I") << round;
    EXPECT_EQ(ask(b, "SELECT b").substr(0, 15), "S:TimeZone=UTC ") << round;
  }
}

// Of that PostgreSQL reports nothing.
TEST_F(SessionTest, ASetToTheValueThatIsThereAnywayIsTheClients) {
  server_with("TimeZone", "UTC");
  server_with("TimeZone", "Mars");
  servers_[1].lent = true;
  auto& a = client();
  auto& b = client();
  const auto elsewhere = [&](SessionRig& c) {
    servers_[0].lent = true;
    servers_[1].lent = false;
    const auto words = ask(c, "SELECT a");
    servers_[0].lent = false;
    servers_[1].lent = true;
    return words;
  };
  const std::string in_utc = "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I";
  EXPECT_EQ(ask(a, "SET TimeZone = 'UTC'"), "C:SET Z:I");
  EXPECT_EQ(elsewhere(a), in_utc);
  ask(a, "BEGIN");
  EXPECT_EQ(ask(a, "SET TimeZone = 'Venus'"), "C:SET S:TimeZone=Venus Z:T");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK S:TimeZone=UTC Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), in_utc);
  EXPECT_EQ(elsewhere(a), in_utc);
  ask(a, "RESET TimeZone");
  EXPECT_EQ(elsewhere(a).substr(0, 16), "S:TimeZone=Mars ");
  EXPECT_EQ(ask(b, join(parse("", "SET TimeZone = 'UTC'"), bind(""), execute(), sync())), "1 2 C:SET Z:I");
  EXPECT_EQ(elsewhere(b), in_utc);
  ask(b, "RESET ALL");
  EXPECT_EQ(elsewhere(b).substr(0, 16), "S:TimeZone=Mars ");
}

TEST_F(SessionTest, TheLimitOfAClientsMessagesIsNotTheServers) {
  pool::SessionOptions small;
  small.max_message = 256;
  auto& a = client({}, small);
  const std::string text = "SELECT " + std::string(240, 'x');
  EXPECT_EQ(ask(a, text), "T D:" + text + "|parsed in UTC| C:SELECT 1 Z:I");
  a.send(query(text + std::string(100, ' ')));
  EXPECT_NE(protocol::as_text(a.to_client).find("max_message"), std::string_view::npos);
  EXPECT_EQ(words_of(a.take()), "E:08P01!");
}

TEST_F(SessionTest, WhereTheSearchPathBeginsWithPgTempEveryCreatePins) {
  auto& a = client({{"search_path", "pg_temp, public"}});
  ask(a, "CREATE TABLE t");
  EXPECT_TRUE(a.session.pinned());
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
