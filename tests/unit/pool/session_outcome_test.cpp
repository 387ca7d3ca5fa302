// What a transaction has left behind is known by how it ended.
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Outcome : public SessionTest {
 protected:
  static Buffer run(std::string_view text) { return join(parse("", text), bind("", "", ""), execute()); }
  static Buffer call(std::uint32_t oid) {
    std::string body(10, '\0');
    protocol::store_be32(reinterpret_cast<std::uint8_t*>(body.data()), oid);
    return raw('F', body);
  }
  // Whether the client keeps its server.
  bool pins(const Buffer& bytes) {
    auto& c = client();
    ask(c, bytes);
    const bool kept = c.server != nullptr && c.session.pinned();
    c.leave();
    settle();
    return kept;
  }
};

TEST_F(Outcome, WhatIsBehindARollbackStays) {
  EXPECT_TRUE(pins(query("ROLLBACK; CREATE TEMP TABLE t")));
  EXPECT_TRUE(pins(query("ABORT; LISTEN l")));
  EXPECT_TRUE(pins(join(run("ROLLBACK"), run("CREATE TEMP TABLE t"), sync())));
  EXPECT_TRUE(pins(join(query("BEGIN"), query("SELECT error"), query("ROLLBACK; SET ROLE bob"))));
  EXPECT_TRUE(pins(join(query("BEGIN; SAVEPOINT s; CREATE TEMP TABLE t; SAVEPOINT u"), query("ROLLBACK TO u"),
                        query("COMMIT"))));
}

TEST_F(Outcome, WhatIsBeforeIsGone) {
  EXPECT_FALSE(pins(query("BEGIN; CREATE TEMP TABLE t; ROLLBACK")));
  EXPECT_FALSE(pins(join(query("BEGIN; LISTEN l"), query("SELECT error"), query("COMMIT"))));
  EXPECT_FALSE(pins(query("CREATE TEMP TABLE error")));
  EXPECT_FALSE(pins(query("LISTEN l; SELECT error")));
  EXPECT_FALSE(pins(join(run("BEGIN"), run("LISTEN l"), run("SELECT error"), sync(), query("ROLLBACK"))));
}

TEST_F(Outcome, WhatMayHaveBeenCommittedBeforeTheErrorStays) {
  EXPECT_TRUE(pins(query("BEGIN; LISTEN l; COMMIT; SELECT error")));
  EXPECT_TRUE(pins(join(run("LISTEN l"), run("SELECT error"), sync()))) << "VACUUM commits in a cycle";
}

TEST_F(Outcome, WhatGivesRightsBackLeavesNothing) {
  EXPECT_FALSE(pins(query("RESET ROLE")));
  EXPECT_FALSE(pins(query("SET ROLE NONE")));
  EXPECT_FALSE(pins(query("SET SESSION AUTHORIZATION DEFAULT")));
  EXPECT_TRUE(pins(query("RESET ROLE; SET ROLE bob")));
}

TEST_F(Outcome, DiscardAllClearsWhatCameBefore) {
  EXPECT_TRUE(pins(join(run("DISCARD ALL"), query("CREATE TEMP TABLE t"))));
  EXPECT_TRUE(pins(join(run("DISCARD ALL"), call(99))));
  EXPECT_FALSE(pins(join(query("CREATE TEMP TABLE t"), run("DISCARD ALL"), sync())));
}

TEST_F(Outcome, AFunctionCallMayLeaveAnything) {
  EXPECT_TRUE(pins(call(2880)));  // pg_advisory_lock
  EXPECT_FALSE(pins(call(954)));  // loread
  EXPECT_FALSE(pins(call(3172)));
  options_.pinning = pool::Pinning::Refuse;
  auto& a = client();
  EXPECT_EQ(ask(a, call(2880)), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Outcome, AFunctionCallEndsWhatExtendedMessagesHaveBegun) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(run("SELECT a"), call(954))), "1 2 D:SELECT a,|parsed in UTC| C:SELECT 1 V Z:I");
  EXPECT_EQ(a.server, nullptr) << "no Sync is needed";
}

TEST_F(Outcome, AFunctionCallMayComeInPiecesWhereWhatFollowsItWaits) {
  for (const std::size_t size : {10U, 40000U}) {  // looked at as a whole, and passed on as it comes
    for (const std::size_t cut : {5U, 6U, 12U}) {
      auto& a = client({{"TimeZone", "Mars"}});
      std::string body(size, '\0');
      protocol::store_be32(reinterpret_cast<std::uint8_t*>(body.data()), 955);  // lowrite
      const auto whole = join(run("RESET TimeZone"), raw('F', body));
      const auto at = static_cast<std::ptrdiff_t>(whole.size() - size - 5 + cut);
      a.send(Buffer(whole.begin(), whole.begin() + at));
      settle();
      const auto answer = ask(a, Buffer(whole.begin() + at, whole.end()));
      EXPECT_NE(answer.find("V"), std::string::npos) << size << " " << cut << ": " << answer;
      EXPECT_EQ(ask(a, "SELECT a").substr(0, 30), "T D:SELECT a|parsed in Mars|Ti") << size << " " << cut;
    }
  }
}

TEST_F(Outcome, AFunctionCallLeavesTheUnnamedStatement) {
  for (const auto pinning : {pool::Pinning::Auto, pool::Pinning::Refuse}) {
    options_.pinning = pinning;
    auto& a = client();
    ask(a, join(parse("", "SELECT u"), sync()));
    ask(a, call(pinning == pool::Pinning::Auto ? 954 : 2880));
    EXPECT_EQ(ask(a, join(bind("", "", ""), execute(), sync())),
              "2 D:SELECT u,|parsed in UTC| C:SELECT 1 Z:I");
  }
}

TEST_F(Outcome, ACommitIsNotCancelledWhateverFollows) {
  for (const auto* end : {"COMMIT; BEGIN", "COMMIT AND CHAIN"}) {
    auto& a = client();
    ask(a, "BEGIN");
    a.send(query(end));
    a.leave();
    EXPECT_EQ(a.cancels, 0) << end;
    settle();
    EXPECT_TRUE(a.closed);
  }
  auto& a = client();
  ask(a, "BEGIN");
  a.send(join(query("COMMIT"), query("BEGIN"), query("SELECT slow")));
  a.leave();
  EXPECT_EQ(a.cancels, 0);
  settle();
}

// A clean-up is sent in front of the client's own bytes. If it fails, nothing behind it may run.
TEST_F(Outcome, NothingRunsBehindACleanUpThatFails) {
  const auto ran = [&](std::string_view text) {
    for (const auto& s : servers_) {
      const auto& log = s.pg.log();
      if (std::find(log.begin(), log.end(), text) != log.end() && !s.closed) return true;
    }
    return false;
  };
  for (const auto& bytes :
       {query("INSERT b"), query("ROLLBACK; INSERT b"), join(query("COMMIT"), query("INSERT b")),
        join(run("ROLLBACK"), run("INSERT b"), sync()), join(run("INSERT b"), sync())}) {
    auto& a = client();
    ask(a, "SELECT a");
    auto& b = client();
    auto* server = a.server ? a.server : &free_server();
    server->pg.fail_clean_up();
    const auto before = server->pg.done();
    EXPECT_EQ(ask(b, bytes), "E:08006!");
    EXPECT_EQ(server->pg.done(), before + 1) << "its BEGIN";
    EXPECT_TRUE(server->closed);
    EXPECT_FALSE(ran("INSERT b"));
  }
}

// What a name stands for is not known where the client's names are the server's.
TEST_F(Outcome, NorBehindANamedStatementThatMayEndTheBlock) {
  options_.max_server_statements = 0;
  auto& a = client();
  ask(a, "SELECT a");
  servers_[0].pg.fail_clean_up();
  const auto before = servers_[0].pg.done();
  EXPECT_EQ(
      ask(client(), join(parse("c", "COMMIT"), bind("c", "", ""), execute(), sync(), query("INSERT b"))),
      "E:08006!");
  EXPECT_EQ(servers_[0].pg.done(), before + 1) << "its BEGIN";
}

TEST_F(Outcome, AfterAPinTheCleanUpIsWaitedFor) {
  auto& a = client();
  ask(a, "SELECT a");
  servers_[0].state.require(pool::CleanUp::Everything);
  servers_[0].pg.fail_clean_up();
  const auto before = servers_[0].pg.done();
  EXPECT_EQ(ask(client(), "ROLLBACK; SELECT b"), "C:ROLLBACK T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_TRUE(servers_[0].closed);
  EXPECT_EQ(servers_[0].pg.done(), before);
  EXPECT_EQ(servers_.size(), 2U);
  servers_[1].state.require(pool::CleanUp::Everything);
  EXPECT_EQ(ask(client(), "SELECT c"), "T D:SELECT c|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(servers_.size(), 2U);
}

}  // namespace
}  // namespace sidepool::test
