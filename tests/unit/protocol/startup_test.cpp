// The first packet: every kind, every split, every limit; and the options parameter.
#include "protocol/startup.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "protocol/encode.h"
#include "protocol/sqlstate.h"
#include "tests/support/splits.h"

namespace sidepool::protocol {
namespace {

using std::string_literals::operator""s;
using std::string_view_literals::operator""sv;

std::string packet(std::uint32_t code, std::string_view rest) {
  std::string p(8, '\0');
  store_be32(reinterpret_cast<std::uint8_t*>(p.data()), static_cast<std::uint32_t>(8 + rest.size()));
  store_be32(reinterpret_cast<std::uint8_t*>(p.data() + 4), code);
  return p.append(rest);
}

template <class T>
T decoded(std::string_view bytes) {
  const auto p = decode_first_packet(as_bytes(bytes));
  const auto* t = std::get_if<T>(&p.packet);
  EXPECT_TRUE(t) << "alternative " << p.packet.index();
  return t ? *t : T{};
}

TEST(FirstPacket, NeedsMoreUntilComplete) {
  const std::string packets[] = {packet(kSslRequestCode, ""), packet(kGssEncRequestCode, ""),
                                 packet(kCancelRequestCode, "\0\0\0\7abcd"sv),
                                 packet(kProtocol30, "user\0u\0\0"sv)};
  for (const auto& p : packets) {
    for (std::size_t n = 0; n < p.size(); ++n) {
      const auto d = decode_first_packet(as_bytes(p).first(n));
      EXPECT_TRUE(std::holds_alternative<NeedMore>(d.packet)) << n;
      EXPECT_EQ(d.size, 0U);
    }
    const auto d = decode_first_packet(as_bytes(p + "behind"));
    EXPECT_EQ(d.size, p.size());
    EXPECT_FALSE(std::holds_alternative<NeedMore>(d.packet));
    EXPECT_FALSE(std::holds_alternative<Malformed>(d.packet));
  }
}

TEST(FirstPacket, RequestsWithoutParameters) {
  decoded<SslRequest>(packet(kSslRequestCode, ""));
  decoded<GssEncRequest>(packet(kGssEncRequestCode, ""));
  decoded<DirectTls>("\x16");
  decoded<DirectTls>("\x16\x03\x01\x02\0\x01"sv);
}

TEST(FirstPacket, CancelKeysOfBothProtocols) {
  for (const std::size_t n : {4, 32, 256}) {
    const auto c = decoded<CancelRequest>(packet(kCancelRequestCode, "\0\0\1\2"s + std::string(n, 'k')));
    EXPECT_EQ(c.pid, 258U);
    EXPECT_EQ(c.key.size(), n);
  }
  for (const std::size_t n : {0, 3, 257, 5000}) {
    EXPECT_TRUE(decoded<Malformed>(packet(kCancelRequestCode, "\0\0\1\2"s + std::string(n, 'k'))).silent);
  }
  EXPECT_TRUE(decoded<Malformed>(packet(kCancelRequestCode, "\0\0"sv)).silent);
}

TEST(FirstPacket, StartupMessage) {
  const auto m = decoded<StartupMessage>(packet(
      kProtocol30,
      "user\0alice\0database\0db\0application_name\0app\0options\0-c a=b\0TimeZone\0UTC\0application_name\0two\0\0"sv));
  EXPECT_EQ(m.user, "alice");
  EXPECT_EQ(m.database, "db");
  EXPECT_EQ(m.options, "-c a=b");
  EXPECT_EQ(m.replication, Replication::None);
  const std::vector<OwnedParameter> expected{
      {"application_name", "app"}, {"TimeZone", "UTC"}, {"application_name", "two"}};
  EXPECT_EQ(m.parameters, expected);
  EXPECT_EQ(m.protocol, kProtocol30);
  EXPECT_FALSE(m.negotiate());
}

TEST(FirstPacket, DatabaseDefaultsToUserAndNamesAreCut) {
  EXPECT_EQ(decoded<StartupMessage>(packet(kProtocol30, "user\0alice\0\0"sv)).database, "alice");
  EXPECT_EQ(decoded<StartupMessage>(packet(kProtocol30, "user\0alice\0database\0\0\0"sv)).database, "alice");
  const std::string name(70, 'n');
  const auto m =
      decoded<StartupMessage>(packet(kProtocol30, "user\0"s + name + "\0database\0"s + name + "\0\0"s));
  EXPECT_EQ(m.user, std::string(63, 'n'));
  EXPECT_EQ(m.database, std::string(63, 'n'));
}

TEST(FirstPacket, Replication) {
  struct Case {
    const char* value;
    Replication kind;
  };
  for (const auto& c :
       {Case{"true", Replication::Physical}, Case{"on", Replication::Physical},
        Case{"1", Replication::Physical}, Case{"YES", Replication::Physical},
        Case{"t", Replication::Physical}, Case{"database", Replication::Logical},
        Case{"false", Replication::None}, Case{"of", Replication::None}, Case{"0", Replication::None}}) {
    const auto m =
        decoded<StartupMessage>(packet(kProtocol30, "user\0u\0replication\0"s + c.value + "\0\0"s));
    EXPECT_EQ(m.replication, c.kind) << c.value;
    EXPECT_EQ(m.database, c.kind == Replication::Physical ? "" : "u") << c.value;
    EXPECT_EQ(m.replication_value, c.value);
  }
  for (const auto* bad : {"", "o", "truer", "DATABASE", "2"}) {
    const auto m = decoded<Malformed>(packet(kProtocol30, "user\0u\0replication\0"s + bad + "\0\0"s));
    EXPECT_EQ(m.sqlstate, sqlstate::kInvalidParameterValue) << bad;
  }
}

TEST(FirstPacket, ProtocolVersions) {
  struct Case {
    std::uint32_t asked, spoken;
    bool negotiate;
  };
  for (const auto& c :
       {Case{196608, kProtocol30, false}, Case{196609, kProtocol30, true}, Case{196610, kProtocol32, false},
        Case{196611, kProtocol32, true}, Case{196608 + 9999, kProtocol32, true}}) {
    const auto m = decoded<StartupMessage>(packet(c.asked, "user\0u\0\0"sv));
    EXPECT_EQ(m.protocol, c.spoken) << c.asked;
    EXPECT_EQ(m.negotiate(), c.negotiate) << c.asked;
  }
  const auto m = decoded<StartupMessage>(packet(kProtocol30,
                                                "user\0u\0_pq_.x\0"
                                                "1\0_pq_.y\0\0\0"sv));
  EXPECT_TRUE(m.negotiate());
  EXPECT_EQ(m.protocol, kProtocol30);
  EXPECT_EQ(m.protocol_options, (std::vector<std::string>{"_pq_.x", "_pq_.y"}));
  EXPECT_TRUE(m.parameters.empty());
  for (const auto& [code, text] :
       {std::pair{131072U, "2.0"}, std::pair{65536U, "1.0"}, std::pair{262147U, "4.3"}}) {
    const auto bad = decoded<Malformed>(packet(code, "user\0u\0\0"sv));
    EXPECT_EQ(bad.sqlstate, "0A000");
    EXPECT_EQ(bad.reason, "unsupported frontend protocol "s + text + ": server supports 3.0 to 3.2");
    EXPECT_FALSE(bad.silent);
  }
}

TEST(FirstPacket, LayoutErrors) {
  for (const auto rest : {""sv, "\0\0"sv, "user"sv, "user\0"sv, "user\0u"sv, "user\0u\0"sv, "user\0u\0\0x"sv,
                          "user\0u\0name\0"sv, "user\0u\0name\0\0"sv, "user\0u\0name\0value"sv}) {
    const auto m = decoded<Malformed>(packet(kProtocol30, rest));
    EXPECT_EQ(m.sqlstate, "08P01") << rest;
    EXPECT_EQ(m.reason, "invalid startup packet layout: expected terminator as last byte");
  }
  for (const auto rest : {"\0"sv, "database\0d\0\0"sv, "user\0\0\0"sv}) {
    const auto m = decoded<Malformed>(packet(kProtocol30, rest));
    EXPECT_EQ(m.sqlstate, "28000");
    EXPECT_EQ(m.reason, "no PostgreSQL user name specified in startup packet");
  }
}

TEST(FirstPacket, HugeOrTinyLengthsAreRefusedFromFourBytes) {
  for (const auto bytes : {"\0\0\0\0"sv, "\0\0\0\7"sv, "\0\0\x27\x15"sv, "\x7f\xff\xff\xff"sv,
                           "\xff\xff\xff\xff"sv, "GET / HTTP/1.1\r\n"sv}) {
    const auto m = decoded<Malformed>(bytes);
    EXPECT_TRUE(m.silent);
    EXPECT_EQ(m.reason, "invalid length of startup packet");
  }
  // The largest that PostgreSQL takes: 10000 bytes behind the length.
  std::string rest = "user\0u\0x\0"s + std::string(kMaxStartupPacket - 4 - 11, 'v') + "\0\0"s;
  decoded<StartupMessage>(packet(kProtocol30, rest));
  decoded<Malformed>(
      packet(kProtocol30, "user\0u\0x\0"s + std::string(kMaxStartupPacket - 4 - 10, 'v') + "\0\0"s));
}

using Pairs = std::vector<OwnedParameter>;

TEST(Options, AsPostgresSplitsThem) {
  struct Case {
    std::string_view text;
    Pairs pairs;
  };
  const Case cases[] = {
      {"", {}},
      {" \t\n ", {}},
      {"-c a=b", {{"a", "b"}}},
      {"-ca=b", {{"a", "b"}}},
      {"  -c   a=b  --c-d=e-f ", {{"a", "b"}, {"c_d", "e-f"}}},
      {R"(-c search_path=x,\ y)", {{"search_path", "x, y"}}},
      {R"(-c a=\\b\)", {{"a", "\\b"}}},
      {R"(-c a=\ )", {{"a", " "}}},
      {"-c a=", {{"a", ""}}},
      {"-c a=b=c", {{"a", "b=c"}}},
      {"-c statement-timeout=5s", {{"statement_timeout", "5s"}}},
      {"--a=b --a=c", {{"a", "b"}, {"a", "c"}}},
  };
  for (const auto& c : cases) {
    const auto r = parse_options(c.text);
    ASSERT_TRUE(std::holds_alternative<Pairs>(r)) << c.text;
    EXPECT_EQ(std::get<Pairs>(r), c.pairs) << c.text;
  }
}

TEST(Options, OthersAreNamed) {
  struct Case {
    std::string_view text, named;
    bool no_value;
  };
  const Case cases[] = {{"-c a=b -W 5", "-W", false}, {"-e", "-e", false},         {"word", "word", false},
                        {"--", "--", false},          {"-", "-", false},           {"-c", "-c", true},
                        {"-c a", "a", true},          {"--a", "a", true},          {"-c =b", "=b", true},
                        {R"(-\c a=b x)", "x", false}, {"-C data_dir", "-C", false}};
  for (const auto& c : cases) {
    const auto r = parse_options(c.text);
    ASSERT_TRUE(std::holds_alternative<OptionsError>(r)) << c.text;
    EXPECT_EQ(std::get<OptionsError>(r).text, c.named) << c.text;
    EXPECT_EQ(std::get<OptionsError>(r).no_value, c.no_value) << c.text;
  }
  EXPECT_EQ(std::get<OptionsError>(parse_options(std::string(5000, 'x'))).text.size(), 64U);
}

}  // namespace
}  // namespace sidepool::protocol
