// tests/unit/worker/remembered_test.cpp -- what is known of a pool's logins, and who is let in on it.
#include "src/worker/remembered.h"

#include <gtest/gtest.h>

#include "protocol/password.h"

namespace sidepool::worker {
namespace {

using protocol::Buffer;
using protocol::Bytes;
using protocol::LoginMachine;
using std::chrono::minutes;
using std::chrono::seconds;
using Check = Remembered::Check;

constexpr Duration kTtl = minutes(10);

void message(Buffer& out, char type, const std::string& body) {
  out.push_back(static_cast<std::uint8_t>(type));
  const auto size = static_cast<std::uint32_t>(body.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(size >> shift));
  out.insert(out.end(), body.begin(), body.end());
}

void feed(LoginMachine& login, char type, const std::string& body) {
  Buffer bytes;
  message(bytes, type, body);
  Bytes in(bytes);
  login.feed(in);
}

std::string code(char n, const std::string& rest = {}) { return std::string(3, '\0') + n + rest; }

LoginMachine fresh() {
  protocol::LoginParameters p;
  p.startup = {{"user", "u"}, {"database", "d"}};
  p.nonce = "abcdefghijklmnop";
  LoginMachine login(std::move(p));
  login.start();
  return login;
}

// A login that the database has asked in this way: 0 not at all, 3 cleartext, 5 md5.
LoginMachine asked(char how) {
  auto login = fresh();
  if (how != 0) feed(login, 'R', code(how, how == 5 ? "salt" : ""));
  return login;
}

LoginMachine done(char how, const std::string& password) {
  auto login = asked(how);
  if (how != 0) {
    EXPECT_TRUE(login.answer_password(password));
  }
  feed(login, 'R', code(0));
  feed(login, 'Z', "I");
  EXPECT_EQ(login.state(), LoginMachine::State::Ready) << login.failure_text();
  return login;
}

// Of a machine that has been up for a short time: the clock begins at its start.
constexpr Time kJustStarted{seconds(5)};

TEST(Remembered, NothingIsKnownOfANewPool) {
  const Remembered r;
  EXPECT_EQ(r.check(kJustStarted, kTtl), Check::FreshLogin);
  EXPECT_EQ(r.check(kJustStarted, Duration::max()), Check::FreshLogin);
  EXPECT_FALSE(r.knows("", kJustStarted, kTtl));
  auto login = asked(3);
  EXPECT_FALSE(r.answer(login, true));
  EXPECT_EQ(login.state(), LoginMachine::State::NeedPassword);
}

TEST(Remembered, WhereTheDatabaseAsksNobody) {
  Remembered r;
  r.learn(done(0, ""), "u", "", kJustStarted);
  EXPECT_EQ(r.check(kJustStarted + kTtl - seconds(1), kTtl), Check::Admit);
  EXPECT_EQ(r.check(kJustStarted + kTtl, kTtl), Check::FreshLogin);
  EXPECT_FALSE(r.knows("", kJustStarted, kTtl));
  r.distrust();
  EXPECT_EQ(r.check(kJustStarted, kTtl), Check::FreshLogin) << "the database has asked since";
}

TEST(Remembered, APasswordIsKnownForItsTimeOnly) {
  for (const char how : {3, 5}) {
    Remembered r;
    r.learn(done(how, "secret"), "u", "secret", kJustStarted);
    EXPECT_EQ(r.check(kJustStarted, kTtl), Check::AskPassword);
    EXPECT_TRUE(r.knows("secret", kJustStarted + kTtl - seconds(1), kTtl));
    EXPECT_FALSE(r.knows("secret", kJustStarted + kTtl, kTtl));
    for (const char* wrong : {"", "secre", "secret ", "Secret"})
      EXPECT_FALSE(r.knows(wrong, kJustStarted, kTtl));
    r.distrust();
    EXPECT_FALSE(r.knows("secret", kJustStarted, kTtl))
        << "what is kept has been refused, so only the database can tell (the same password has a new salt)";
    r.learn(done(how, "new"), "u", "new", kJustStarted + seconds(1));
    EXPECT_FALSE(r.knows("secret", kJustStarted + seconds(1), kTtl));
    EXPECT_TRUE(r.knows("new", kJustStarted + seconds(1), kTtl));
  }
}

TEST(Remembered, AStalePasswordOnlySaysWhoIsWorthTrying) {
  Remembered r;
  EXPECT_FALSE(r.resembles(""));
  r.learn(done(3, "secret"), "u", "secret", kJustStarted);
  const auto later = kJustStarted + kTtl;
  EXPECT_FALSE(r.knows("secret", later, kTtl));
  EXPECT_TRUE(r.resembles("secret"));
  EXPECT_FALSE(r.resembles("wrong"));
  r.distrust();
  EXPECT_TRUE(r.resembles("secret"));
  EXPECT_FALSE(r.knows("secret", kJustStarted, kTtl));
  r.refused("wrong");
  EXPECT_TRUE(r.resembles("secret")) << "of others nothing is learned";
  r.refused("secret");
  EXPECT_FALSE(r.resembles("secret"));
  r.learn(done(3, "secret"), "u", "secret", kJustStarted);
  EXPECT_TRUE(r.knows("secret", kJustStarted, kTtl));
  r.refused("secret");
  EXPECT_FALSE(r.knows("secret", kJustStarted, kTtl));
}

TEST(Remembered, OnlyWhatTheMethodNeedsIsKept) {
  Remembered md5, clear;
  md5.learn(done(5, "secret"), "u", "secret", kJustStarted);
  clear.learn(done(3, "secret"), "u", "secret", kJustStarted);
  auto wants_md5 = asked(5);
  EXPECT_TRUE(md5.answer(wants_md5, false));
  auto wants_clear = asked(3);
  EXPECT_FALSE(md5.answer(wants_clear, true))
      << "a hash is no password: a server that talks us down gets nothing";
  EXPECT_FALSE(clear.answer(wants_clear, false)) << "not over a connection that nobody has verified";
  EXPECT_EQ(wants_clear.state(), LoginMachine::State::NeedPassword);
  EXPECT_TRUE(clear.answer(wants_clear, true));
}

TEST(Remembered, ALoginWithoutPasswordForgetsThePassword) {
  Remembered r;
  r.learn(done(3, "secret"), "u", "secret", kJustStarted);
  r.learn(done(0, ""), "u", "", kJustStarted);
  EXPECT_FALSE(r.knows("secret", kJustStarted, kTtl));
  auto wants_clear = asked(3);
  EXPECT_FALSE(r.answer(wants_clear, true));
}

}  // namespace
}  // namespace sidepool::worker
