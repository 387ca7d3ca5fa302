// COPY, and messages of it where there is none.
#include "tests/support/splits.h"
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

class Copy : public SessionTest {
 protected:
  static Buffer data() { return raw('d', "a\n"); }
  static Buffer done() { return raw('c', ""); }
  static Buffer fails() { return raw('f', std::string_view("no\0", 3)); }
  static Buffer extended() {
    return join(parse("", "COPY t FROM STDIN"), bind("", "", ""), execute(), sync());
  }
};

TEST_F(Copy, InTheSimpleProtocol) {
  auto& a = client();
  EXPECT_EQ(ask(a, "COPY t FROM STDIN"), "G");
  EXPECT_EQ(ask(a, join(data(), data())), "");
  EXPECT_EQ(ask(a, done()), "C:COPY 4 Z:I");
  EXPECT_EQ(a.server, nullptr);
  EXPECT_EQ(ask(a, "COPY t FROM STDIN"), "G");
  EXPECT_EQ(ask(a, join(data(), fails())), "E:57014 Z:I");
  EXPECT_EQ(a.server, nullptr);
}

TEST_F(Copy, InTheExtendedProtocol) {
  auto& a = client();
  EXPECT_EQ(ask(a, extended()), "1 2 G");
  EXPECT_EQ(ask(a, join(data(), done(), sync())), "C:COPY 2 Z:I");
  EXPECT_EQ(ask(a, extended()), "1 2 G");
  EXPECT_EQ(ask(a, join(data(), fails(), sync())), "E:57014 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Copy, LateMessagesNeedNoServer) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(data(), done(), fails(), flush())), "");
  EXPECT_TRUE(servers_.empty());
  EXPECT_EQ(ask(a, join(data(), query("SELECT a"), done(), query("SELECT b"))),
            "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Copy, AnErrorBeforeItDropsTheData) {
  auto& a = client();
  EXPECT_EQ(ask(a, join(query("COPY t error"), data(), done())), "E:22012 Z:I");
  EXPECT_EQ(ask(a, join(parse("", "COPY t error"), bind("", "", ""), execute(), data(), done(), sync())),
            "1 2 E:22012 Z:I");
  EXPECT_EQ(ask(a, "SELECT a"), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
}

// Whether the Sync is answered depends on whether the data has failed before the server reads it.
TEST_F(Copy, DataOfALaterOneThatFailsBeforeASync) {
  const auto first = join(query("COPY u FROM STDIN"), done(), query("COPY t FROM STDIN"));
  const auto second = join(raw('d', "bad line\n"), sync());
  for (const bool apart : {false, true}) {
    auto& a = client();
    if (apart) a.send(first);
    a.send(apart ? second : join(first, second));
    settle();
    const auto words = words_of(a.take());
    EXPECT_TRUE(words == "G C:COPY 0 Z:I G E:22P04 Z:I Z:I" || words == "G C:COPY 0 Z:I G E:22P04 E:08006!")
        << words;
  }
}

TEST_F(Copy, LeavingInTheMiddleCostsNoServer) {
  auto& a = client();
  ask(a, "COPY t FROM STDIN");
  a.send(data());
  a.leave();
  settle();
  while (a.cancels > 0) a.cancel_done(false);
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_FALSE(servers_[0].closed);
  auto& b = client();
  EXPECT_EQ(ask(b, "SELECT b"), "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I");
}

TEST_F(Copy, LeavingInTheMiddleOfAnExtendedOneCostsTheServer) {
  auto& a = client();
  ask(a, extended());
  a.send(data());
  a.leave();
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(servers_[0].closed);
}

TEST_F(Copy, NoSplitMatters) {
  const auto bytes = join(extended(), data(), done(), sync(), query("SELECT a"));
  for_every_split(
      bytes,
      [&](const Pieces& pieces) {
        auto& a = client();
        for (const auto p : pieces) {
          a.send(p);
          settle();
        }
        ASSERT_EQ(words_of(a.take()), "1 2 G C:COPY 2 Z:I T D:SELECT a|parsed in UTC| C:SELECT 1 Z:I");
        a.leave();
        settle();
      },
      0);
}

}  // namespace
}  // namespace sidepool::test
