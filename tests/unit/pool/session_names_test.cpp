// SQL that sees the names of prepared statements.
#include "tests/support/splits.h"
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

constexpr std::string_view kList = "SELECT pg_prepared_statements";

class Names : public SessionTest {
 protected:
  static std::string list(std::string_view of) {
    return "T D:" + std::string(kList) + "|parsed in UTC|" + std::string(of) + " C:SELECT 1 Z:I";
  }
  std::string prepare(SessionRig& c, std::string_view name, std::string_view text) {
    return ask(c, join(parse(name, text), sync()));
  }
};

TEST_F(Names, TheViewShowsTheClientsOwnAndNobodyElses) {
  auto& a = client();
  auto& b = client();
  prepare(b, "theirs", "SELECT secret");
  prepare(a, "s1", "SELECT a");
  ask(b, "SELECT b");
  EXPECT_EQ(ask(a, kList), list("s1=SELECT a in UTC;"));
  EXPECT_EQ(a.session.pins(), static_cast<std::uint32_t>(pool::Pin::OwnNames));
  EXPECT_EQ(a.session.take_events().pins, static_cast<std::uint32_t>(pool::Pin::OwnNames));
  EXPECT_EQ(ask(a, join(bind("s1"), execute(), sync())), "2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(b, join(bind("theirs"), execute(), sync())),
            "2 D:SELECT secret,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(servers_.size(), 2U);
}

TEST_F(Names, OtherClientsNeverSeeThem) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  ask(a, "EXECUTE s1");
  a.leave();
  settle();
  auto& b = client();
  EXPECT_EQ(ask(b, kList), list(""));
  EXPECT_EQ(ask(b, "EXECUTE s1"), "E:26000 Z:I");
  EXPECT_EQ(servers_.size(), 1U);
}

// As a function may do by EXECUTE.
TEST_F(Names, WhatSomebodyHasPreparedWithoutAWordIsNotThere) {
  auto& a = client();
  ask(a, "SELECT a");
  servers_[0].pg.feed(query("PREPARE hidden AS SELECT secret"));
  servers_[0].pg.take_output();
  EXPECT_EQ(ask(client(), "EXECUTE hidden"), "E:26000 Z:I");
  servers_.emplace_back(7U).pg.feed(query("PREPARE hidden AS SELECT secret"));
  servers_[1].pg.take_output();
  auto& c = client();
  prepare(c, "s1", "SELECT a");
  EXPECT_EQ(ask(c, kList), list("s1=SELECT a in UTC;"));
}

// After a reload: this client's pool rewrites no names, so it would see and could run what is on the server.
TEST_F(Names, WhereNamesPassUntouchedNoneOfOursIsLeft) {
  auto by_session = options_, untouched = options_;
  by_session.mode = pool::Mode::Session;
  untouched.max_server_statements = 0;
  for (const auto* options : {&by_session, &untouched}) {
    auto& a = client();
    prepare(a, "s1", "SELECT secret");
    std::string ours;
    servers_[0].state.statements.for_each([&](pool::StatementId id) { ours = store_.name_of(id); });
    client({{"TimeZone", "Asia/Tokyo"}});  // its replay is a statement too
    auto& b = client({}, *options);
    EXPECT_EQ(ask(b, kList), list(""));
    EXPECT_EQ(ask(b, join(bind(ours), execute(), sync())), "E:26000 Z:I");
    b.leave();
    settle();
    EXPECT_EQ(ask(a, join(bind("s1"), execute(), sync())),
              "2 D:SELECT secret,v|parsed in UTC| C:SELECT 1 Z:I");
    a.leave();
    settle();
  }
  EXPECT_EQ(servers_.size(), 1U);
}

TEST_F(Names, ExecuteOfAProtocolLevelNameRuns) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  EXPECT_EQ(ask(a, "EXECUTE s1"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, "EXECUTE s2"), "E:26000 Z:I");
  EXPECT_EQ(prepare(a, "s2", "SELECT c"), "1 Z:I");
  EXPECT_EQ(prepare(a, "s2", "SELECT d"), "E:42P05 Z:I");
  EXPECT_EQ(ask(a, "EXECUTE s2"), "T D:SELECT c|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, join(close('S', "s1"), sync())), "3 Z:I");
  EXPECT_EQ(ask(a, kList), list("s2=SELECT c in UTC;"));
  EXPECT_EQ(ask(a, "DEALLOCATE s2"), "C:DEALLOCATE Z:I");
  EXPECT_EQ(ask(a, join(bind("s2"), execute(), sync())), "E:26000 Z:I");
  EXPECT_EQ(ask(a, "DISCARD ALL"), "C:DISCARD ALL Z:I");
  EXPECT_FALSE(a.session.pinned());
  EXPECT_EQ(a.server, nullptr);
  EXPECT_EQ(prepare(a, "s1", "SELECT e"), "1 Z:I");
  EXPECT_EQ(ask(a, join(bind("s1"), execute(), sync())), "2 D:SELECT e,v|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Names, PrepareAndParseShareTheirNames) {
  auto& a = client();
  EXPECT_EQ(ask(a, "PREPARE q AS SELECT q"), "C:PREPARE Z:I");
  EXPECT_EQ(prepare(a, "q", "SELECT r"), "E:42P05 Z:I");
  EXPECT_EQ(ask(a, join(bind("q"), execute(), sync())), "2 D:SELECT q,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(prepare(a, "r", "SELECT r"), "1 Z:I");
  EXPECT_EQ(ask(a, "PREPARE r AS SELECT s"), "E:42P05 Z:I");
  EXPECT_EQ(ask(a, "EXECUTE r"), "T D:SELECT r|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, kList), list("q=SELECT q in UTC;r=SELECT r in UTC;"));
}

TEST_F(Names, StatementsKeepTheSettingsTheyWereParsedUnder) {
  auto& a = client();
  ask(a, "SET TimeZone = 'Mars'");
  prepare(a, "s1", "SELECT a");
  ask(a, "SET TimeZone = 'UTC'");
  EXPECT_EQ(ask(a, kList), list("s1=SELECT a in Mars;"));
  EXPECT_EQ(ask(a, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Names, InABlockAndInAFailedOne) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  ask(a, "BEGIN");
  EXPECT_EQ(ask(a, "EXECUTE s1"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:T");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(ask(a, "EXECUTE s1"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I") << "names outlive a rollback";
  auto& b = client();
  prepare(b, "s1", "SELECT b");
  ask(b, "BEGIN");
  ask(b, "SELECT error");
  EXPECT_EQ(ask(b, "EXECUTE s1"), "E:25P02 Z:E");
  EXPECT_EQ(ask(b, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(ask(b, "EXECUTE s1"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Names, InTheExtendedProtocolBehindOtherMessages) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  EXPECT_EQ(ask(a, join(parse("", "SELECT x"), bind(""), execute(), parse("e", "EXECUTE s1"), bind("e"),
                        execute(), sync())),
            "1 2 D:SELECT x,v|parsed in UTC| C:SELECT 1 1 2 D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, kList), list("e=EXECUTE s1 in UTC;s1=SELECT a in UTC;"));
}

TEST_F(Names, AQueryInTheMiddleOfACycle) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  EXPECT_EQ(ask(a, join(parse("", "SELECT x"), bind(""), execute(), query("EXECUTE s1"))),
            "1 2 D:SELECT x,v|parsed in UTC| C:SELECT 1 T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  auto& b = client();
  EXPECT_EQ(ask(b, join(close('S', "none"), query("PREPARE q AS SELECT q"))), "3 C:PREPARE Z:I");
  EXPECT_EQ(ask(b, join(bind("q"), execute(), sync())), "2 D:SELECT q,v|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Names, AQueryInTheMiddleOfACycleThatCannotHaveThem) {
  auto& a = client();
  prepare(a, "s1", "SELECT dropped");
  for (auto& s : servers_) s.pg.refuse_text("dropped");
  EXPECT_EQ(ask(a, join(parse("", "SELECT x"), bind(""), execute(), query("EXECUTE s1"))),
            "1 2 D:SELECT x,v|parsed in UTC| C:SELECT 1 E:42P01 Z:I");
  EXPECT_EQ(ask(a, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, join(parse("", "SELECT error"), bind(""), execute(), query("EXECUTE s1"), sync())),
            "1 2 E:22012 Z:I")
      << "an error before it skips it";
}

TEST_F(Names, ALongTextOfAClientWithStatementsIsReadFirst) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  prepare(a, "s2", "SELECT b");
  const std::string comment = "/*" + std::string(60'000, '.') + "*/";
  const auto in_pieces = [&](const std::string& text) {
    const auto bytes = query(text);
    a.send(Bytes(bytes).first(50'000));
    settle();
    return ask(a, Bytes(bytes).subspan(50'000));
  };
  EXPECT_EQ(in_pieces(comment + "DEALLOCATE s1"), "C:DEALLOCATE Z:I");
  EXPECT_EQ(in_pieces("EXECUTE s2; PREPARE z AS SELECT z" + comment),
            "T D:SELECT b|parsed in UTC| C:SELECT 1 C:PREPARE Z:I");
}

TEST_F(Names, ATextTooLongToBeReadFirstIsRefused) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  const auto bytes = query("EXECUTE s1 /*" + std::string(2'000'000, '.') + "*/");
  a.send(Bytes(bytes).first(50'000));
  settle();
  EXPECT_EQ(ask(a, Bytes(bytes).subspan(50'000)), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, "EXECUTE s1"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Names, OneThatCannotBeParsedAnyMoreIsLeftOut) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  prepare(a, "s2", "SELECT dropped");
  for (auto& s : servers_) s.pg.refuse_text("dropped");
  EXPECT_EQ(ask(a, "EXECUTE s1"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(a, kList), list("s1=SELECT a in UTC;"));
}

TEST_F(Names, ALongTextThatLooksAtTheViewIsRefused) {
  auto& a = client();
  const auto text = query(std::string(kList) + "/*" + std::string(60'000, '.') + "*/");
  a.send(Bytes(text).first(50'000));
  settle();
  EXPECT_EQ(ask(a, Bytes(text).subspan(50'000)), "E:0A000 Z:I");
  EXPECT_TRUE(servers_[0].cut);
  EXPECT_EQ(ask(a, kList), list(""));
}

TEST_F(Names, UnknownLoneDeallocateDoesNotPin) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  EXPECT_EQ(ask(a, "DEALLOCATE other"), "E:26000 Z:I");
  EXPECT_FALSE(a.session.pinned());
  EXPECT_EQ(ask(a, "SELECT b; DEALLOCATE s1"), "T D:SELECT b|parsed in UTC| C:SELECT 1 C:DEALLOCATE Z:I");
  EXPECT_TRUE(a.session.pinned());
}

TEST_F(Names, UnnamedDeallocateFindsItsStatementWhereverItRuns) {
  auto& a = client();
  auto& b = client();
  prepare(a, "s1", "SELECT a");
  EXPECT_EQ(prepare(a, "", "DEALLOCATE s1"), "1 Z:I");
  ask(b, "BEGIN");  // takes the server that has both
  EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "2 C:DEALLOCATE Z:I");
  EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "2 E:26000 Z:I");
  ask(b, "COMMIT");
  EXPECT_EQ(prepare(a, "s1", "SELECT c"), "1 Z:I");
  EXPECT_EQ(ask(a, join(bind(""), execute(), sync())), "2 C:DEALLOCATE Z:I") << "it is about the name";
  EXPECT_EQ(ask(a, join(bind("s1"), execute(), sync())), "E:26000 Z:I");
  prepare(b, "mine", "SELECT c");
  EXPECT_EQ(ask(b, join(bind("mine"), execute(), sync())), "2 D:SELECT c,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_FALSE(a.session.pinned());
}

TEST_F(Names, NoSplitMatters) {
  const auto bytes = join(parse("s1", "SELECT a"), sync(), query("EXECUTE s1"), parse("s2", "SELECT b"),
                          sync(), query(kList));
  for_every_split(
      bytes,
      [&](const Pieces& pieces) {
        auto& a = client();
        for (const auto p : pieces) {
          a.send(p);
          settle();
        }
        ASSERT_EQ(words_of(a.take()), "1 Z:I T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I 1 Z:I " +
                                          list("s1=SELECT a in UTC;s2=SELECT b in UTC;"));
        a.leave();
        settle();
      },
      0);
}

TEST_F(Names, TheServerIsCleanedWhenTheClientLeavesInTheMiddle) {
  auto& a = client();
  prepare(a, "s1", "SELECT a");
  a.send(query("EXECUTE s1"));
  a.grant(free_server());
  a.leave();
  settle();
  while (a.cancels > 0) a.cancel_done(false);
  settle();
  EXPECT_TRUE(a.closed);
  auto& b = client();
  EXPECT_EQ(ask(b, kList), list(""));
}

}  // namespace
}  // namespace sidepool::test
