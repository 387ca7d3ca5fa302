// What a client was told of its statement's rows and parameters, on servers that have parsed it anew.
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Shapes : public SessionTest {
 protected:
  static Buffer run(std::string_view name) { return join(bind(name), execute(), sync()); }
  void change_types() {
    for (auto& s : servers_) s.pg.set_type(20);
  }
  // A client that has been told of the statement s on the first server, and another server.
  SessionRig& told_client(std::string_view text) {
    for (const std::uint32_t pid : {100U, 101U}) servers_.emplace_back(pid);
    auto& a = client();
    avoid_ = &servers_[1];
    EXPECT_EQ(ask(a, join(parse("s", text), describe('S', "s"), sync())).substr(0, 3), "1 t");
    return a;
  }
  static constexpr const char* kRow = "2 D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I";
};

TEST_F(Shapes, ACopyThatAnotherClientHasMadeIsComparedFirst) {
  auto& a = told_client("SELECT a");
  EXPECT_EQ(ask(a, run("s")), kRow);
  change_types();
  avoid_ = &servers_[0];
  auto& b = client();
  EXPECT_EQ(ask(b, join(parse("s", "SELECT a"), run("s"))), "1 " + std::string(kRow));
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  EXPECT_EQ(ask(b, run("s")), kRow) << "was told nothing";
  EXPECT_EQ(ask(a, join(bind("s"), describe('P', ""), execute(), sync())), "2 T " + std::string(kRow + 2));
  EXPECT_EQ(ask(a, run("s")), kRow);
}

TEST_F(Shapes, OneThatIsTheSameIsComparedOnce) {
  auto& a = told_client("SELECT a");
  auto& b = client();
  EXPECT_EQ(ask(b, join(parse("s", "SELECT a"), run("s"))), "1 " + std::string(kRow));
  EXPECT_EQ(ask(a, run("s")), kRow);
  a.to_server.clear();
  EXPECT_EQ(ask(a, run("s")), kRow);
  EXPECT_EQ(std::count(a.to_server.begin(), a.to_server.end(), 'H'), 0) << "no Flush";
}

TEST_F(Shapes, WhatOnlyOneClientSeesIsNoChangeForTheOthers) {
  auto& b = told_client("SELECT a");
  auto& a = client();
  EXPECT_EQ(ask(a, join(parse("s", "SELECT a"), describe('S', "s"), sync())), "1 t T Z:I");
  auto& mine = servers_[0].pg;
  ask(a, "BEGIN");
  ask(a, "ALTER TABLE x");
  mine.change_results();
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:E");
  ask(a, "ROLLBACK");
  EXPECT_EQ(ask(b, run("s")), kRow);
  EXPECT_EQ(ask(a, run("s")), kRow);
  ask(a, "CREATE TEMP TABLE x");
  mine.change_results(), mine.set_type(20);
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  avoid_ = nullptr;
  EXPECT_EQ(ask(b, run("s")), kRow);
  EXPECT_NE(
      ask(a, join(close('S', "s"), parse("s", "SELECT a"), describe('S', "s"), run("s"))).find("C:SELECT"),
      std::string::npos);
  EXPECT_EQ(ask(b, run("s")), kRow);
}

TEST_F(Shapes, AComparisonThatMeetsAnOutdatedPlan) {
  auto& a = told_client("SELECT a");
  auto& b = client();
  ask(b, join(parse("s", "SELECT a"), run("s")));
  for (auto& s : servers_) s.pg.change_results();
  EXPECT_EQ(ask(a, join(bind("s"), describe('P', ""), execute(), sync())), "2 T " + std::string(kRow + 2));
  ask(b, join(parse("t", "SELECT a"), sync()));
  for (auto& s : servers_) s.pg.change_results();
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  EXPECT_EQ(ask(b, run("s")), kRow);
}

TEST_F(Shapes, NothingWaitsForADescriptionOfItsOwnCycle) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(parse("s", "SELECT a"), describe('S', "s"), run("s"))), "1 t T " + std::string(kRow));
  EXPECT_EQ(std::count(a.to_server.begin(), a.to_server.end(), 'H'), 0);
  EXPECT_EQ(ask(a, join(parse("syntax", "SELECT syntax"), describe('S', "s"), sync(), run("s"))),
            "E:42601 Z:I " + std::string(kRow));
}

TEST_F(Shapes, ParametersOfAnotherTypeAreAnError) {
  auto& a = told_client("INSERT $1");
  EXPECT_EQ(ask(a, run("s")), "2 C:INSERT Z:I");
  change_types();
  avoid_ = &servers_[0];
  EXPECT_EQ(ask(a, run("s")), "E:0A000 Z:I");
  EXPECT_EQ(servers_[1].pg.log().size(), 0U);
  EXPECT_EQ(ask(a, join(close('S', "s"), parse("s", "INSERT $1"), describe('S', "s"), run("s"))),
            "3 1 t n 2 C:INSERT Z:I");
}

TEST_F(Shapes, DescribeOfAPortalIsAboutItsOwnStatement) {
  auto& a = client();
  auto& b = client();
  EXPECT_EQ(ask(b, join(parse("q", "SELECT a"), describe('S', "q"), sync())), "1 t T Z:I");
  EXPECT_EQ(ask(a, join(parse("s1", "INSERT 1"), parse("s2", "SELECT a"), bind("s1", "p1"), bind("s2", "p2"),
                        describe('P', "p1"), execute("p1"), execute("p2"), sync())),
            "1 1 2 2 n C:INSERT D:SELECT a,v|parsed in UTC| C:SELECT 1 Z:I");
  EXPECT_EQ(ask(b, run("q")), kRow);
  EXPECT_EQ(ask(a, join(bind("s2"), describe('P', ""), execute(), sync())), "2 T " + std::string(kRow + 2));
}

TEST_F(Shapes, TheUnnamedStatementToo) {
  auto& a = client();
  auto& b = client();
  EXPECT_EQ(ask(a, join(parse("", "SELECT a"), describe('S', ""), sync())), "1 t T Z:I");
  ask(b, join(parse("", "SELECT b"), sync()));
  EXPECT_EQ(ask(a, run("")), kRow) << "nothing has changed";
  ask(b, join(parse("", "SELECT b"), sync()));
  change_types();
  EXPECT_EQ(ask(a, run("")), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, run("")), "E:0A000 Z:I");
  EXPECT_EQ(ask(a, join(describe('S', ""), sync())), "t T Z:I");
  EXPECT_EQ(ask(a, run("")), kRow);
  change_types();
  EXPECT_EQ(ask(a, join(parse("", "SELECT a"), run(""))), "1 " + std::string(kRow));
}

}  // namespace
}  // namespace sidepool::test
