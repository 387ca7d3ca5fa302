// The framer: however the bytes are cut, the slices add up to the input and to the same messages.
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/frame.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

using namespace sidepool;

namespace {

struct Result {
  std::string bytes;                // all slices together
  std::vector<std::string> bodies;  // per message, the last may be partial
  bool bad = false;
};

void feed(protocol::Framer& f, protocol::Bytes in, Result& r) {
  while (const auto s = f.next(in)) {
    r.bytes.append(protocol::as_text(s->bytes));
    if (s->first) r.bodies.emplace_back();
    r.bodies.back().append(protocol::as_text(s->body()));
    test::require(r.bodies.back().size() <= s->body_size, "no slice exceeds its message");
    test::require(s->last == (r.bodies.back().size() == s->body_size), "last means complete");
  }
  test::require(in.empty() || f.bad(), "good bytes are taken");
  r.bad = f.bad();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::FuzzInput input(data, size);
  const std::uint32_t limit = input.byte() * 16U;
  const std::size_t step = 1 + input.byte() % 16U;
  const auto all = input.rest();
  Result whole, pieces;
  protocol::Framer one(limit), two(limit);
  feed(one, all, whole);
  for (std::size_t i = 0; i < all.size() && !pieces.bad; i += step) {
    feed(two, all.subspan(i, std::min(step, all.size() - i)), pieces);
  }
  test::require(whole.bad == pieces.bad, "any split finds the same fault");
  test::require(whole.bodies == pieces.bodies, "any split gives the same messages");
  const auto text = protocol::as_text(all);
  test::require(text.starts_with(whole.bytes) && text.starts_with(pieces.bytes), "slices are the input");
  return 0;
}
