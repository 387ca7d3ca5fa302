// Clients that leave and servers that are lost, in each phase; cancels; the other modes; notifications.
#include "tests/unit/pool/session_fixture.h"

namespace sidepool::test {
namespace {

constexpr const char* kRowB = "T D:SELECT b|parsed in UTC| C:SELECT 1 Z:I";

class End : public SessionTest {
 protected:
  void gone(SessionRig& c) {
    c.leave();
    settle();
    while (c.cancels > 0) c.cancel_done(false);
    settle();
    EXPECT_TRUE(c.closed);
    EXPECT_EQ(c.server, nullptr);
  }
  bool ran(std::string_view text) {
    for (const auto& t : servers_[0].pg.log()) {
      if (t == text) return true;
    }
    return false;
  }
};

TEST_F(End, LeavingInAnIdleTransactionIsOneRollback) {
  auto& a = client();
  ask(a, "BEGIN");
  gone(a);
  EXPECT_TRUE(ran("ROLLBACK"));
  EXPECT_FALSE(servers_[0].closed);
  auto& b = client();
  EXPECT_EQ(ask(b, "SELECT b"), kRowB);
  EXPECT_EQ(servers_.size(), 1U);
}

TEST_F(End, LeavingWhileARequestRuns) {
  auto& a = client();
  a.send(query("SELECT a"));
  a.grant(free_server());
  a.leave();
  EXPECT_EQ(a.session.phase(), pool::Phase::Draining);
  EXPECT_EQ(a.cancels, 0) << "outside a block it runs to its end";
  settle();
  while (a.cancels > 0) a.cancel_done(false);  // it sent a row
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_FALSE(servers_[0].closed);
  auto& b = client();
  ask(b, "BEGIN");
  b.send(query("SELECT x"));
  b.leave();
  EXPECT_EQ(b.cancels, 1) << "inside a block it is cancelled at once";
  b.cancel_done(false);
  settle();
  EXPECT_TRUE(b.closed);
  EXPECT_TRUE(ran("ROLLBACK"));
  EXPECT_FALSE(servers_[0].closed);
}

TEST_F(End, LeavingBehindACommitDoesNotCancelIt) {
  auto& a = client();
  ask(a, "BEGIN");
  a.send(query("COMMIT"));
  a.leave();
  EXPECT_EQ(a.cancels, 0);
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(ran("COMMIT"));
}

TEST_F(End, LeavingWhileWaitingOrIdle) {
  grants_ = false;
  auto& a = client();
  a.send(query("SELECT a"));
  EXPECT_TRUE(a.waiting);
  a.leave();
  EXPECT_TRUE(a.closed);
  auto& b = client();
  b.leave();
  EXPECT_TRUE(b.closed);
}

TEST_F(End, TerminateBehindRequestsIsReadInItsTurn) {
  auto& a = client();
  a.send(join(query("SELECT a"), raw('X', "")));
  settle();
  while (a.cancels > 0) a.cancel_done(false);
  settle();
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(ran("SELECT a"));
}

TEST_F(End, ALostServerIsFatalOnlyWhereSomethingIsLost) {
  auto& a = client();
  ask(a, "BEGIN");
  a.server_dies();
  EXPECT_EQ(words_of(a.take()), "E:08006!");
  EXPECT_TRUE(a.closed);
  auto& b = client();
  b.send(query("SELECT b"));
  b.grant(free_server());
  b.server_dies();
  EXPECT_EQ(words_of(b.take()), "E:08006!");
  auto& c = client();
  ask(c, "LISTEN l");
  c.server_dies();
  EXPECT_EQ(words_of(c.take()), "E:08006!") << "what pins is lost";
}

// What the client has of it could only be followed by the rest: an error would be read as its data.
TEST_F(End, AServerThatIsLostInsideAMessageGetsNoLastWords) {
  for (const std::size_t most : {std::size_t{30}, std::size_t{3}}) {
    auto& a = client();
    ask(a, "BEGIN");
    a.send(query("SELECT a text that is long enough to be cut in the row"));
    const auto whole = a.server->unread;
    const auto row = static_cast<std::size_t>(std::find(whole.begin(), whole.end(), 'D') - whole.begin());
    a.deliver(row + most);
    const auto had = a.take();
    a.server_dies();
    EXPECT_TRUE(a.closed);
    if (most > 5) {
      EXPECT_EQ(a.take(), Buffer{}) << "behind " << had.size() << " bytes";
    } else {
      EXPECT_EQ(words_of(a.take()), "E:08006!") << "the header had not passed yet";
    }
  }
}

TEST_F(End, AServerThatIsLostBeforeAnythingWasWrittenIsReplaced) {
  auto& a = client({{"TimeZone", "Venus"}});
  auto& b = client();
  ask(b, "SELECT b");
  a.send(query("SELECT a"));
  a.grant(free_server());  // clean-up and replay are under way
  a.server_dies();
  EXPECT_FALSE(a.closed);
  settle();
  EXPECT_EQ(words_of(a.take()), "T D:SELECT a|parsed in Venus|TimeZone=Venus; C:SELECT 1 Z:I");
}

TEST_F(End, ACancelKeepsTheServerUntilItHasArrived) {
  auto& a = client();
  a.send(query("SELECT b"));
  a.grant(free_server());
  a.cancel_begun();
  settle();
  EXPECT_EQ(words_of(a.take()), kRowB);
  ASSERT_NE(a.server, nullptr);
  a.cancel_done(false);
  EXPECT_EQ(a.server, nullptr);
  EXPECT_FALSE(servers_[0].closed);
  a.send(query("SELECT b"));
  a.grant(free_server());
  a.cancel_begun();
  settle();
  a.cancel_done(true);
  EXPECT_TRUE(servers_[0].closed) << "nobody knows when it will hit";
  EXPECT_FALSE(a.closed);
}

TEST_F(End, ACancelOnItsWayMeetsNothingOfOurOwn) {
  auto& a = client({{"search_path", "x"}});
  ask(a, "CREATE TEMP TABLE t");
  a.send(query("RESET search_path"));
  a.cancel_begun();
  settle();
  EXPECT_EQ(words_of(a.take()), "C:RESET Z:I");
  EXPECT_FALSE(a.session.setting_up()) << "the startup value is not put back yet";
  a.send(query("SELECT a"));
  settle();
  EXPECT_EQ(words_of(a.take()), "") << "nor does anything run without it";
  a.cancel_done(false);
  EXPECT_TRUE(a.session.setting_up());
  settle();
  EXPECT_EQ(words_of(a.take()), "T D:SELECT a|parsed in UTC|search_path=x;temp t; C:SELECT 1 Z:I");

  auto& b = client();
  ask(b, join(parse("s1", "SELECT a"), sync()));
  ask(b, "BEGIN");
  b.cancel_begun();
  b.send(query("EXECUTE s1"));
  settle();
  EXPECT_EQ(words_of(b.take()), "") << "nor are names changed";
  b.cancel_done(false);
  settle();
  EXPECT_EQ(words_of(b.take()), "T D:SELECT a|parsed in UTC| C:SELECT 1 Z:T");
}

TEST_F(End, ACancelThatIsOverBeforeTheAnswer) {
  auto& a = client();
  a.send(query("SELECT b"));
  a.grant(free_server());
  a.cancel_begun();
  a.cancel_done(true);
  settle();
  EXPECT_EQ(words_of(a.take()), kRowB);
  EXPECT_TRUE(servers_[0].closed);
}

TEST_F(End, StatementModeHasNoBlocks) {
  options_.mode = pool::Mode::Statement;
  auto& a = client();
  EXPECT_EQ(ask(a, "SELECT b"), kRowB);
  EXPECT_EQ(ask(a, "BEGIN"), "C:BEGIN Z:T E:0A000!");
  EXPECT_TRUE(a.closed);
  EXPECT_TRUE(servers_[0].closed);
}

TEST_F(End, SessionModeKeepsTheServerAndCleansItAfterwards) {
  options_.mode = pool::Mode::Session;
  auto& a = client();
  ask(a, "CREATE TEMP TABLE t");
  EXPECT_EQ(ask(a, "SELECT b"), "T D:SELECT b|parsed in UTC|temp t; C:SELECT 1 Z:I");
  EXPECT_NE(a.server, nullptr);
  EXPECT_FALSE(a.session.pinned());
  gone(a);
  EXPECT_FALSE(servers_[0].closed);
  EXPECT_TRUE(servers_[0].pg.clean());
}

TEST_F(End, NotificationsReachWhoListensWithTheClientsOwnPid) {
  auto& a = client();
  a.session.set_client_pid(777);
  ask(a, "LISTEN l");
  servers_[0].pg.notify("l");
  const auto out = servers_[0].pg.take_output();
  servers_[0].unread.insert(servers_[0].unread.end(), out.begin(), out.end());
  settle();
  const auto told = a.take();
  ASSERT_GT(told.size(), 9U);
  EXPECT_EQ(told[0], 'A');
  EXPECT_EQ(protocol::load_be32(told.data() + 5), 777U);
}

TEST_F(End, ANotificationForNobodyIsNotForwarded) {
  auto& a = client();
  a.send(query("SELECT b"));
  a.grant(free_server());
  servers_[0].pg.notify("l");
  const auto out = servers_[0].pg.take_output();
  servers_[0].unread.insert(servers_[0].unread.begin(), out.begin(), out.end());
  settle();
  EXPECT_EQ(words_of(a.take()), kRowB);
  auto& b = client();
  ask(b, "SELECT b");
  EXPECT_EQ(b.session.take_events().resets, 1U);
  EXPECT_NE(std::find(servers_[0].pg.log().begin(), servers_[0].pg.log().end(), "DISCARD ALL"),
            servers_[0].pg.log().end());
}

// PQ_SMALL_MESSAGE_LIMIT: a message that has to be whole before it is looked at fits into what a driver
// keeps.
TEST_F(End, ACloseIsAnsweredOrTooLong) {
  auto& a = client();
  const auto longest = raw('C', "S" + std::string(9994, 'n') + std::string(1, '\0'));
  for (std::size_t at = 0; at < longest.size(); at += 1000) {
    a.send(Bytes(longest).subspan(at, std::min<std::size_t>(1000, longest.size() - at)));
    EXPECT_LE(a.held.size(), 10'001U);
  }
  EXPECT_EQ(words_of(a.take()), "3");
  EXPECT_TRUE(a.held.empty());
  const auto longer = raw('C', "S" + std::string(9995, 'n') + std::string(1, '\0'));
  a.send(Bytes(longer).first(5));
  EXPECT_EQ(words_of(a.take()), "E:08P01!") << "from its header";
}

}  // namespace
}  // namespace sidepool::test
