// Plans whose result type has changed.
#include "tests/support/splits.h"
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Outdated : public SessionTest {
 protected:
  // A client with the statement s1 on a server, whose plan then changes.
  SessionRig& with_statement() {
    auto& a = client();
    EXPECT_EQ(ask(a, join(parse("s1", "SELECT a"), sync())), "1 Z:I");
    return a;
  }
  void change() {
    for (auto& s : servers_) s.pg.change_results();
  }
  static Buffer run() { return join(bind("s1"), execute(), sync()); }
  static constexpr const char* kRow = "2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I";
  static constexpr const char* kDescribed = "2 T D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I";
};

TEST_F(Outdated, AClientWithoutADescriptionIsServed) {
  auto& a = with_statement();
  change();
  EXPECT_EQ(ask(a, run()), kRow);
  EXPECT_EQ(ask(a, run()), kRow);
  EXPECT_EQ(a.server, nullptr);
  EXPECT_EQ(a.session.take_events().errors, 0U);
}

TEST_F(Outdated, OneThatDescribesInTheSameCycleIsServed) {
  auto& a = with_statement();
  const auto described = join(bind("s1"), describe('P', ""), execute(), sync());
  EXPECT_EQ(ask(a, described), kDescribed);
  change();
  EXPECT_EQ(ask(a, described), kDescribed) << "found out by the server";
  auto& b = client();
  EXPECT_EQ(ask(b, join(parse("s1", "SELECT a"), describe('S', "s1"), sync())), "1 t T Z:I");
  change();
  EXPECT_EQ(ask(a, described), kDescribed);
  EXPECT_EQ(ask(b, described), kDescribed) << "known before";
  EXPECT_EQ(ask(b, join(describe('S', "s1"), sync())), "t T Z:I");
  change();
  EXPECT_EQ(ask(b, join(describe('S', "s1"), bind("s1"), execute(), sync())),
            "t T 2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Outdated, ADescriptionFromBeforeIsAnError) {
  auto& a = with_statement();
  ask(a, join(describe('S', "s1"), sync()));
  change();
  EXPECT_EQ(ask(a, run()), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, run()), "E:0A000 Z:I") << "until it closes or parses that name again";
  EXPECT_EQ(ask(a, join(bind("s1"), flush())), "E:0A000");
  EXPECT_EQ(ask(a, join(execute(), sync())), "Z:I");
  EXPECT_EQ(ask(a, join(bind("s1", "p"), describe('P', "q"), execute("p"), sync())), "E:0A000 Z:I")
      << "describes another portal";
  EXPECT_EQ(ask(a, join(close('S', "s1"), parse("s1", "SELECT a"), run())), "3 1 " + std::string(kRow));
}

TEST_F(Outdated, InABlockItIsAnErrorOfTheBlock) {
  auto& a = with_statement();
  ask(a, "BEGIN");
  change();
  EXPECT_EQ(ask(a, run()), "E:0A000 Z:E");
  EXPECT_EQ(ask(a, "ROLLBACK"), "C:ROLLBACK Z:I");
  EXPECT_EQ(ask(a, run()), kRow);
}

TEST_F(Outdated, NothingRunsTwice) {
  auto& a = with_statement();
  change();
  const auto before = servers_[0].pg.log().size();
  EXPECT_EQ(ask(a, run()), kRow);
  EXPECT_EQ(servers_[0].pg.log().size(), before + 1);
  change();
  // Behind an Execute of the same cycle, whose work the error has undone.
  EXPECT_EQ(ask(a, join(parse("", "SELECT x"), bind(""), execute(), run())),
            "1 2 D:SELECT x,v|parsed in UTC| C:SELECT 1 E:0A000 Z:I");
}

TEST_F(Outdated, WhatFollowsTheCycleDoesNotOvertakeIt) {
  auto& a = with_statement();
  change();
  EXPECT_EQ(ask(a, join(run(), query("SELECT b"))), "E:0A000 Z:I T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Outdated, AClientThatHasNotSentItsSyncYet) {
  auto& a = with_statement();
  change();
  EXPECT_EQ(ask(a, join(bind("s1"), execute(), flush())), "2 D:SELECT a,v|parsed in UTC| C:SELECT 1");
  EXPECT_EQ(ask(a, sync()), "Z:I");
  EXPECT_EQ(a.server, nullptr);
}

TEST_F(Outdated, ALongCycleGetsTheError) {
  auto& a = with_statement();
  change();
  EXPECT_EQ(ask(a, join(bind("s1", "", std::string(40'000, 'v')), execute(), sync())), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, run()), kRow);
}

TEST_F(Outdated, WhatAFunctionHasDroppedIsParsedAgain) {
  auto& a = with_statement();
  auto& b = client();
  ask(b, join(parse("s1", "SELECT a"), describe('S', "s1"), sync(), parse("s2", "SELECT b"), sync()));
  const auto drop = [this] {
    for (auto& s : servers_) s.pg.drop_statements();
  };
  drop();
  EXPECT_EQ(ask(a, run()), kRow);
  EXPECT_EQ(ask(b, run()), kRow);
  drop();
  EXPECT_EQ(ask(b, join(describe('S', "s1"), sync())), "t T Z:I");
  ask(b, "BEGIN");
  ask(b, run());
  drop();
  EXPECT_EQ(ask(b, run()), "E:26000 Z:E") << "nothing can be sent again in a block";
  ask(b, "ROLLBACK");
  EXPECT_EQ(ask(b, join(bind("s2"), execute(), sync())), "2 D:SELECT b,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(b, run()), kRow);
}

TEST_F(Outdated, LeavingAndLosingTheServerMeanwhile) {
  auto& a = with_statement();
  change();
  a.send(run());
  a.grant(free_server());
  a.deliver(5);
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  auto& b = with_statement();
  change();
  b.send(run());
  b.grant(free_server());
  b.server_dies();
  EXPECT_TRUE(b.closed);
}

TEST_F(Outdated, NoSplitMatters) {
  const auto bytes = join(bind("s1"), describe('P', ""), execute(), sync());
  for_every_split(
      bytes,
      [&](const Pieces& pieces) {
        auto& a = with_statement();
        ask(a, bytes);
        change();
        for (const auto p : pieces) {
          a.send(p);
          settle();
        }
        ASSERT_EQ(words_of(a.take()), kDescribed);
        a.leave();
        settle();
      },
      0);
}

}  // namespace
}  // namespace sidepool::test
