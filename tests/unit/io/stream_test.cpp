// tests/unit/io/stream_test.cpp -- what plain and TLS streams have in common: short writes and ends.
#include "src/io/stream.h"

#include <array>
#include <vector>

#include "src/io/outbox.h"
#include "tests/unit/io/stream_fixture.h"

namespace sidepool::io {
namespace {

class BothKinds : public StreamTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Kind, BothKinds, testing::Bool(),
                         [](const auto& p) { return std::string(p.param ? "Tls" : "Plain"); });

TEST_P(BothKinds, ReadsWhatWasWritten) {
  Pair p = ready_pair(GetParam());
  EXPECT_EQ(p.client.tls() != nullptr, GetParam());
  ASSERT_EQ(p.client.write(bytes("hello")).status, Io::Done);
  const std::array<ConstBytes, 4> pieces{bytes(" wor"), bytes(""), bytes("l"), bytes("d")};
  const auto w = p.client.writev(pieces);
  EXPECT_EQ(w.status, Io::Done);
  EXPECT_EQ(w.n, 6u);
  std::array<std::uint8_t, 64> b;
  std::string got;
  while (got.size() < 11) {
    const auto r = p.server.read(b);
    ASSERT_EQ(r.status, Io::Done);
    ASSERT_GT(r.n, 0u);
    got.append(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(r.n));
  }
  EXPECT_EQ(got, "hello world");
  EXPECT_EQ(p.server.read(b).status, Io::WantRead);
  EXPECT_FALSE(p.server.holds_input());
}

TEST_P(BothKinds, AnEmptyWriteIsNothing) {
  Pair p = ready_pair(GetParam());
  EXPECT_EQ(p.client.write({}).status, Io::Done);
  EXPECT_EQ(p.client.writev({}).status, Io::Done);
  std::array<std::uint8_t, 8> b;
  EXPECT_EQ(p.server.read(b).status, Io::WantRead);
}

// A peer that reads slowly through small socket buffers: every byte arrives once and in order, whatever
// prefix each write took; the outbox and the stream's sealed record are the only memory.
TEST_P(BothKinds, ShortWritesLoseAndRepeatNothing) {
  Pair p = ready_pair(GetParam());
  const int small = 4096;
  ::setsockopt(p.client.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  const std::string sent = pattern(3 << 20);
  std::string got;
  ChunkPool pool;
  Outbox box(pool);
  std::mt19937 rng(5);
  std::size_t offered = 0, waits = 0;
  std::vector<std::uint8_t> b(70000);
  while (got.size() < sent.size()) {
    const bool may_write = box.empty() && !p.client.holds_output();
    if (may_write && offered < sent.size()) {
      const auto n = std::min<std::size_t>(sent.size() - offered, 1 + rng() % 65536);
      const auto chunk = bytes(std::string_view(sent).substr(offered, n));
      IoResult w{};
      if (rng() % 2 && n > 10) {
        const std::array<ConstBytes, 3> pieces{chunk.first(5), chunk.subspan(5, n / 3),
                                               chunk.subspan(5 + n / 3)};
        w = p.client.writev(pieces);
      } else {
        w = p.client.write(chunk);
      }
      ASSERT_TRUE(w.status == Io::Done ? w.n == n : w.status == Io::WantWrite);
      waits += w.status == Io::WantWrite;
      box.append(chunk.subspan(w.n));
      offered += n;
    } else if (rng() % 2) {
      const auto w = box.flush(p.client);
      ASSERT_TRUE(w.status == Io::Done || w.status == Io::WantWrite);
    }
    const auto r = p.server.read(MutBytes(b).first(1 + rng() % b.size()));
    ASSERT_TRUE(r.status == Io::Done || r.status == Io::WantRead);
    got.append(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(r.n));
    ASSERT_LE(got.size(), sent.size());
  }
  EXPECT_TRUE(got == sent);
  EXPECT_GT(waits, 3u);
  EXPECT_EQ(pool.lent(), 0u);
}

TEST_P(BothKinds, TheEndComesBehindTheBytes) {
  Pair p = ready_pair(GetParam());
  ASSERT_EQ(p.client.write(bytes("last words")).status, Io::Done);
  p.client.close();
  EXPECT_FALSE(p.client.open());
  std::array<std::uint8_t, 64> b;
  const auto r = p.server.read(b);
  EXPECT_EQ(r.status, Io::Done);
  EXPECT_EQ(r.n, 10u);
  EXPECT_EQ(p.server.read(b).status, Io::Closed);
  EXPECT_EQ(p.server.read(b).status, Io::Closed);
}

TEST_P(BothKinds, AfterShutdownWriteTheOtherDirectionGoesOn) {
  Pair p = ready_pair(GetParam());
  p.client.shutdown_write();
  std::array<std::uint8_t, 64> b;
  EXPECT_EQ(p.server.read(b).status, Io::Closed);
  ASSERT_EQ(p.server.write(bytes("still here")).status, Io::Done);
  EXPECT_EQ(p.client.read(b).n, 10u);
}

TEST_P(BothKinds, WritingToAClosedPeerFails) {
  Pair p = ready_pair(GetParam());
  p.server.close();
  IoResult w{Io::Done, 0};
  for (int i = 0; i < 3 && w.status == Io::Done; ++i) w = p.client.write(bytes("x"));
  EXPECT_EQ(w.status, Io::Failed);
  EXPECT_EQ(p.client.error(), EPIPE);
  EXPECT_EQ(p.client.write(bytes("x")).status, Io::Failed);
  EXPECT_FALSE(p.client.error_text().empty());
}

}  // namespace
}  // namespace sidepool::io
