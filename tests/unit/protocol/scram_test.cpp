// SCRAM-SHA-256 by the vectors of RFC 7677 §3, both roles against each other, and against everything
// malformed.
#include "protocol/scram.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/base64.h"

namespace sidepool::protocol {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;

Buffer bytes(std::string_view s) { return Buffer(s.begin(), s.end()); }

TEST(Base64, RoundTripAndStrictness) {
  for (const auto& [plain, text] :
       {std::pair{"f"sv, "Zg=="sv}, std::pair{"fo"sv, "Zm8="sv}, std::pair{"foo"sv, "Zm9v"sv},
        std::pair{"foobar"sv, "Zm9vYmFy"sv}, std::pair{"\xff\xfe\xfd"sv, "//79"sv}}) {
    EXPECT_EQ(base64_encode(as_bytes(plain)), text);
    const auto back = base64_decode(text, 100);
    ASSERT_TRUE(back) << text;
    EXPECT_EQ(as_text(*back), plain);
    EXPECT_FALSE(base64_decode(text, plain.size() - 1));
  }
  for (const auto bad : {""sv, "Zg"sv, "Zg="sv, "Zh=="sv, "Zm9="sv, "Zg==Zg=="sv, "Z==="sv, "===="sv,
                         "Zm9v\n"sv, "Zm 9"sv, "Zm-_"sv, "=m9v"sv, "Zm=v"sv, "Zm9\0"sv}) {
    EXPECT_FALSE(base64_decode(bad, 100)) << bad;
  }
}

// RFC 7677 §3. The user name in it differs from ours (we send none), so the client's part is checked through
// the server's: its messages are fed to ScramServer, and ours with the same keys must verify.
constexpr std::string_view kClientNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+"
    "Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

ScramKeys rfc_keys() { return *derive("pencil", *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==", 100), 4096); }

TEST(Scram, Rfc7677Server) {
  ScramServer server(*make_verifier(rfc_keys()), std::string(kServerNonce));
  EXPECT_EQ(server.challenge(as_bytes("n,,n=user,r=rOprNGfwEbeRWgbNEkqO")), kServerFirst);
  ASSERT_EQ(server.finish(as_bytes(kClientFinal)), ScramServer::Result::Ok);
  EXPECT_EQ(server.final_message(), kServerFinal);
  EXPECT_EQ(server.keys().client_key, rfc_keys().client_key);
  EXPECT_EQ(server.keys().iterations, 4096U);
}

TEST(Scram, ClientAgainstServerWithKeysAndPassword) {
  ScramServer server(*make_verifier(rfc_keys()), std::string(kServerNonce));
  ScramClient client{std::string(kClientNonce)};
  EXPECT_EQ(client.first(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
  const auto first = server.challenge(as_bytes(client.first()));
  ASSERT_TRUE(first);
  EXPECT_EQ(*first, kServerFirst);
  const auto c = client.challenge(as_bytes(*first));
  ASSERT_TRUE(c) << client.error();
  EXPECT_EQ(c->iterations, 4096U);
  const auto final = client.final(rfc_keys());
  ASSERT_TRUE(final);
  ASSERT_EQ(server.finish(as_bytes(*final)), ScramServer::Result::Ok);
  EXPECT_TRUE(client.verify(as_bytes(server.final_message()))) << client.error();
}

TEST(Scram, WhatPostgresStores) {
  // CREATE ROLE with a chosen salt gives: PBKDF2, HMAC and SHA-256 as in RFC 5802 §3; see also the round
  // trip.
  const auto v = *make_verifier(rfc_keys());
  const auto text = format_verifier(v);
  EXPECT_EQ(text,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  const auto back = parse_verifier(text);
  ASSERT_TRUE(back);
  EXPECT_EQ(format_verifier(*back), text);
  EXPECT_TRUE(matches(*back, "pencil"));
  EXPECT_FALSE(matches(*back, "Pencil"));
  EXPECT_FALSE(matches(*back, ""));
}

TEST(Scram, VerifiersAreParsedStrictly) {
  const std::string keys =
      "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
  const std::string good = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys;
  ASSERT_TRUE(parse_verifier(good));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_verifier(good.substr(0, n))) << n;
  const std::string bad[] = {good + "=",
                             good + ":",
                             " " + good,
                             "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys,
                             "SCRAM-SHA-256$04096:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys,
                             "SCRAM-SHA-256$-1:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys,
                             "SCRAM-SHA-256$1000001:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys,
                             "SCRAM-SHA-256$4294967296:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys,
                             "SCRAM-SHA-256$4096:$" + keys,
                             "SCRAM-SHA-256$4096$" + keys,
                             "SCRAM-SHA-256$4096:" + base64_encode(bytes(std::string(257, 's'))) + "$" + keys,
                             "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA",
                             "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys.substr(0, 44),
                             "SCRAM-SHA-256-PLUS$4096:W22ZaJ0SNY7soEsUEjb6gQ==$" + keys};
  for (const auto& b : bad) EXPECT_FALSE(parse_verifier(b)) << b;
}

TEST(Scram, DerivationIsBounded) {
  const auto salt = bytes("salt");
  EXPECT_TRUE(derive("", salt, 1));
  EXPECT_FALSE(derive("p", salt, 0));
  EXPECT_FALSE(derive("p", salt, kMaxScramIterations + 1));
  EXPECT_FALSE(derive("p", {}, 1));
  EXPECT_FALSE(derive("p", Buffer(kMaxScramSalt + 1), 1));
  EXPECT_FALSE(derive(std::string(65537, 'p'), salt, 1));
}

TEST(Scram, MockLooksRealAndNeverSucceeds) {
  const auto secret = bytes("0123456789abcdef");
  const auto v = mock_verifier(secret, "nobody", 4096);
  EXPECT_EQ(v.salt, mock_verifier(secret, "nobody", 4096).salt);
  EXPECT_NE(v.salt, mock_verifier(secret, "nobody2", 4096).salt);
  EXPECT_NE(v.salt, mock_verifier(bytes("fedcba9876543210"), "nobody", 4096).salt);
  EXPECT_EQ(v.salt.size(), 16U);
  EXPECT_FALSE(matches(v, ""));
  ScramServer server(v, "server");
  ScramClient client("client");
  const auto c = client.challenge(as_bytes(*server.challenge(as_bytes(client.first()))));
  ASSERT_TRUE(c);
  const auto final = client.final(*derive("guess", c->salt, c->iterations));
  EXPECT_EQ(server.finish(as_bytes(*final)), ScramServer::Result::WrongProof);
}

// Runs an exchange up to where the client's final message is due.
struct Exchange {
  ScramServer server{*make_verifier(rfc_keys()), "server"};
  ScramClient client{"client"};
  Exchange() { EXPECT_TRUE(client.challenge(as_bytes(*server.challenge(as_bytes(client.first()))))); }
};

TEST(Scram, WrongPasswordAndForgedSignatures) {
  Exchange x;
  const auto wrong = x.client.final(*derive("other", rfc_keys().salt, 4096));
  EXPECT_EQ(x.server.finish(as_bytes(*wrong)), ScramServer::Result::WrongProof);
  EXPECT_EQ(x.server.finish(as_bytes(*wrong)), ScramServer::Result::Malformed) << "one attempt only";

  Exchange y;
  const auto final = y.client.final(rfc_keys());
  ASSERT_EQ(y.server.finish(as_bytes(*final)), ScramServer::Result::Ok);
  std::string forged = y.server.final_message();
  EXPECT_TRUE(y.client.verify(as_bytes(forged)));
  for (std::size_t i = 0; i + 1 < forged.size(); ++i) {
    std::string f = forged;
    f[i] = f[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(y.client.verify(as_bytes(f))) << i;
  }
  for (const auto& f : {""s, "v="s, "e=other-error"s, forged + ",x=1", forged + "\0"s, forged.substr(1),
                        std::string(kServerFinal)}) {
    EXPECT_FALSE(y.client.verify(as_bytes(f))) << f;
    EXPECT_FALSE(y.client.error().empty());
  }
  ScramClient early("client");
  EXPECT_FALSE(early.verify(as_bytes(forged)));
}

TEST(Scram, ClientRefusesMalformedChallenges) {
  const std::string good = "r=clientserver,s=c2FsdA==,i=4096";
  EXPECT_TRUE(ScramClient("client").challenge(as_bytes(good)));
  const std::string bad[] = {"",
                             "r=client,s=c2FsdA==,i=4096",        // no nonce of its own
                             "r=clienTserver,s=c2FsdA==,i=4096",  // not ours
                             "r=serverclient,s=c2FsdA==,i=4096", "m=x,r=clientserver,s=c2FsdA==,i=4096",
                             "r=clientserver,s=c2FsdA==,i=0", "r=clientserver,s=c2FsdA==,i=-1",
                             "r=clientserver,s=c2FsdA==,i=+1", "r=clientserver,s=c2FsdA==,i=01",
                             "r=clientserver,s=c2FsdA==,i=1000001", "r=clientserver,s=c2FsdA==,i=4294967297",
                             "r=clientserver,s=c2FsdA==,i=99999999999999999999",
                             "r=clientserver,s=c2FsdA==,i=4096,x=y", "r=clientserver,s=c2FsdA==,i=4096,",
                             "r=clientserver,s=,i=4096", "r=clientserver,s=c2FsdA=,i=4096",
                             "r=clientserver,i=4096,s=c2FsdA==", "r=clientser\1ver,s=c2FsdA==,i=4096",
                             "r=clientserver,s=" + base64_encode(bytes(std::string(257, 's'))) + ",i=4096",
                             // CVE-2026-6665 was a pooler's stack overflow by a server's nonce
                             "r=client" + std::string(2 * kMaxScramNonce, 'x') + ",s=c2FsdA==,i=4096",
                             "r=client" + std::string(1 << 20, 'x') + ",s=c2FsdA==,i=4096"};
  for (const auto& b : bad) {
    ScramClient c("client");
    EXPECT_FALSE(c.challenge(as_bytes(b))) << b.substr(0, 80);
    EXPECT_FALSE(c.error().empty());
  }
  EXPECT_FALSE(ScramClient("client").challenge(as_bytes(good), 4095));
  for (std::size_t n = 0; n < good.size() - 3; ++n) {  // ",i=4" is a count, too
    EXPECT_FALSE(ScramClient("client").challenge(as_bytes(good).first(n))) << n;
  }
  for (const auto& nonce : {""s, "a,b"s, "a b"s, "n\xc3\xa9"s, std::string(513, 'n')}) {
    EXPECT_FALSE(ScramClient(nonce).challenge(as_bytes("r=" + nonce + "x,s=c2FsdA==,i=1")));
  }
}

TEST(Scram, ServerRefusesMalformedFirstMessages) {
  const auto verifier = *make_verifier(rfc_keys());
  for (const auto& ok : {"n,,n=,r=abc"s, "y,,n=user,r=abc"s, "n,,n=\xc3\xa9,r=abc,x=1"s}) {
    EXPECT_TRUE(ScramServer(verifier, "server").challenge(as_bytes(ok))) << ok;
  }
  const std::string bad[] = {"",
                             "n",
                             "n,",
                             "n,,",
                             "n,,n=",
                             "n,,n=,",
                             "n,,n=,r=",
                             "n,,n=,r=a b",
                             "n,,n=,r=a\0b"s,
                             "n,,m=x,n=,r=abc",
                             "n,a=other,n=,r=abc",
                             "p=tls-server-end-point,,n=,r=abc",
                             "x,,n=,r=abc",
                             "n,,r=abc,n=",
                             "n,,n=,r=" + std::string(513, 'a'),
                             "n,,n=" + std::string(1 << 20, 'a') + ",r=abc"};
  for (const auto& b : bad) {
    ScramServer s(verifier, "server");
    EXPECT_FALSE(s.challenge(as_bytes(b))) << b.substr(0, 80);
    EXPECT_FALSE(s.error().empty());
    EXPECT_EQ(s.finish(as_bytes("c=biws,r=,p=" + base64_encode(Buffer(32)))), ScramServer::Result::Malformed);
  }
}

TEST(Scram, ServerRefusesMalformedFinalMessages) {
  std::string final;
  {
    Exchange x;
    final = *x.client.final(rfc_keys());
    ASSERT_EQ(x.server.finish(as_bytes(final)), ScramServer::Result::Ok);
  }
  for (std::size_t n = 0; n < final.size(); ++n) {  // CVE-2026-6664: short messages with long claims
    Exchange x;
    EXPECT_EQ(x.server.finish(as_bytes(final).first(n)), ScramServer::Result::Malformed) << n;
  }
  const std::string proof = base64_encode(Buffer(32));
  const std::string bad[] = {"c=eSws,r=clientserver,p=" + proof,  // "y,," was not what was said
                             "c=biws,r=clientserve,p=" + proof,   // another nonce
                             "c=biws,r=clientserverr,p=" + proof,
                             "r=clientserver,c=biws,p=" + proof,
                             "c=biws,r=clientserver,p=" + base64_encode(Buffer(31)),
                             "c=biws,r=clientserver,p=" + base64_encode(Buffer(33)),
                             "c=biws,r=clientserver,p=" + proof + ",x=1",
                             "c=biws,r=clientserver,p=" + proof + "\0"s,
                             "c=biws,r=clientserver,p=",
                             std::string(1 << 20, 'c')};
  for (const auto& b : bad) {
    Exchange x;
    EXPECT_EQ(x.server.finish(as_bytes(b)), ScramServer::Result::Malformed) << b.substr(0, 80);
  }
  Exchange x;
  EXPECT_EQ(x.server.finish(as_bytes("c=biws,r=clientserver,x=ignored,p=" + proof)),
            ScramServer::Result::WrongProof);
}

TEST(Secrets, CompareAndMove) {
  EXPECT_TRUE(equal_secret("abc"sv, "abc"sv));
  EXPECT_FALSE(equal_secret("abc"sv, "abd"sv));
  EXPECT_FALSE(equal_secret("abc"sv, "ab"sv));
  EXPECT_TRUE(equal_secret(""sv, ""sv));
  SecretText a("secret"), b;
  b = std::move(a);
  EXPECT_EQ(b.view(), "secret");
  b.clear();
  EXPECT_TRUE(b.empty());
}

}  // namespace
}  // namespace sidepool::protocol
