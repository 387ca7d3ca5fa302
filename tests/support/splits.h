// tests/support/splits.h -- feeds a transcript in pieces: a machine must not care where reads end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sidepool::test {

using Pieces = std::vector<std::span<const std::uint8_t>>;

// Calls check(pieces) with the bytes whole, byte by byte, cut once at every place, and, while that stays
// cheap (up to `pairs_up_to` bytes), cut twice at every pair of places. Pieces are never empty and point into
// `bytes`.
template <class Check>
void for_every_split(std::span<const std::uint8_t> bytes, Check&& check, std::size_t pairs_up_to = 64) {
  const auto cut = [&](std::size_t i, std::size_t j) {
    Pieces pieces;
    for (const auto& p : {bytes.first(i), bytes.subspan(i, j - i), bytes.subspan(j)}) {
      if (!p.empty()) pieces.push_back(p);
    }
    check(pieces);
  };
  Pieces single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.subspan(i, 1));
  check(single);
  cut(0, 0);
  for (std::size_t i = 1; i < bytes.size(); ++i) {
    cut(i, i);
    for (std::size_t j = i + 1; j < bytes.size() && bytes.size() <= pairs_up_to; ++j) cut(i, j);
  }
}

}  // namespace sidepool::test
