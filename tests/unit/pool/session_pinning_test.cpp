// pinning = "refuse" and "off": statements that may not run, and state that is lost.
#include "tests/support/splits.h"
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Refuse : public SessionTest {
 protected:
  Refuse() { options_.pinning = pool::Pinning::Refuse; }
  bool ran(std::string_view text) {
    for (const auto& s : servers_) {
      for (const auto& t : s.pg.log()) {
        if (t.find(text) != std::string::npos) return true;
      }
    }
    return false;
  }
};

TEST_F(Refuse, AQueryThatWouldPinIsAnErrorAndDoesNotRun) {
  auto& a = client();
  EXPECT_EQ(ask(a, "CREATE TEMP TABLE t"), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, "LISTEN l"), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, "SELECT a; LISTEN l"), "E:0A000 Z:I");
  EXPECT_FALSE(a.session.pinned());
  EXPECT_EQ(a.server, nullptr);
  EXPECT_FALSE(ran("TEMP") || ran("LISTEN l") || ran("SELECT a"));
  EXPECT_EQ(ask(a, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Refuse, TheErrorNamesTheStatementAndTheReason) {
  auto& a = client();
  a.send(query("CREATE TEMP TABLE t"));
  settle();
  const auto told = a.take();
  Bytes in(told);
  protocol::Framer framer(1U << 20);
  const auto e = protocol::ErrorView::decode(framer.next(in)->body());
  ASSERT_TRUE(e);
  EXPECT_EQ(e->message, "a statement with temporary objects is not possible here");
  EXPECT_NE(e->detail.find("temp_object"), std::string_view::npos);
  EXPECT_NE(e->detail.find("\"refuse\""), std::string_view::npos);
}

TEST_F(Refuse, InABlockItFailsTheBlock) {
  auto& a = client();
  EXPECT_EQ(ask(a, "BEGIN"), "C:BEGIN Z:T");
  EXPECT_EQ(ask(a, "LISTEN l"), "E:0A000 Z:E");
  EXPECT_EQ(ask(a, "LISTEN l"), "E:25P02 Z:E") << "PostgreSQL's own word in a failed block";
  EXPECT_EQ(ask(a, "SELECT a"), "E:25P02 Z:E");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(a.server, nullptr);
}

TEST_F(Refuse, APipelineIsSkippedUpToTheSync) {
  auto& a = client();
  EXPECT_EQ(
      ask(a, join(parse("", "SELECT a"), bind(""), execute(), parse("s", "LISTEN l"), bind("s"), execute(),
                  sync(), query("SELECT b"))),
      "1 2 D:SELECT a,v|parsed in UTC| C:SELECT 1 E:0A000 Z:I T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, join(bind("s"), execute(), sync())), "E:26000 Z:I") << "it was never prepared";
  EXPECT_FALSE(ran("LISTEN l"));
}

TEST_F(Refuse, PipelinedQueriesAreAnsweredInOrder) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(query("BEGIN"), query("LISTEN l"), query("SELECT a"), query("ROLLBACK"),
                        query("LISTEN l"))),
            "C:BEGIN Z:T E:0A000 Z:E E:25P02 Z:E C:ROLLBACK Z:I E:0A000 Z:I");
}

TEST_F(Refuse, NoSplitOfTheBytesMattersAndNothingRuns) {
  const auto bytes = join(query("BEGIN"), query("LISTEN l"), query("COMMIT"), parse("", "SELECT 1; LISTEN l"),
                          bind(""), execute(), sync(), query("SELECT a"));
  for_every_split(bytes, [&](const Pieces& pieces) {
    auto& a = client();
    for (const auto p : pieces) {
      a.send(p);
      settle();
    }
    ASSERT_EQ(
        words_of(a.take()),
        "C:BEGIN Z:T E:0A000 Z:E C:ROLLBACK Z:I E:0A000 Z:I T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
    a.leave();
    settle();
  });
  EXPECT_FALSE(ran("LISTEN l"));
}

TEST_F(Refuse, ATextThatComesInPiecesIsHeldBack) {
  auto& a = client();
  const auto text = query("LISTEN l /*" + std::string(100'000, '.') + "*/");
  a.send(Bytes(text).first(90'000));
  settle();
  ASSERT_NE(a.server, nullptr);
  EXPECT_TRUE(a.server->pg.at_boundary()) << "nothing has gone out";
  EXPECT_EQ(ask(a, Bytes(text).subspan(90'000)), "E:0A000 Z:I");
  EXPECT_FALSE(servers_[0].closed);
  EXPECT_EQ(store_.used(), 0U);
}

TEST_F(Refuse, OfATextThatIsTooLongToHoldTheEndIsNotSent) {
  const auto text = query("/*" + std::string(2'000'000, '.') + "*/ LISTEN l");
  for (const std::size_t last : {1U, 2U, 9U, 1000U}) {
    auto& a = client();
    a.send(Bytes(text).first(text.size() - last));
    settle();
    EXPECT_EQ(ask(a, Bytes(text).last(last)), "E:0A000 Z:I");
    EXPECT_EQ(a.server, nullptr);
    EXPECT_TRUE(servers_.back().cut);
    EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  }
  EXPECT_FALSE(ran("LISTEN l"));
}

TEST_F(Refuse, AParseThatIsTooLongToHoldIsSkippedUpToItsSync) {
  const auto text = parse("", "/*" + std::string(2'000'000, '.') + "*/ LISTEN l");
  auto& a = client();
  a.send(Bytes(text).first(text.size() - 3));
  settle();
  EXPECT_EQ(ask(a, Bytes(text).last(3)), "E:0A000");
  EXPECT_TRUE(servers_.back().cut);
  EXPECT_EQ(ask(a, join(bind(""), execute(), query("SELECT a"), sync())), "Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Refuse, BehindABlockItEndsTheConnection) {
  const auto text = query("/*" + std::string(2'000'000, '.') + "*/ LISTEN l");
  auto& a = client();
  ask(a, "BEGIN");
  a.send(Bytes(text).first(text.size() - 3));
  settle();
  EXPECT_EQ(ask(a, Bytes(text).last(3)), "E:0A000!");
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(servers_.back().cut);
}

TEST_F(Refuse, SessionModeHasNothingToRefuse) {
  options_.mode = pool::Mode::Session;
  auto& a = client();
  EXPECT_EQ(ask(a, "LISTEN l"), "C:LISTEN Z:I");
}

TEST_F(Refuse, NamesThatStayOnOneServerAreRefused) {
  options_.max_server_statements = 0;
  auto& a = client();
  EXPECT_EQ(ask(a, join(parse("s", "SELECT a"), bind("s"), execute(), sync())), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, join(parse("", "SELECT a"), bind(""), execute(), sync())),
            "1 2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Refuse, LeavingBehindARefusedStatementLosesNoServer) {
  auto& a = client();
  ask(a, "BEGIN");
  a.send(query("LISTEN l"));
  a.leave();
  settle();
  while (a.cancels > 0) a.cancel_done(false);
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_FALSE(servers_[0].closed);
  auto& b = client();
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

class Off : public SessionTest {
 protected:
  Off() { options_.pinning = pool::Pinning::Off; }
};

TEST_F(Off, StateIsLostWithTheTransactionAndToldOnce) {
  auto& a = client();
  EXPECT_EQ(ask(a, "CREATE TEMP TABLE t"), "C:CREATE TABLE N Z:I");
  EXPECT_FALSE(a.session.pinned());
  EXPECT_EQ(a.server, nullptr);
  EXPECT_TRUE(servers_[0].pg.clean()) << "at once: locks would be in everybody's way";
  EXPECT_EQ(ask(a, "CREATE TEMP TABLE u"), "C:CREATE TABLE Z:I");
  EXPECT_EQ(ask(a, "LISTEN l"), "C:LISTEN N Z:I") << "another kind";
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Off, StateLastsAsLongAsTheTransaction) {
  auto& a = client();
  ask(a, "SET TimeZone = 'Mars'");
  ask(a, "BEGIN");
  EXPECT_EQ(ask(a, "CREATE TEMP TABLE t"), "C:CREATE TABLE Z:T");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars;temp t; C:SELECT 1 Z:T");
  EXPECT_EQ(ask(a, "COMMIT"), "C:COMMIT N Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in Mars|TimeZone=Mars; C:SELECT 1 Z:I");
}

TEST_F(Off, WhatIsRolledBackIsNoLoss) {
  auto& a = client();
  ask(a, "BEGIN");
  ask(a, "CREATE TEMP TABLE t");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
}

TEST_F(Off, RightsAndNamesAreNeverDropped) {
  auto& a = client();
  for (const auto* text :
       {"SET ROLE r", "SET SESSION AUTHORIZATION r", "SET search_path = x", "SET SCHEMA 'x'",
        "SELECT set_config('role', 'r', false)", "DO $$ $$", "CALL p()", "SELECT 'unterminated"}) {
    EXPECT_EQ(ask(a, text), "E:0A000 Z:I") << text;
  }
  EXPECT_EQ(ask(a, "SET work_mem = 5"), "C:SET N Z:I");
  EXPECT_EQ(ask(a, "SET LOCAL search_path = x"), "C:SET Z:I");
}

TEST_F(Off, AFailedCleanUpCostsTheServerOnly) {
  auto& a = client();
  ask(a, "SELECT a");
  a.send(query("LISTEN l"));
  servers_.back().pg.fail_clean_up();
  settle();
  EXPECT_EQ(words_of(a.take()), "C:LISTEN N Z:I");
  EXPECT_TRUE(servers_[0].closed);
  EXPECT_FALSE(a.closed);
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Off, AServerThatIsLostWhileItIsCleanedIsNoLoss) {
  auto& a = client();
  a.send(query("LISTEN l"));
  a.grant(free_server());
  a.deliver();
  ASSERT_NE(a.server, nullptr) << "being cleaned";
  a.server_dies();
  EXPECT_EQ(words_of(a.take()), "C:LISTEN N Z:I");
  EXPECT_EQ(a.session.phase(), pool::Phase::Idle);
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Off, ACancelMeanwhileCostsTheServer) {
  auto& a = client();
  a.send(query("LISTEN l"));
  a.grant(free_server());
  a.deliver();
  ASSERT_NE(a.server, nullptr);
  a.cancel_begun();
  settle();
  EXPECT_TRUE(servers_[0].closed);
  a.cancel_done(false);
  EXPECT_EQ(words_of(a.take()), "C:LISTEN N Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Off, LeavingWhileTheServerIsCleaned) {
  auto& a = client();
  a.send(query("LISTEN l"));
  a.grant(free_server());
  a.deliver();
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_FALSE(servers_[0].closed);
  EXPECT_TRUE(servers_[0].pg.clean());
}

TEST_F(SessionTest, AnUnnamedStatementThatCannotBeKeptPins) {
  constexpr auto kLong = static_cast<std::uint32_t>(pool::Pin::LongText);
  ASSERT_TRUE(store_.reserve(1U << 20));  // all of it
  auto& a = client();
  EXPECT_EQ(ask(a, join(parse("", "SELECT a"), sync())), "1 Z:I");
  EXPECT_EQ(a.server, nullptr) << "a text of usual length takes none";
  EXPECT_EQ(ask(a, join(parse("", "SELECT " + std::string(20000, 'x')), sync())), "1 Z:I");
  EXPECT_NE(a.server, nullptr);
  EXPECT_EQ(a.session.pins(), kLong);
  EXPECT_EQ(a.session.take_events().pins, kLong);
  ask(a, "SELECT b");
  EXPECT_EQ(a.server, nullptr);
  EXPECT_FALSE(a.session.pinned());
  store_.give_back(1U << 20);
}

TEST_F(SessionTest, AQueryThatTheServerSkipsLeavesTheUnnamedStatement) {
  auto& a = client();
  for (const auto* text : {"SELECT b", "SELECT error"}) {
    ask(a, join(parse("", "SELECT a"), sync()));
    servers_[0].pg.refuse_text("broken");
    EXPECT_EQ(ask(a, join(parse("x", "broken"), query(text), sync())).back(), 'I');
    EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
    const auto long_query = query(text + std::string(20000, ' '));
    EXPECT_EQ(ask(a, join(parse("x", "broken"), long_query, sync())).back(), 'I');
    EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
    ask(a, join(parse("x", "SELECT c"), query(text), sync()));
    EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "E:26000 Z:I");
    ask(a, join(close('S', "x"), sync()));
  }
}

}  // namespace
}  // namespace sidepool::test
