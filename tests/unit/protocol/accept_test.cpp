// The login of a client to us: negotiation, every method, limits, and clients that misbehave.
#include "protocol/accept.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "protocol/login.h"
#include "protocol/messages.h"
#include "protocol/password.h"
#include "tests/support/splits.h"

namespace sidepool::protocol {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;
using Event = AcceptMachine::Event;

Buffer startup_bytes(std::uint32_t version = kProtocol30, std::string_view extra = "application_name") {
  Buffer b;
  const std::array<Parameter, 3> p{Parameter{"user", "alice"}, Parameter{"database", "db"},
                                   Parameter{extra, "x"}};
  startup_message(b, version, p);
  return b;
}

std::string take(AcceptMachine& m) {
  std::string s(as_text(m.output()));
  m.wrote(s.size());
  EXPECT_TRUE(m.output().empty());
  return s;
}

Event give(AcceptMachine& m, Bytes in) { return m.feed(in); }

// Feeds all; stops at an event.
Event give(AcceptMachine& m, const test::Pieces& pieces) {
  for (Bytes p : pieces) {
    const auto e = m.feed(p);
    EXPECT_TRUE(p.empty());
    if (e != Event::None) return e;
  }
  return Event::None;
}

std::string code_of(std::string_view error) {
  if (error.size() < 5 || error[0] != 'E') return "no error";
  const auto e = ErrorView::decode(as_bytes(error.substr(5)));
  if (!e || e->severity != "FATAL") return "malformed";
  return std::string(e->code);
}

TEST(Accept, StartupAtEverySplit) {
  test::for_every_split(startup_bytes(), [](const test::Pieces& pieces) {
    AcceptMachine m({});
    ASSERT_EQ(give(m, pieces), Event::GotStartup);
    EXPECT_EQ(m.startup().user, "alice");
    EXPECT_EQ(m.startup().database, "db");
    EXPECT_TRUE(m.output().empty());
  });
}

TEST(Accept, NothingBehindAnEventIsTaken) {
  Buffer b = startup_bytes();
  const auto first = b.size();
  query(b, "select 1");
  for (std::size_t cut = 0; cut <= b.size(); ++cut) {
    AcceptMachine m({});
    Bytes head = Bytes{b}.first(cut), tail = Bytes{b}.subspan(cut);
    const auto e = m.feed(head);
    EXPECT_EQ(e == Event::None ? m.feed(tail) : e, Event::GotStartup);
    EXPECT_EQ(head.size() + tail.size(), b.size() - first) << cut;
    EXPECT_EQ(m.feed(tail), Event::None);
    m.admit();
    EXPECT_TRUE(m.admitted());
    EXPECT_EQ(m.feed(tail), Event::None);
    EXPECT_EQ(head.size() + tail.size(), b.size() - first) << cut;
  }
}

TEST(Accept, SslAndGssRequests) {
  Buffer ssl, gss{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};
  ssl_request(ssl);
  AcceptMachine m({});
  EXPECT_EQ(give(m, gss), Event::None);
  EXPECT_EQ(take(m), "N");
  EXPECT_EQ(give(m, ssl), Event::None);
  EXPECT_EQ(take(m), "N");
  EXPECT_EQ(give(m, startup_bytes()), Event::GotStartup);

  AcceptMachine t({.offer_tls = true});
  EXPECT_EQ(give(t, ssl), Event::StartTls);
  EXPECT_EQ(take(t), "S");
  EXPECT_FALSE(t.inside_tls());
  t.tls_done();
  EXPECT_TRUE(t.inside_tls());
  EXPECT_EQ(give(t, startup_bytes()), Event::GotStartup);

  for (const auto* again : {&ssl, &gss}) {
    AcceptMachine n({});
    EXPECT_EQ(give(n, *again), Event::None);
    take(n);
    EXPECT_EQ(give(n, *again), Event::Failed);
    EXPECT_EQ(code_of(take(n)), "0A000");
    AcceptMachine inside({.offer_tls = true, .inside_tls = true});
    EXPECT_EQ(give(inside, *again), Event::Failed);
  }
}

TEST(Accept, DataBehindAnEncryptionRequestIsRefused) {
  for (const bool tls : {false, true}) {
    for (const std::string code : {"\x04\xd2\x16\x2f", "\x04\xd2\x16\x30"}) {
      std::string bytes = "\0\0\0\x8"s + code;
      bytes += as_text(startup_bytes());
      for (std::size_t cut = 0; cut < 8; ++cut) {
        AcceptMachine m({.offer_tls = tls});
        EXPECT_EQ(give(m, as_bytes(bytes).first(cut)), Event::None);
        ASSERT_EQ(give(m, as_bytes(bytes).subspan(cut)), Event::Failed) << cut;
        const auto error = take(m);
        EXPECT_EQ(error[0], 'E') << "no S, no N: the client must not go on";
        EXPECT_EQ(code_of(error), "08P01");
        EXPECT_NE(error.find("received unencrypted data after "), std::string::npos);
      }
    }
  }
  AcceptMachine m({.offer_tls = true});
  Buffer ssl;
  ssl_request(ssl);
  EXPECT_EQ(give(m, ssl), Event::StartTls);
  take(m);
  EXPECT_EQ(give(m, startup_bytes()), Event::Failed) << "plain bytes where a handshake is due";
  EXPECT_TRUE(m.output().empty());
}

TEST(Accept, DirectTls) {
  const auto hello = "\x16\x03\x01\x00\x10rest"sv;
  AcceptMachine m({.offer_tls = true});
  Bytes in = as_bytes(hello);
  EXPECT_EQ(m.feed(in), Event::DirectTls);
  EXPECT_EQ(in.size(), hello.size()) << "the handshake needs them";
  EXPECT_TRUE(m.output().empty());
  m.tls_done();
  EXPECT_EQ(give(m, startup_bytes()), Event::GotStartup);

  AcceptMachine plain({});
  EXPECT_EQ(give(plain, as_bytes(hello)), Event::Failed);
  EXPECT_TRUE(plain.output().empty());
  AcceptMachine inside({.offer_tls = true, .inside_tls = true});
  EXPECT_EQ(give(inside, as_bytes(hello)), Event::Failed);
  AcceptMachine late({.offer_tls = true});
  const Buffer gss{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30};
  EXPECT_EQ(give(late, gss), Event::None);
  EXPECT_EQ(give(late, as_bytes(hello)), Event::Failed);
}

TEST(Accept, CancelRequest) {
  Buffer b;
  cancel_request(b, 42, as_bytes("0123456789abcdef0123456789abcdef"));
  test::for_every_split(b, [](const test::Pieces& pieces) {
    AcceptMachine m({});
    ASSERT_EQ(give(m, pieces), Event::GotCancel);
    EXPECT_EQ(m.cancel().pid, 42U);
    EXPECT_EQ(as_text(m.cancel().key), "0123456789abcdef0123456789abcdef");
    EXPECT_TRUE(m.output().empty());
  });
}

TEST(Accept, NegotiatesOnlyWhenNeeded) {
  struct Case {
    Buffer startup;
    std::string answer;
  };
  const Case cases[] = {
      {startup_bytes(kProtocol30), ""},
      {startup_bytes(kProtocol32), ""},
      {startup_bytes(196611), "v\0\0\0\xc\0\3\0\2\0\0\0\0"s},
      {startup_bytes(196609), "v\0\0\0\xc\0\3\0\0\0\0\0\0"s},
      {startup_bytes(kProtocol32, "_pq_.command_tag"), "v\0\0\0\x1d\0\3\0\2\0\0\0\1_pq_.command_tag\0"s},
      {startup_bytes(kProtocol30, "_pq_.command_tag"), "v\0\0\0\x1d\0\3\0\0\0\0\0\1_pq_.command_tag\0"s},
  };
  for (const auto& c : cases) {
    AcceptMachine m({});
    EXPECT_EQ(give(m, c.startup), Event::GotStartup);
    EXPECT_EQ(take(m), c.answer);
  }
}

TEST(Accept, MalformedStartupIsAnsweredAsPostgresDoes) {
  struct Case {
    std::string bytes, code;
  };
  const Case cases[] = {{"\0\0\0\x8\0\2\0\0"s, "0A000"}, {"\0\0\0\x9\0\3\0\0\0"s, "28000"},
                        {"\0\0\0\x8\0\3\0\0"s, "08P01"}, {"\0\0\0\0"s, ""},
                        {"\x7f\xff\xff\xff"s, ""},  // nothing of it is buffered
                        {"GET / HTTP/1.0\r\n\r\n"s, ""}};
  for (const auto& c : cases) {
    test::for_every_split(as_bytes(c.bytes), [&](const test::Pieces& pieces) {
      AcceptMachine m({});
      Event e = Event::None;
      for (Bytes p : pieces) {
        if (e == Event::None) e = m.feed(p);
      }
      ASSERT_EQ(e, Event::Failed);
      EXPECT_FALSE(m.failure_text().empty());
      EXPECT_EQ(c.code.empty() ? take(m) : code_of(take(m)), c.code);
      EXPECT_EQ(give(m, startup_bytes()), Event::None) << "it is over";
      m.admit();
      EXPECT_FALSE(m.admitted());
    });
  }
}

AcceptMachine started() {
  AcceptMachine m({});
  EXPECT_EQ(give(m, startup_bytes()), Event::GotStartup);
  return m;
}

TEST(Accept, CleartextAtEverySplit) {
  Buffer b;
  password_message(b, "secret");
  test::for_every_split(b, [](const test::Pieces& pieces) {
    auto m = started();
    m.ask_cleartext();
    EXPECT_EQ(take(m), "R\0\0\0\x8\0\0\0\x3"s);
    ASSERT_EQ(give(m, pieces), Event::GotPassword);
    EXPECT_EQ(m.password(), "secret");
    m.admit();
    EXPECT_TRUE(m.admitted());
    EXPECT_EQ(m.password(), "");
  });
}

TEST(Accept, LongPasswordsFitUpToTheLimit) {
  const std::size_t room = AcceptMachine::kMaxHeld - startup_bytes().size() - 5 - 1;
  EXPECT_GT(room, 16000U);
  for (const bool fits : {true, false}) {
    auto m = started();
    m.ask_cleartext();
    Buffer b;
    password_message(b, std::string(room + (fits ? 0 : 1), 'p'));
    take(m);
    Bytes head = Bytes{b}.first(1000), tail = Bytes{b}.subspan(1000);
    EXPECT_EQ(m.feed(head), fits ? Event::None : Event::Failed);
    if (!fits) {
      EXPECT_EQ(code_of(take(m)), "08P01");
      continue;
    }
    EXPECT_EQ(m.feed(tail), Event::GotPassword);
    EXPECT_EQ(m.password().size(), room);
  }
}

TEST(Accept, WrongMessagesInsteadOfAPassword) {
  struct Case {
    std::string bytes, code;
  };
  const Case cases[] = {{"Q\0\0\0\6x\0"s, "08P01"},
                        {"p\0\0\0\x5\0"s, "28P01"},
                        {"p\0\0\0\4"s, "08P01"},
                        {"p\0\0\0\6ab"s, "08P01"},
                        {"p\0\0\0\7a\0b"s, "08P01"},
                        {"p\0\0\0\x8"
                         "a\0b\0"s,
                         "08P01"},
                        {"p\x7f\xff\xff\xff"s, "08P01"},
                        {"p\0\0\0\3"s, "08P01"}};
  for (const auto& c : cases) {
    test::for_every_split(as_bytes(c.bytes), [&](const test::Pieces& pieces) {
      auto m = started();
      m.ask_cleartext();
      take(m);
      Event e = Event::None;
      for (Bytes p : pieces) {
        if (e == Event::None) e = m.feed(p);
      }
      EXPECT_EQ(e, Event::Failed);
      EXPECT_EQ(code_of(take(m)), c.code);
    });
  }
  auto m = started();
  m.ask_cleartext();
  take(m);
  EXPECT_EQ(give(m, as_bytes("X\0\0\0\4"sv)), Event::Closed);
  EXPECT_TRUE(m.output().empty());
}

TEST(Accept, MalformedSaslMessages) {  // CVE-2026-6664 was an integer overflow in a SASL length
  const std::string_view bad[] = {"p\0\0\0\4"sv,
                                  "p\0\0\0\x12SCRAM-SHA-256\0"sv,
                                  "p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\5"sv,
                                  "p\0\0\0\x16SCRAM-SHA-256\0\x7f\xff\xff\xff"sv,
                                  "p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xfe"sv,
                                  "p\0\0\0\x17SCRAM-SHA-256\0\xff\xff\xff\xffx"sv,
                                  "p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\0"sv,
                                  "p\0\0\0\x17SCRAM-SHA-256\0\0\0\0\0x"sv,
                                  "p\0\0\0\x17SCRAM-SHA-256\0\0\0\0\1x"sv,
                                  "p\0\0\0\x1bSCRAM-SHA-256-PLUS\0\0\0\0\0"sv,
                                  "p\0\0\0\xbsecret\0"sv};
  for (const auto b : bad) {
    auto m = started();
    m.ask_scram(*make_verifier(*derive("pw", as_bytes("salt"), 2)), "server");
    take(m);
    EXPECT_EQ(give(m, as_bytes(b)), Event::Failed) << testing::PrintToString(b);
    EXPECT_EQ(code_of(take(m)), "08P01");
  }
}

TEST(Accept, ScramWithoutInitialData) {
  auto m = started();
  m.ask_scram(*make_verifier(*derive("pw", as_bytes("salt"), 2)), "server");
  EXPECT_EQ(take(m), "R\0\0\0\x17\0\0\0\xaSCRAM-SHA-256\0\0"s);
  EXPECT_EQ(give(m, as_bytes("p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff"sv)), Event::None);
  EXPECT_EQ(take(m), "R\0\0\0\x8\0\0\0\xb"s);
  Buffer b;
  sasl_response(b, as_bytes("n,,n=,r=client"));
  EXPECT_EQ(give(m, b), Event::None);
  EXPECT_NE(take(m).find("r=clientserver"), std::string::npos);
}

TEST(Accept, PipelinedMessagesAreNotForgotten) {
  auto m = started();
  m.ask_scram(*make_verifier(*derive("pw", as_bytes("salt"), 2)), "server");
  Buffer b;
  sasl_initial_response(b, kScramMechanism, as_bytes("n,,n=,r=client"));
  sasl_response(b, as_bytes("c=biws,r=clientserver,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
  EXPECT_EQ(give(m, b), Event::ScramFailed);
}

TEST(Accept, RefuseOnceAndForGood) {
  auto m = started();
  m.refuse({.severity = "FATAL", .code = "53300", .message = "too many"});
  m.refuse({.severity = "FATAL", .code = "XX000", .message = "twice"});
  EXPECT_EQ(code_of(take(m)), "53300");
  m.admit();
  EXPECT_FALSE(m.admitted());
  m.ask_cleartext();
  EXPECT_TRUE(m.output().empty());
}

TEST(Accept, Welcome) {
  Buffer b;
  const std::array<Parameter, 1> p{Parameter{"a", "b"}};
  welcome(b, p, 7, as_bytes("keyy"));
  EXPECT_EQ(as_text(b),
            "R\0\0\0\x8\0\0\0\0S\0\0\0\x8"
            "a\0b\0K\0\0\0\xc\0\0\0\7keyyZ\0\0\0\5I"sv);
}

// LoginMachine and AcceptMachine, back to back, `chunk` bytes at a time.
struct Pair {
  LoginMachine login{{{{"user", "alice"}, {"database", "db"}}, kProtocol32, "client"}};
  AcceptMachine accept{{}};
  std::size_t chunk = 0;
  Buffer to_login, to_accept;
  Event event = Event::None;

  explicit Pair(std::size_t n) : chunk(n) { login.start(); }

  // Until neither moves; an event of the accepting side stops it.
  void run() {
    event = Event::None;
    for (bool moved = true; moved && event == Event::None;) {
      moved = pass(login, to_accept) || pass(accept, to_login);
      moved = feed(to_login, [&](Bytes& in) { login.feed(in); }) || moved;
      moved = feed(to_accept, [&](Bytes& in) { event = accept.feed(in); }) || moved;
    }
    pass(accept, to_login);
  }
  // Delivers a final answer.
  void finish() {
    while (pass(accept, to_login) || feed(to_login, [&](Bytes& in) { login.feed(in); })) {
    }
  }
  void welcome_now() {
    accept.admit();
    const std::array<Parameter, 1> p{Parameter{"TimeZone", "UTC"}};
    welcome(to_login, p, 9, as_bytes("12345678"));
  }

 private:
  template <class Machine>
  bool pass(Machine& m, Buffer& to) {
    const auto out = m.output();
    const auto n = std::min(chunk, out.size());
    to.insert(to.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n));
    m.wrote(n);
    return n > 0;
  }
  template <class Feed>
  bool feed(Buffer& from, Feed&& f) {
    Bytes in = Bytes{from}.first(std::min(chunk, from.size()));
    const auto before = in.size();
    f(in);
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(before - in.size()));
    return before != in.size();
  }
};

enum class How { Trust, Cleartext, Md5, Scram, Mock };

void ask(Pair& p, How how, bool& secret_due) {
  secret_due = true;
  const std::array<std::uint8_t, 4> salt{9, 8, 7, 6};
  switch (how) {
    case How::Trust:
      secret_due = false;
      return p.accept.admit();
    case How::Cleartext:
      return p.accept.ask_cleartext();
    case How::Md5:
      return p.accept.ask_md5(salt);
    case How::Scram:
      return p.accept.ask_scram(*make_verifier(*derive("pencil", as_bytes("saltsalt"), 128)), "server");
    case How::Mock:
      return p.accept.ask_scram(mock_verifier(as_bytes("0123456789abcdef"), "alice", 128), "server");
  }
}

// Whether the client is right, decided as a driver does.
bool right(Pair& p, How how) {
  const std::array<std::uint8_t, 4> salt{9, 8, 7, 6};
  if (how == How::Cleartext) return check_cleartext("pencil", "alice", p.accept.password());
  if (how == How::Md5) return check_md5("pencil", "alice", salt, p.accept.password());
  return p.event == Event::ScramOk;
}

TEST(BackToBack, EveryMethodRightAndWrongInAllChunkSizes) {
  for (const auto how : {How::Trust, How::Cleartext, How::Md5, How::Scram, How::Mock}) {
    for (const std::string password : {"pencil", "wrong"}) {
      for (const std::size_t chunk : {1, 2, 3, 7, 64, 5000}) {
        Pair p(chunk);
        p.run();
        ASSERT_EQ(p.event, Event::GotStartup);
        bool secret_due = false;
        ask(p, how, secret_due);
        if (secret_due) {
          p.run();
          ASSERT_EQ(p.login.state(), LoginMachine::State::NeedPassword);
          ASSERT_TRUE(p.login.answer_password(password));
          p.run();
          ASSERT_TRUE(p.event == Event::GotPassword || p.event == Event::ScramOk ||
                      p.event == Event::ScramFailed);
          ASSERT_EQ(right(p, how), password == "pencil" && how != How::Mock);
          if (!right(p, how)) {
            if (p.event == Event::ScramFailed) {
              p.accept.admit();
              ASSERT_FALSE(p.accept.admitted()) << "only a refusal is possible";
            }
            p.accept.refuse({.severity = "FATAL", .code = "28P01", .message = "no"});
            p.finish();
            EXPECT_EQ(p.login.failure(), LoginFailure::ServerError);
            EXPECT_EQ(p.login.error_code(), "28P01");
            continue;
          }
        }
        p.finish();
        if (how == How::Scram) {
          EXPECT_EQ(p.accept.scram_keys().client_key,
                    derive("pencil", as_bytes("saltsalt"), 128)->client_key);
        }
        p.welcome_now();
        p.finish();
        ASSERT_EQ(p.login.state(), LoginMachine::State::Ready) << p.login.failure_text();
        EXPECT_EQ(p.login.backend_pid(), 9U);
        EXPECT_EQ(p.login.protocol(), kProtocol32);
        EXPECT_EQ(p.login.scram_keys() != nullptr, how == How::Scram);
      }
    }
  }
}

}  // namespace
}  // namespace sidepool::protocol
