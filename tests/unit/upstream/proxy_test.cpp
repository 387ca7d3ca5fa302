// tests/unit/upstream/proxy_test.cpp -- ALL_PROXY and NO_PROXY, and the talk with a SOCKS 5 proxy at every
// split.
#include "src/upstream/proxy.h"

#include <gtest/gtest.h>

#include "src/upstream/socks5.h"

namespace sidepool::upstream {
namespace {

using protocol::Buffer;

TEST(SocksProxy, Urls) {
  struct Case {
    const char* url;
    const char *host, *user, *password;
    std::uint16_t port;
  };
  const Case cases[] = {
      {"socks5://10.0.0.1:1081", "10.0.0.1", "", "", 1081},
      {"SOCKS5H://proxy.example", "proxy.example", "", "", 1080},
      {"socks5://u:p%40ss@proxy:9/", "proxy", "u", "p@ss", 9},
      {"socks5://u@proxy", "proxy", "u", "", 1080},
      {"socks5://a:b:c@[::1]:99", "::1", "a", "b:c", 99},
      {"socks5h://[2001:db8::1]", "2001:db8::1", "", "", 1080},
      {"socks5://proxy:", "proxy", "", "", 1080},
  };
  for (const Case& c : cases) {
    const auto proxy = SocksProxy::parse(c.url, "");
    ASSERT_TRUE(proxy && *proxy) << c.url;
    EXPECT_EQ((*proxy)->server().host, c.host) << c.url;
    EXPECT_EQ((*proxy)->server().port, c.port) << c.url;
    EXPECT_EQ((*proxy)->user(), c.user) << c.url;
    EXPECT_EQ((*proxy)->password(), c.password) << c.url;
  }
  const auto none = SocksProxy::parse("", "x");
  ASSERT_TRUE(none);
  EXPECT_EQ(*none, nullptr);
}

TEST(SocksProxy, WhatCannotBeUsedSaysWhyAndNotThePassword) {
  for (const char* url : {"http://proxy:8080", "10.0.0.1:1080", "socks5://", "socks5://u:secret@",
                          "socks5://u:secret@h:x", "socks5://h:0", "socks5://h:70000", "socks5://u:%zz@h",
                          "socks5://[::1", "socks5://[x]:1", "socks5://[::1]x:1", "socks4://h"}) {
    const auto proxy = SocksProxy::parse(url, "");
    ASSERT_FALSE(proxy) << url;
    EXPECT_TRUE(proxy.error().what.starts_with("ALL_PROXY is not used: ")) << proxy.error().what;
    EXPECT_EQ(proxy.error().what.find("secret"), std::string::npos);
  }
  EXPECT_FALSE(SocksProxy::parse("socks5://" + std::string(256, 'u') + "@h", ""));
}

// The rules of golang.org/x/net/proxy.
TEST(SocksProxy, NoProxy) {
  const auto proxy = *SocksProxy::parse(
      "socks5://h",
      "localhost, 10.1.2.3 ,192.168.0.0/16,,*.internal.,zone.example.,2001:db8::/32,bad/99,1.2.3.4/x");
  for (const char* direct : {"localhost", "10.1.2.3", "192.168.255.1", "db.internal", "a.b.internal",
                             "internal", "zone.example", "2001:db8:1::1"})
    EXPECT_TRUE(proxy->bypassed_by(direct)) << direct;
  for (const char* through : {"10.1.2.4", "192.169.0.1", "a.localhost", "xinternal", "db.zone.example",
                              "2001:db9::1", "1.2.3.4", "example.com"})
    EXPECT_FALSE(proxy->bypassed_by(through)) << through;
  EXPECT_TRUE((*SocksProxy::parse("socks5://h", "0.0.0.0/0"))->bypassed_by("8.8.8.8"));
  EXPECT_FALSE((*SocksProxy::parse("socks5://h", ""))->bypassed_by("127.0.0.1"))
      << "loopback is no exception";
}

// Feeds `answers` in pieces of at most `piece` bytes, as wants() allows; what was sent meanwhile.
std::vector<Buffer> talk(Socks5& s, const Buffer& answers, std::size_t piece) {
  std::vector<Buffer> sent;
  std::size_t at = 0;
  while (s.state() == Socks5::State::Talking) {
    if (!s.output().empty()) {
      EXPECT_EQ(s.wants(), 0U);
      sent.emplace_back(s.output().begin(), s.output().end());
      const auto n = s.output().size();
      s.wrote(1);
      s.wrote(n - 1);
      continue;
    }
    const auto n = std::min({piece, s.wants(), answers.size() - at});
    if (n == 0) break;
    s.feed(protocol::Bytes(answers).subspan(at, n));
    at += n;
  }
  if (s.state() == Socks5::State::Done) {
    EXPECT_EQ(at, answers.size()) << "not a byte more than the answer";
  }
  return sent;
}

TEST(Socks5Talk, NamesAddressesAndPasswords) {
  const Buffer bound{5, 0, 0, 1, 10, 0, 0, 1, 0x1f, 0x90};
  const auto with = [](Buffer head, const Buffer& tail) {
    head.insert(head.end(), tail.begin(), tail.end());
    return head;
  };
  for (std::size_t piece = 1; piece < 20; ++piece) {
    Socks5 ip("10.9.8.7", 3307, "", "");
    auto sent = talk(ip, with({5, 0}, bound), piece);
    ASSERT_EQ(ip.state(), Socks5::State::Done);
    EXPECT_EQ(sent, (std::vector<Buffer>{{5, 1, 0}, {5, 1, 0, 1, 10, 9, 8, 7, 0x0c, 0xeb}}));

    Socks5 name("db.x", 3307, "u", "pw");
    sent = talk(name, with({5, 2, 1, 0}, {5, 0, 0, 3, 2, 'h', 'i', 0, 1}), piece);
    ASSERT_EQ(name.state(), Socks5::State::Done);
    EXPECT_EQ(sent,
              (std::vector<Buffer>{
                  {5, 2, 0, 2}, {1, 1, 'u', 2, 'p', 'w'}, {5, 1, 0, 3, 4, 'd', 'b', '.', 'x', 0x0c, 0xeb}}));

    Socks5 six("::1", 1, "u", "pw");
    Buffer v6{5, 0, 0, 4};
    v6.resize(4 + 16 + 2);
    sent = talk(six, with({5, 0}, v6), piece);
    ASSERT_EQ(six.state(), Socks5::State::Done);
    ASSERT_EQ(sent.size(), 2U) << "no password for a proxy that wants none";
    EXPECT_EQ(sent[1].size(), 4U + 16 + 2);
  }
}

TEST(Socks5Talk, Refusals) {
  const std::pair<Buffer, const char*> cases[] = {
      {{4, 0}, "does not speak SOCKS 5"},
      {{'H', 'T'}, "does not speak SOCKS 5"},
      {{5, 0xff}, "no authentication"},
      {{5, 2, 1, 1}, "refused the user or the password"},
      {{5, 2, 5, 0}, "nonsense"},
      {{5, 0, 5, 5, 0, 1}, "connection refused"},
      {{5, 0, 5, 2, 0, 1}, "not allowed by ruleset"},
      {{5, 0, 5, 99, 0, 1}, "unknown code"},
      {{5, 0, 4, 0, 0, 1}, "nonsense"},
      {{5, 0, 5, 0, 1, 1}, "nonsense"},
      {{5, 0, 5, 0, 0, 2}, "unknown kind of address"},
  };
  for (const auto& [answers, text] : cases) {
    Socks5 s("10.9.8.7", 3307, "u", "pw");
    talk(s, answers, 100);
    EXPECT_EQ(s.state(), Socks5::State::Failed) << text;
    EXPECT_NE(s.failure().find(text), std::string::npos) << s.failure();
    EXPECT_EQ(s.wants(), 0U);
  }
  Socks5 asked("h", 1, "", "");
  talk(asked, {5, 2}, 100);
  EXPECT_EQ(asked.state(), Socks5::State::Failed) << "a method that was not offered";
  EXPECT_EQ(Socks5(std::string(256, 'h'), 1, "", "").state(), Socks5::State::Failed);
  EXPECT_EQ(Socks5("", 1, "", "").state(), Socks5::State::Failed);
  EXPECT_EQ(Socks5("h", 1, "u", std::string(256, 'p')).state(), Socks5::State::Failed);
}

}  // namespace
}  // namespace sidepool::upstream
