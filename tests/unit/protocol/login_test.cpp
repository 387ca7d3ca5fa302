// Our login to a server: transcripts at every split, every answer, and servers that misbehave.
#include "protocol/login.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "protocol/encode.h"
#include "protocol/password.h"
#include "tests/support/splits.h"

namespace sidepool::protocol {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;
using State = LoginMachine::State;

LoginMachine machine(std::uint32_t protocol = kProtocol32) {
  LoginMachine m({{{"user", "alice"}, {"database", "db"}, {"TimeZone", "UTC"}}, protocol, "client"});
  m.start();
  m.wrote(m.output().size());
  return m;
}

void give(LoginMachine& m, Bytes in) { m.feed(in); }

Buffer welcome_bytes() {
  Buffer b;
  authentication_ok(b);
  parameter_status(b, "TimeZone", "UTC");
  parameter_status(b, "server_version", "15.1");
  notice_response(b, {"NOTICE", "00000", "hello"});
  parameter_status(b, "TimeZone", "Europe/Prague");
  backend_key_data(b, 77, as_bytes("kkkk"));
  ready_for_query(b, TxStatus::Idle);
  return b;
}

TEST(Login, StartupMessageFirst) {
  LoginMachine m({{{"user", "alice"}, {"database", "db"}}, kProtocol32, "client"});
  m.start();
  EXPECT_EQ(as_text(m.output()), "\0\0\0\x20\0\3\0\2user\0alice\0database\0db\0\0"sv);
  m.wrote(5);
  EXPECT_EQ(m.output().size(), 27U);
  m.wrote(27);
  EXPECT_TRUE(m.output().empty());
  EXPECT_EQ(m.server_bytes_seen(), 0U);
}

TEST(Login, WithoutPasswordAtEverySplit) {
  Buffer all;
  negotiate_protocol_version(all, 0, {});
  const auto w = welcome_bytes();
  all.insert(all.end(), w.begin(), w.end());
  const std::string next = "Sbytes of the next user";
  all.insert(all.end(), next.begin(), next.end());
  test::for_every_split(all, [&](const test::Pieces& pieces) {
    auto m = machine();
    std::size_t left = 0;
    for (Bytes p : pieces) {
      m.feed(p);
      left += p.size();
    }
    ASSERT_EQ(m.state(), State::Ready) << m.failure_text();
    EXPECT_EQ(left, next.size()) << "nothing behind ReadyForQuery is taken";
    EXPECT_EQ(m.auth_method(), AuthMethod::None);
    EXPECT_EQ(m.scram_keys(), nullptr);
    const std::vector<OwnedParameter> expected{{"TimeZone", "Europe/Prague"}, {"server_version", "15.1"}};
    EXPECT_EQ(m.parameters(), expected);
    EXPECT_EQ(m.backend_pid(), 77U);
    EXPECT_EQ(as_text(m.cancel_key()), "kkkk");
    EXPECT_EQ(m.protocol(), kProtocol30);
    EXPECT_EQ(m.server_bytes_seen(), all.size() - next.size());
  });
}

TEST(Login, Protocol32KeepsLongKeys) {
  auto m = machine();
  Buffer b;
  authentication_ok(b);
  backend_key_data(b, 1, as_bytes(std::string(256, 'k')));
  ready_for_query(b, TxStatus::Idle);
  give(m, b);
  EXPECT_EQ(m.state(), State::Ready);
  EXPECT_EQ(m.protocol(), kProtocol32);
  EXPECT_EQ(m.cancel_key().size(), 256U);
}

TEST(Login, Cleartext) {
  auto m = machine();
  Buffer b;
  authentication_cleartext(b);
  const auto asked = b.size();
  const auto w = welcome_bytes();
  b.insert(b.end(), w.begin(), w.end());
  Bytes in = b;
  m.feed(in);
  EXPECT_EQ(in.size(), b.size() - asked) << "nothing is consumed while a password is due";
  ASSERT_EQ(m.state(), State::NeedPassword);
  EXPECT_EQ(m.auth_method(), AuthMethod::Cleartext);
  EXPECT_FALSE(m.answer_md5_hash("md5"));
  EXPECT_FALSE(m.answer_scram_keys({}));
  EXPECT_TRUE(m.answer_password("secret"));
  EXPECT_EQ(as_text(m.output()), "p\0\0\0\x0bsecret\0"sv);
  EXPECT_FALSE(m.answer_password("again"));
  m.feed(in);
  EXPECT_EQ(m.state(), State::Ready);
  EXPECT_EQ(m.auth_method(), AuthMethod::Cleartext);
}

TEST(Login, Md5FromPasswordAndFromHash) {
  const std::array<std::uint8_t, 4> salt{1, 2, 3, 250};
  Buffer ask;
  authentication_md5(ask, salt);
  const auto hash = md5_hash("secret", "alice");
  const auto expected = md5_response(hash->view(), salt);
  for (const bool stored : {false, true}) {
    auto m = machine();
    give(m, ask);
    ASSERT_EQ(m.state(), State::NeedPassword);
    EXPECT_EQ(m.auth_method(), AuthMethod::Md5);
    EXPECT_FALSE(m.answer_md5_hash("secret"));
    EXPECT_TRUE(stored ? m.answer_md5_hash(hash->view()) : m.answer_password("secret"));
    EXPECT_EQ(as_text(m.output()), "p\0\0\0\x28"s + std::string(expected->view()) + "\0"s);
    give(m, welcome_bytes());
    EXPECT_EQ(m.state(), State::Ready);
  }
}

// A server with one verifier, enough to log in to by SCRAM.
struct ScramPeer {
  ScramServer scram{*make_verifier(*derive("pencil", as_bytes("saltsaltsaltsalt"), 4096)), "server"};

  Buffer ask() {
    Buffer b;
    const std::array<std::string_view, 2> mechanisms{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"};
    authentication_sasl(b, mechanisms);
    return b;
  }
  Buffer challenge(Bytes initial) {  // header, mechanism, length
    Buffer b;
    const auto c = scram.challenge(initial.subspan(5 + kScramMechanism.size() + 1 + 4));
    if (c) authentication_sasl_continue(b, as_bytes(*c));
    return b;
  }
  Buffer finish(Bytes response) {
    Buffer b;
    if (scram.finish(response.subspan(5)) != ScramServer::Result::Ok) {
      error_response(b, {"FATAL", "28P01", "password authentication failed for user \"alice\""});
      return b;
    }
    authentication_sasl_final(b, as_bytes(scram.final_message()));
    const auto w = welcome_bytes();
    b.insert(b.end(), w.begin(), w.end());
    return b;
  }
};

Buffer take(LoginMachine& m) {
  Buffer b(m.output().begin(), m.output().end());
  m.wrote(b.size());
  return b;
}

void up_to_password(LoginMachine& m, ScramPeer& peer) {
  give(m, peer.ask());
  ASSERT_EQ(m.state(), State::Running);
  give(m, peer.challenge(take(m)));
  ASSERT_EQ(m.state(), State::NeedPassword);
  ASSERT_EQ(m.auth_method(), AuthMethod::Scram);
}

TEST(Login, ScramFromPasswordThenFromKeptKeys) {
  auto m = machine();
  ScramPeer peer;
  up_to_password(m, peer);
  EXPECT_EQ(as_text(m.challenge().salt), "saltsaltsaltsalt");
  EXPECT_EQ(m.challenge().iterations, 4096U);
  EXPECT_TRUE(m.answer_password("pencil"));
  give(m, peer.finish(take(m)));
  ASSERT_EQ(m.state(), State::Ready) << m.failure_text();
  ASSERT_NE(m.scram_keys(), nullptr);

  auto again = machine();
  ScramPeer same;
  up_to_password(again, same);
  ScramKeys other = *m.scram_keys();
  other.iterations = 4095;
  EXPECT_FALSE(again.answer_scram_keys(other)) << "keys of another count do not fit";
  other = *m.scram_keys();
  other.salt.push_back('x');
  EXPECT_FALSE(again.answer_scram_keys(other));
  EXPECT_TRUE(again.answer_scram_keys(*m.scram_keys()));
  give(again, same.finish(take(again)));
  EXPECT_EQ(again.state(), State::Ready);
  EXPECT_EQ(again.scram_keys()->client_key, m.scram_keys()->client_key);
}

TEST(Login, WrongPasswordRelaysTheServersError) {
  auto m = machine();
  ScramPeer peer;
  up_to_password(m, peer);
  EXPECT_TRUE(m.answer_password("wrong"));
  const auto refused = peer.finish(take(m));
  give(m, refused);
  EXPECT_EQ(m.state(), State::Failed);
  EXPECT_EQ(m.failure(), LoginFailure::ServerError);
  EXPECT_EQ(m.error_code(), "28P01");
  EXPECT_EQ(m.error_severity(), "FATAL");
  EXPECT_EQ(m.failure_text(), "password authentication failed for user \"alice\"");
  EXPECT_EQ(as_text(m.error_body()), as_text(Bytes{refused}.subspan(5)));
  EXPECT_EQ(m.scram_keys(), nullptr);
}

TEST(Login, ServersThatDoNotProveThemselves) {
  const auto final_of = [](std::string_view data) {
    Buffer b;
    authentication_sasl_final(b, as_bytes(data));
    return b;
  };
  const Buffer bad[] = {welcome_bytes(), final_of("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
                        final_of(""), final_of("e=invalid-proof")};
  for (const auto& b : bad) {
    auto m = machine();
    ScramPeer peer;
    up_to_password(m, peer);
    EXPECT_TRUE(m.answer_password("pencil"));
    give(m, b);
    EXPECT_EQ(m.state(), State::Failed);
    EXPECT_EQ(m.failure(), LoginFailure::BadServerSignature);
    EXPECT_EQ(m.scram_keys(), nullptr);
  }
  // At once after the offer.
  auto m = machine();
  ScramPeer peer;
  give(m, peer.ask());
  give(m, welcome_bytes());
  EXPECT_EQ(m.failure(), LoginFailure::BadServerSignature);
}

TEST(Login, NoDowngradeInMidExchange) {
  for (const bool after_challenge : {false, true}) {
    auto m = machine();
    ScramPeer peer;
    if (after_challenge) {
      up_to_password(m, peer);
      EXPECT_TRUE(m.answer_password("pencil"));
    } else {
      give(m, peer.ask());
    }
    Buffer b;
    authentication_cleartext(b);
    give(m, b);
    EXPECT_EQ(m.failure(), LoginFailure::Protocol);
  }
}

TEST(Login, RefusePassword) {
  auto m = machine();
  m.refuse_password();
  EXPECT_EQ(m.state(), State::Running) << "nothing was asked";
  Buffer b;
  authentication_cleartext(b);
  give(m, b);
  m.refuse_password();
  EXPECT_EQ(m.failure(), LoginFailure::NoPassword);
  EXPECT_FALSE(m.answer_password("x"));
}

TEST(Login, IterationLimitOfTheDriver) {
  LoginMachine m({{{"user", "alice"}}, kProtocol32, "client", 1000});
  ScramPeer peer;
  give(m, peer.ask());
  give(m, peer.challenge(take(m)));
  EXPECT_EQ(m.failure(), LoginFailure::Protocol);
}

std::string authentication(std::uint32_t code, std::string_view rest = {}) {
  Buffer b{'R', 0, 0, 0, 0, 0, 0, 0, 0};
  store_be32(b.data() + 1, static_cast<std::uint32_t>(8 + rest.size()));
  store_be32(b.data() + 5, code);
  return std::string(as_text(b)).append(rest);
}

TEST(Login, UnsupportedMethodsAreNamed) {
  struct Case {
    std::string bytes, named;
  };
  const Case cases[] = {{authentication(7), "GSSAPI"},
                        {authentication(9), "SSPI"},
                        {authentication(2), "Kerberos"},
                        {authentication(99), "99"},
                        {authentication(10, "SCRAM-SHA-256-PLUS\0\0"sv), "SCRAM-SHA-256-PLUS"},
                        {authentication(10, "OAUTHBEARER\0\0"sv), "OAUTHBEARER"},
                        {authentication(10, "\0"sv), "SASL"}};
  for (const auto& c : cases) {
    auto m = machine();
    give(m, as_bytes(c.bytes));
    EXPECT_EQ(m.failure(), LoginFailure::UnsupportedAuth) << c.named;
    EXPECT_NE(m.failure_text().find(c.named), std::string::npos) << m.failure_text();
  }
}

TEST(Login, MalformedServers) {
  const auto with = [](auto&&... write) {
    Buffer b;
    (write(b), ...);
    return std::string(as_text(b));
  };
  const std::string bad[] = {
      authentication(3, "x"),
      authentication(5, "abc"),
      authentication(5, "abcde"),
      authentication(0, "x"),
      authentication(10, "SCRAM-SHA-256"),
      authentication(10, "SCRAM-SHA-256\0"sv),
      authentication(11, "r=x"),
      authentication(12, "v=x"),
      "R\0\0\0\6\0\0"s,
      "R\0\0\0\3"s,
      "R\0\1\0\5"s,
      "R\xff\xff\xff\xff"s,
      "Z\0\0\0\5I"s,                                         // ready without authentication
      with([](auto& b) { parameter_status(b, "a", "b"); }),  // before authentication
      with([](auto& b) { backend_key_data(b, 1, as_bytes("abcd")); }),
      "T\0\0\0\4"s,
      "\0\0\0\0\4"s,
      with(authentication_ok, [](auto& b) { ready_for_query(b, TxStatus::InTransaction); }),
      with(authentication_ok, [](auto& b) { backend_key_data(b, 1, as_bytes("abc")); }),
      with(authentication_ok, authentication_ok),
      with(authentication_ok, authentication_cleartext),
      with(authentication_ok) + "S\0\0\0\7a\0b"s,
      with(authentication_ok) + "D\0\0\0\4"s,
      "E\0\0\0\4"s,
      "E\0\0\0\6SX"s,
      "v\0\0\0\xc\0\3\0\1\0\0\0\0"s,
      "v\0\0\0\xc\0\3\0\3\0\0\0\0"s,
      "v\0\0\0\xc\0\4\0\0\0\0\0\0"s,
      "v\0\0\0\xc\0\3\0\0\xff\xff\xff\xff"s,
      "v\0\0\0\x8\0\3\0\0"s,
      "v\0\0\0\xc\0\3\0\0\0\0\0\0v\0\0\0\xc\0\3\0\0\0\0\0\0"s};
  for (const auto& b : bad) {
    auto m = machine();
    give(m, as_bytes(b));
    EXPECT_EQ(m.state(), State::Failed) << testing::PrintToString(b);
    EXPECT_EQ(m.failure(), LoginFailure::Protocol) << testing::PrintToString(b);
    EXPECT_FALSE(m.failure_text().empty());
  }
  auto old = machine(kProtocol30);
  give(old, as_bytes("v\0\0\0\xc\0\3\0\2\0\0\0\0"sv));
  EXPECT_EQ(old.failure(), LoginFailure::Protocol) << "a server cannot ask for more than we did";
}

TEST(Login, MinorVersionAloneIsUnderstood) {
  auto m = machine();
  give(m, as_bytes("v\0\0\0\xc\0\0\0\0\0\0\0\0"sv));
  EXPECT_EQ(m.state(), State::Running);
  EXPECT_EQ(m.protocol(), kProtocol30);
}

TEST(Login, ErrorsWithoutFieldsAndLongErrors) {  // CVE-2026-6666
  auto m = machine();
  give(m, as_bytes("E\0\0\0\5\0"sv));
  EXPECT_EQ(m.failure(), LoginFailure::ServerError);
  EXPECT_EQ(m.error_code(), "");
  EXPECT_EQ(as_text(m.error_body()), "\0"sv);

  auto n = machine();
  Buffer b;
  error_response(b, {"FATAL", "XX000", std::string(20000, 'm')});
  give(n, b);
  EXPECT_EQ(n.failure(), LoginFailure::ServerError);
  EXPECT_EQ(n.error_code(), "XX000");
  EXPECT_EQ(n.failure_text().size(), 1024U);
  EXPECT_TRUE(n.error_body().empty()) << "too long to keep";
}

TEST(Login, EndlessTalkIsCutOff) {
  auto m = machine();
  Buffer notice;
  notice_response(notice, {"NOTICE", "00000", std::string(60000, 'n')});
  for (int i = 0; i < 100 && m.state() == State::Running; ++i) give(m, notice);
  EXPECT_EQ(m.failure(), LoginFailure::Protocol);
  EXPECT_LT(m.server_bytes_seen(), LoginMachine::kMaxTotal + 2 * LoginMachine::kMaxBody);

  auto n = machine();
  Buffer b;
  authentication_ok(b);
  for (int i = 0; i < 1000; ++i) parameter_status(b, "p" + std::to_string(i), "v");
  give(n, b);
  EXPECT_EQ(n.failure(), LoginFailure::Protocol);
}

}  // namespace
}  // namespace sidepool::protocol
