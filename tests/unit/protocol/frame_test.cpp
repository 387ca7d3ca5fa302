// Framing: every split of the bytes gives the same messages.
#include "protocol/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sidepool::protocol {
namespace {

std::string message(char type, std::string_view body) {
  std::string m(1, type);
  const auto n = static_cast<std::uint32_t>(body.size() + 4);
  for (int shift = 24; shift >= 0; shift -= 8) m += static_cast<char>(n >> shift);
  return m.append(body);
}

struct Seen {
  char type;
  std::string bytes;
  bool operator==(const Seen&) const = default;
};

void feed(Framer& f, Bytes in, std::vector<Seen>& seen) {
  while (const auto s = f.next(in)) {
    if (s->first) seen.push_back({s->type, {}});
    seen.back().bytes.append(as_text(s->bytes));
  }
}

TEST(Framer, EverySplitGivesTheSameMessages) {
  const std::string stream =
      message('Q', std::string("select 1\0", 9)) + message('S', "") + message('d', "xyz");
  std::vector<Seen> whole;
  Framer once(100);
  feed(once, as_bytes(stream), whole);
  ASSERT_EQ(whole.size(), 3U);
  for (std::size_t i = 0; i <= stream.size(); ++i) {
    for (std::size_t j = i; j <= stream.size(); ++j) {
      Framer f(100);
      std::vector<Seen> seen;
      feed(f, as_bytes(stream).first(i), seen);
      feed(f, as_bytes(stream).subspan(i, j - i), seen);
      feed(f, as_bytes(stream).subspan(j), seen);
      EXPECT_EQ(seen, whole) << i << " " << j;
      EXPECT_TRUE(f.at_boundary());
    }
  }
}

TEST(Framer, RefusesLengthsItCannotFollow) {
  for (const auto& bad :
       {std::string("Q\0\0\0\3", 5), std::string("Q\0\0\0\x69", 5), std::string("Q\xff\xff\xff\xff", 5)}) {
    Framer f(100);
    Bytes in = as_bytes(bad);
    EXPECT_FALSE(f.next(in));
    EXPECT_TRUE(f.bad());
    EXPECT_EQ(f.bad_type(), 'Q');
  }
}

TEST(Framer, LargestBodyPasses) {
  Framer f(100);
  const std::string m = message('d', std::string(100, 'x'));
  Bytes in = as_bytes(m);
  const auto s = f.next(in);
  ASSERT_TRUE(s);
  EXPECT_TRUE(s->first && s->last);
  EXPECT_EQ(s->body().size(), 100U);
}

}  // namespace
}  // namespace sidepool::protocol
