// The SQL scanner: any text, cut anywhere, gives the same judgement, and a result within its bounds.
// First byte: standard_conforming_strings, encoding. Second: seed of the cuts. The rest is the text.
#include <algorithm>
#include <cstdint>

#include "protocol/sql_scan.h"
#include "tests/fuzz/require.h"

namespace {

using namespace sidepool::protocol;
using sidepool::test::require;

bool same(const SettingNames& a, const SettingNames& b) {
  if (a.size() != b.size() || a.overflow() != b.overflow()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a.name(i) != b.name(i) || a.reset(i) != b.reset(i)) return false;
  }
  return true;
}

bool same(const ScanResult& a, const ScanResult& b) {
  return a.effects == b.effects && a.statements == b.statements && a.tx == b.tx &&
         a.lone_deallocate == b.lone_deallocate && a.deallocate_name() == b.deallocate_name() &&
         same(a.settings, b.settings);
}

void check_bounds(const ScanResult& r) {
  require(r.settings.size() <= SettingNames::kMaxNames, "names are bounded");
  for (std::size_t i = 0; i < r.settings.size(); ++i) {
    for (const char c : r.settings.name(i)) require(c < 'A' || c > 'Z', "names are folded");
  }
  require(r.deallocate_name().size() <= 63, "a name is as PostgreSQL keeps it");
  require((r.lone_deallocate == LoneDeallocate::Name) == !r.deallocate_name().empty(),
          "a lone DEALLOCATE has a name");
  require(r.effects.has(Effect::Unsure) == (r.tx == TxVerb::Unknown), "unsure is unknown");
  require(r.settings.size() == 0 || r.effects.has_any(Effect::SetSession | Effect::Reset),
          "names come from SET or RESET");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const bool conforming = (data[0] & 1) == 0;
  const auto encoding = static_cast<EncodingClass>((data[0] >> 1) % 4);
  std::uint32_t seed = data[1];
  const Bytes text(data + 2, size - 2);

  SqlScanner whole(conforming, encoding);
  whole.feed(text);
  const ScanResult expected = whole.finish();
  check_bounds(expected);

  SqlScanner bytes(conforming, encoding);
  for (std::size_t i = 0; i < text.size(); ++i) bytes.feed(text.subspan(i, 1));
  require(same(bytes.finish(), expected), "bytes one by one");

  SqlScanner pieces(conforming, encoding);
  for (std::size_t at = 0; at < text.size();) {
    seed = seed * 1664525U + 1013904223U;
    const std::size_t n = std::min<std::size_t>(1 + (seed >> 28), text.size() - at);
    pieces.feed(text.subspan(at, n));
    at += n;
  }
  require(same(pieces.finish(), expected), "pieces");
  return 0;
}
