// Prepared statements of the protocol on whatever server a client gets.
#include "tests/support/splits.h"
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Statements : public SessionTest {
 protected:
  static Buffer run(std::string_view name) { return join(bind(name), execute(), sync()); }
  std::string prepare(SessionRig& c, std::string_view name, std::string_view text) {
    return ask(c, join(parse(name, text), sync()));
  }
  static std::string row(std::string_view of, std::string_view zone = "UTC") {
    return "2 D:" + std::string(of) + ",v|parsed in " + std::string(zone) + "| C:SELECT 1 Z:I";
  }
};

TEST_F(Statements, FollowTheClientToAnotherServer) {
  auto& a = client();
  EXPECT_EQ(prepare(a, "s", "SELECT a"), "1 Z:I");
  avoid_ = &servers_[0];
  EXPECT_EQ(ask(a, run("s")), row("SELECT a"));
  EXPECT_EQ(servers_.size(), 2U);
  EXPECT_EQ(a.session.take_events().reparses, 1U);
  EXPECT_EQ(ask(a, run("s")), row("SELECT a"));
  EXPECT_EQ(a.session.take_events().reparses, 0U);
}

TEST_F(Statements, UnknownAndTakenNamesAreTheRealErrors) {
  auto& a = client();
  EXPECT_EQ(ask(a, run("s")), "E:26000 Z:I");
  EXPECT_EQ(ask(a, join(describe('S', "s"), sync())), "E:26000 Z:I");
  EXPECT_EQ(prepare(a, "s", "SELECT a"), "1 Z:I");
  EXPECT_EQ(prepare(a, "s", "SELECT b"), "E:42P05 Z:I");
  EXPECT_EQ(prepare(a, "t", "SELECT syntax"), "E:42601 Z:I");
  EXPECT_EQ(ask(a, run("t")), "E:26000 Z:I");
  EXPECT_EQ(ask(a, run("s")), row("SELECT a"));
}

TEST_F(Statements, CloseAndDeallocateForgetAName) {
  auto& a = client();
  prepare(a, "s", "SELECT a");
  EXPECT_EQ(ask(a, join(close('S', "s"), sync())), "3 Z:I");
  EXPECT_FALSE(a.waiting) << "no server is needed for that";
  EXPECT_EQ(ask(a, run("s")), "E:26000 Z:I");
  prepare(a, "s", "SELECT b");
  EXPECT_EQ(ask(a, "DEALLOCATE s"), "C:DEALLOCATE Z:I");
  EXPECT_EQ(ask(a, "DEALLOCATE s"), "E:26000 Z:I");
  prepare(a, "s", "SELECT c");
  EXPECT_EQ(ask(a, join(parse("", "DEALLOCATE s"), bind("", "", ""), execute(), sync())),
            "1 2 C:DEALLOCATE Z:I");
  EXPECT_EQ(ask(a, run("s")), "E:26000 Z:I");
  prepare(a, "s", "SELECT d");
  EXPECT_EQ(ask(a, "DEALLOCATE ALL"), "C:DEALLOCATE ALL Z:I");
  EXPECT_EQ(ask(a, run("s")), "E:26000 Z:I");
  EXPECT_EQ(store_.size(), 0U);
}

TEST_F(Statements, ADeallocateRunsWhenItsPortalDoes) {
  auto& a = client();
  auto& b = client();
  prepare(b, "s", "SELECT a");
  prepare(a, "s", "SELECT a");
  EXPECT_EQ(ask(a, join(parse("", "DEALLOCATE s"), bind("", "p"), bind("s"), execute("p"), sync())),
            "1 2 2 C:DEALLOCATE Z:I");
  EXPECT_EQ(ask(a, run("s")), "E:26000 Z:I");
  EXPECT_EQ(ask(b, run("s")), row("SELECT a"));
  prepare(a, "s", "SELECT a");
  EXPECT_EQ(ask(a, join(parse("", "DEALLOCATE s"), bind("", "p"), run("s"))), "1 2 " + row("SELECT a"));
  EXPECT_EQ(ask(a, join(execute("p"), sync())), "E:34000 Z:I");
  EXPECT_EQ(ask(a, run("s")), row("SELECT a"));
}

TEST_F(Statements, TheLeastRecentlyUsedLeavesTheServer) {
  options_.max_server_statements = 2;
  auto& a = client();
  for (const auto* name : {"s1", "s2", "s3"}) prepare(a, name, std::string("SELECT ") + name);
  EXPECT_EQ(servers_[0].pg.statements(), 2U);
  for (const auto* name : {"s1", "s2", "s3", "s1"})
    EXPECT_EQ(ask(a, run(name)), row(std::string("SELECT ") + name));
  EXPECT_LE(servers_[0].pg.statements(), 2U);
}

TEST_F(Statements, OneTextIsOneStatementForAllClients) {
  auto& a = client();
  auto& b = client();
  prepare(a, "mine", "SELECT x");
  EXPECT_EQ(prepare(b, "yours", "SELECT x"), "1 Z:I");
  EXPECT_EQ(servers_[0].pg.statements(), 1U);
  EXPECT_EQ(ask(b, run("yours")), row("SELECT x"));
  EXPECT_EQ(ask(b, run("mine")), "E:26000 Z:I");
}

TEST_F(Statements, NamesMeanWhatTheyDoAtTheClientsOwnParse) {
  auto& a = client();
  auto& b = client();
  prepare(a, "s", "SELECT x");
  servers_[0].pg.set_objects("the new schema");
  prepare(b, "s", "SELECT x");
  static const auto kNew = "2 D:SELECT x,v|parsed in UTC|of the new schema; C:SELECT 1 Z:I";
  EXPECT_EQ(ask(b, run("s")), kNew);
  EXPECT_EQ(ask(a, run("s")), kNew) << "a newer copy will do, as after an invalidation";
  EXPECT_EQ(a.session.take_events().reparses, 0U);
}

TEST_F(Statements, ACopyFromBeforeTheClientsParseIsParsedAgain) {
  auto& a = client();
  auto& b = client();
  prepare(a, "s", "SELECT x");
  avoid_ = &servers_[0];
  prepare(b, "s", "SELECT x");
  avoid_ = &servers_[1];
  servers_[0].pg.set_objects("the new schema");
  EXPECT_EQ(ask(a, run("s")), row("SELECT x"));
  EXPECT_EQ(ask(b, run("s")), "2 D:SELECT x,v|parsed in UTC|of the new schema; C:SELECT 1 Z:I");
  EXPECT_EQ(b.session.take_events().reparses, 1U);
  ask(b, run("s"));
  EXPECT_EQ(b.session.take_events().reparses, 0U);
}

TEST_F(Statements, AParseThatFailsLeavesTheOthersTheirs) {
  auto& a = client();
  auto& b = client();
  prepare(a, "s", "SELECT x");
  prepare(b, "s", "SELECT x");
  servers_[0].pg.refuse_text("SELECT x");
  EXPECT_EQ(prepare(b, "t", "SELECT x"), "E:42P01 Z:I");
  servers_[0].pg.refuse_text("");
  EXPECT_EQ(ask(b, run("t")), "E:26000 Z:I");
  EXPECT_EQ(ask(a, run("s")), row("SELECT x"));
  EXPECT_EQ(ask(b, run("s")), row("SELECT x"));
}

TEST_F(Statements, InAFailedBlockPostgresqlSaysSo) {
  auto& a = client();
  prepare(a, "s", "SELECT x");
  ask(a, "BEGIN");
  ask(a, "SELECT _missing");
  EXPECT_EQ(prepare(a, "t", "SELECT x"), "E:25P02 Z:E");
  ask(a, "ROLLBACK");
  EXPECT_EQ(ask(a, run("s")), row("SELECT x"));
}

TEST_F(Statements, TextsBehindObjectsOfAnOpenTransactionAreNotShared) {
  auto& a = client();
  auto& b = client();
  prepare(b, "s", "SELECT x");
  ask(a, "BEGIN");
  ask(a, "ALTER TABLE x");
  servers_[0].pg.set_objects("the open transaction");
  prepare(a, "s", "SELECT x");
  servers_[0].pg.set_objects("");
  ask(a, "COMMIT");
  EXPECT_EQ(ask(b, run("s")), row("SELECT x"));
  EXPECT_EQ(store_.size(), 2U);
  prepare(a, "shared", "SELECT x");
  EXPECT_EQ(store_.size(), 2U) << "what has been made for everybody is shared";
}

TEST_F(Statements, TextsBehindTemporaryObjectsAreNotShared) {
  auto& a = client();
  prepare(a, "early", "SELECT x");
  ask(a, "CREATE TEMP TABLE scratch");
  prepare(a, "d1", "SELECT x");
  ask(a, "CREATE TEMP TABLE x");
  a.server->pg.set_objects("temp");
  prepare(a, "d2", "SELECT x");
  EXPECT_EQ(store_.size(), 3U);
  const auto before = ask(a, run("d1"));
  EXPECT_EQ(before.find("of temp"), std::string::npos) << before;
  EXPECT_NE(ask(a, run("d2")).find("of temp"), std::string::npos);
}

TEST_F(Statements, TextsThatMayNameTheMomentAreNotShared) {
  auto& a = client();
  auto& b = client();
  for (const auto* text :
       {"SELECT 'now'::timestamptz", "SELECT date ' Today'", "SELECT E'YESTERDAY 10:00'"}) {
    prepare(a, "s", text), prepare(b, "s", text);
    EXPECT_EQ(store_.size(), 2U) << text;
    for (auto* c : {&a, &b}) ask(*c, join(close('S', "s"), sync()));
  }
  for (const auto* text : {"SELECT now()", "SELECT NOW ()", "SELECT nowhere, known, now_1, x.today1"}) {
    prepare(a, "s", text), prepare(b, "s", text);
    EXPECT_EQ(store_.size(), 1U) << text;
    for (auto* c : {&a, &b}) ask(*c, join(close('S', "s"), sync()));
  }
  EXPECT_EQ(store_.used(), 0U);
}

TEST(StatementStore, SharesWithinAScope) {
  pool::StatementStore store("0123456789abcdef", pool::WorkerId{0}, 1000);
  const auto intern = [&](std::uint64_t pool, std::uint64_t startup, protocol::Effects effects = {}) {
    protocol::ScanResult scan;
    scan.effects = effects;
    static const std::string kTail("SELECT x\0\0\0", 11);
    return store.intern({pool::PoolId{pool}, startup}, protocol::as_bytes(kTail), nullptr, scan);
  };
  const auto a = intern(1, 0);
  EXPECT_EQ(intern(1, 0), a);
  EXPECT_NE(intern(2, 0), a);
  EXPECT_NE(intern(1, 1), a);
  EXPECT_EQ(store.find(a->id), a.get());
  {
    const auto read_differently = intern(1, 0, protocol::Effect::AdvisoryLock);
    EXPECT_NE(read_differently, a);
    EXPECT_EQ(store.used(), 22U) << "one memory for all scopes";
  }
  EXPECT_EQ(intern(1, 0), a);
  EXPECT_EQ(store.size(), 1U);
}

TEST_F(Statements, LiteralsKeepTheSettingsOfTheFirstParse) {
  auto& a = client();
  auto& b = client();
  prepare(b, "s", "SELECT x");
  ask(a, "SET TimeZone = 'Mars'");
  prepare(a, "s", "SELECT x");
  ask(a, "SET TimeZone = 'UTC'");
  EXPECT_EQ(ask(a, run("s")), row("SELECT x", "Mars"));
  EXPECT_EQ(ask(b, run("s")), row("SELECT x"));
  avoid_ = &servers_[0];
  EXPECT_EQ(ask(a, run("s")), row("SELECT x", "Mars"));
  EXPECT_EQ(ask(a, "SELECT y"), "T D:SELECT y|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Statements, LiteralsKeepTheSettingsOfTheirTransaction) {
  auto& a = client();
  ask(a, "BEGIN");
  ask(a, "SET LOCAL TimeZone = 'Mars'");
  prepare(a, "s", "SELECT x");
  prepare(a, "", "SELECT u");
  ask(a, join(parse("end", "COMMIT"), run("end")));  // a Query would drop the unnamed one
  EXPECT_EQ(ask(a, run("s")), row("SELECT x", "Mars"));
  EXPECT_EQ(ask(a, run("")), row("SELECT u", "Mars"));
  avoid_ = &servers_[0];
  EXPECT_EQ(ask(a, run("s")), row("SELECT x", "Mars"));
  EXPECT_EQ(ask(a, run("")), row("SELECT u", "Mars"));
  EXPECT_EQ(ask(a, "SELECT y"), "T D:SELECT y|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Statements, TheUnnamedOneOutlivesItsSync) {
  auto& a = client();
  auto& b = client();
  EXPECT_EQ(prepare(a, "", "SELECT a"), "1 Z:I");
  EXPECT_EQ(prepare(b, "", "SELECT b"), "1 Z:I");
  EXPECT_EQ(ask(a, run("")), row("SELECT a"));
  avoid_ = &servers_[0];
  EXPECT_EQ(ask(b, run("")), row("SELECT b"));
  ask(a, "SELECT x");
  EXPECT_EQ(ask(a, run("")), "E:26000 Z:I") << "a simple Query drops it";
}

TEST_F(Statements, ARefusedTextStillReplacesTheUnnamedOne) {
  auto& a = client();
  const auto refused = [&](Bytes bytes) {
    grants_ = false;
    a.send(bytes);
    EXPECT_TRUE(a.waiting);
    a.refuse({"ERROR", "53300", "full", {}, {}});
    grants_ = true;
    settle();
    return words_of(a.take());
  };
  prepare(a, "", "SELECT old");
  EXPECT_EQ(refused(join(bind("nobody"), parse("", "SELECT skipped"), execute(), sync())), "E:53300 Z:I");
  EXPECT_EQ(ask(a, run("")), row("SELECT old"));
  EXPECT_EQ(refused(join(parse("", "SELECT new"), bind(""), execute(), sync())), "E:53300 Z:I");
  EXPECT_EQ(ask(a, run("")), "E:26000 Z:I");
  prepare(a, "", "SELECT old");
  EXPECT_EQ(refused(query("SELECT new")), "E:53300 Z:I");
  EXPECT_EQ(ask(a, run("")), "E:26000 Z:I");
  prepare(a, "", "SELECT old");
  EXPECT_EQ(refused(query("BEGIN")), "E:53300 Z:E");
  prepare(a, "", "SELECT old");
  EXPECT_EQ(ask(a, join(parse("", "SELECT new"), sync())), "E:25P02 Z:E");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(ask(a, run("")), "E:26000 Z:I");
}

TEST_F(Statements, LimitsAreErrorsOfTheParse) {
  options_.max_client_statements = 1;
  auto& a = client();
  prepare(a, "s", "SELECT a");
  EXPECT_EQ(prepare(a, "t", "SELECT b"), "E:53200 Z:I");
  EXPECT_EQ(prepare(a, "u", "SELECT '" + std::string(2'000'000, 'x') + "'"), "E:53200 Z:I");
  EXPECT_EQ(ask(a, run("s")), row("SELECT a"));
}

TEST_F(Statements, APipelineWithAnErrorTakesBackWhatItSkips) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(parse("s", "SELECT a"), parse("t", "SELECT syntax"), parse("u", "SELECT u"), sync(),
                        run("s"), run("u"))),
            "1 E:42601 Z:I " + row("SELECT a") + " E:26000 Z:I");
}

TEST_F(Statements, NoSplitMatters) {
  const auto bytes = join(parse("s", "SELECT a"), describe('S', "s"), bind("s"), execute(), close('S', "s"),
                          sync(), run("s"), query("DEALLOCATE s"));
  for_every_split(
      bytes,
      [&](const Pieces& pieces) {
        auto& a = client();
        for (const auto p : pieces) {
          a.send(p);
          settle();
        }
        ASSERT_EQ(words_of(a.take()),
                  "1 t T 2 D:SELECT a,v|parsed in UTC| C:SELECT 1 3 Z:I E:26000 Z:I E:26000 Z:I");
        a.leave();
        settle();
      },
      0);
}

TEST_F(Statements, LongMessages) {
  auto& a = client();
  const std::string filler(100'000, '.');
  const auto text = "SELECT /*" + filler + "*/ a";
  const auto bytes = join(parse("s", text), sync(), bind("s", "", filler), execute(), sync(), query(text));
  for (const std::size_t piece : {1000U, 16'384U, 70'001U, 1'000'000U}) {
    avoid_ = servers_.empty() ? nullptr : &servers_.back();
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      a.send(Bytes(bytes).subspan(at, std::min(piece, bytes.size() - at)));
      settle();
    }
    const auto got = words_of(a.take());
    EXPECT_EQ(got, "1 Z:I 2 D:" + text + "," + filler + "|parsed in UTC| C:SELECT 1 Z:I T D:" + text +
                       "|parsed in UTC| C:SELECT 1 Z:I");
    ask(a, join(close('S', "s"), sync()));
  }
}

TEST_F(Statements, MoreThanTheLedgerHolds) {
  auto& a = client();
  prepare(a, "s", "SELECT a");
  const auto one = join(bind("s"), execute());
  Buffer bytes;
  for (int i = 0; i < 4500; ++i) bytes.insert(bytes.end(), one.begin(), one.end());
  const auto words = ask(a, join(bytes, sync()));
  std::size_t rows = 0;
  for (auto at = words.find("C:SELECT 1"); at != std::string::npos; at = words.find("C:SELECT 1", at + 1))
    ++rows;
  EXPECT_EQ(rows, 4500U);
  EXPECT_TRUE(words.ends_with("Z:I"));
  EXPECT_EQ(a.server, nullptr);
}

}  // namespace
}  // namespace sidepool::test
