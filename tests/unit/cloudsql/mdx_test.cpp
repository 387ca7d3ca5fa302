// The metadata exchange in front of PostgreSQL's bytes.
#include "src/cloudsql/mdx.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace sidepool::cloudsql {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes bytes(std::string_view text) { return {text.begin(), text.end()}; }

Bytes reply(Bytes payload) {
  Bytes out = bytes("CSQLMDEX");
  const auto n = static_cast<std::uint32_t>(payload.size());
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(n >> shift));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

// Feeds `in` cut in two and returns what was left for PostgreSQL.
Bytes feed_split(MdxReply& machine, const Bytes& in, std::size_t cut) {
  Bytes rest;
  for (const auto& [from, to] : {std::pair{std::size_t{0}, cut}, std::pair{cut, in.size()}}) {
    std::span<const std::uint8_t> part{in.data() + from, to - from};
    if (machine.state() == MdxReply::State::More) machine.feed(part);
    rest.insert(rest.end(), part.begin(), part.end());
  }
  return rest;
}

TEST(MdxFrame, Bytes) {
  const auto tcp = mdx_frame(ClientProtocol::Tcp);
  EXPECT_EQ(Bytes(tcp.begin(), tcp.end()), reply({0x10, 0x01}));
  const auto uds = mdx_frame(ClientProtocol::UnixSocket);
  EXPECT_EQ(Bytes(uds.begin(), uds.end()), reply({0x10, 0x03}));
}

TEST(MdxReply, EveryOtherFirstByteMeansNoAnswer) {
  for (int first = 0; first < 256; ++first) {
    if (first == 'C') continue;
    const Bytes in{static_cast<std::uint8_t>(first), 'C', 'S'};
    std::span<const std::uint8_t> view{in};
    MdxReply machine;
    EXPECT_EQ(machine.feed(view), MdxReply::State::None);
    EXPECT_EQ(view.size(), 3U);
  }
}

TEST(MdxReply, AnswersAtEverySplit) {
  struct Case {
    Bytes payload;
    MdxReply::State state;
    std::string message;
  };
  Bytes refused{0x08, 0x02, 0x12, 0x05, 'n', '\n', 'p', 'e', '!'};
  const Case cases[] = {
      {{0x08, 0x01}, MdxReply::State::Ok, ""},
      {{}, MdxReply::State::Ok, ""},
      {{0x08, 0x00}, MdxReply::State::Ok, ""},
      {refused, MdxReply::State::Refused, "n?pe!"},
      {{0x18, 0x96, 0x01, 0x22, 0x01, 'x', 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 0x35, 1, 2, 3, 4, 0x08, 0x01},
       MdxReply::State::Ok,
       ""},
  };
  for (const Case& c : cases) {
    Bytes in = reply(c.payload);
    in.push_back('R');
    in.push_back('S');
    for (std::size_t cut = 0; cut <= in.size(); ++cut) {
      MdxReply machine;
      EXPECT_EQ(feed_split(machine, in, cut), bytes("RS")) << cut;
      EXPECT_EQ(machine.state(), c.state) << cut;
      EXPECT_EQ(machine.message(), c.message);
    }
  }
}

TEST(MdxReply, MalformedAnswersAtEverySplit) {
  Bytes too_long = bytes("CSQLMDEX");
  too_long.insert(too_long.end(), {0x00, 0x00, 0x40, 0x01});
  const Bytes cases[] = {
      bytes("CSQLMDEY"),
      bytes("COMMAND"),
      too_long,
      reply({0x08}),
      reply({0x12, 0x05, 'x'}),
      reply({0x0b}),
      reply({0x00, 0x01}),
      reply({0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}),
      reply({0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}),
  };
  for (const Bytes& in : cases)
    for (std::size_t cut = 0; cut <= in.size(); ++cut) {
      MdxReply machine;
      feed_split(machine, in, cut);
      EXPECT_EQ(machine.state(), MdxReply::State::Bad);
      EXPECT_NE(machine.message(), "");
    }
}

TEST(MdxReply, TheLongestAnswer) {
  Bytes payload{0x1a, 0xfd, 0x7f};  // an unknown field of 16381 bytes: 16384 in all
  payload.resize(kMaxMdxReply, 'e');
  const Bytes in = reply(payload);
  std::span<const std::uint8_t> view{in};
  MdxReply machine;
  EXPECT_EQ(machine.feed(view), MdxReply::State::Ok);
  EXPECT_TRUE(view.empty());
}

TEST(MdxReply, HalfAnAnswerIsNotOne) {
  const Bytes in = reply({0x08, 0x01});
  std::span<const std::uint8_t> view{in.data(), in.size() - 1};
  MdxReply machine;
  EXPECT_EQ(machine.feed(view), MdxReply::State::More);
}

}  // namespace
}  // namespace sidepool::cloudsql
