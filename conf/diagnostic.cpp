// conf/diagnostic.cpp -- texts and places of diagnostics, and guesses at what was meant.
#include "conf/diagnostic.h"

#include <algorithm>
#include <utility>

namespace sidepool::conf {
namespace {

char lower(char c) {
  if (c == '-') return '_';
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Edits between two words, a swap of neighbours being one (optimal string alignment). Case, and - against _,
// are free.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      const bool swapped =
          i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string to_string(const Diagnostic& diagnostic) {
  if (diagnostic.file.empty()) return diagnostic.what;
  std::string text = diagnostic.file;
  if (diagnostic.at.line != 0) {
    text.append(":").append(std::to_string(diagnostic.at.line));
    text.append(":").append(std::to_string(diagnostic.at.column));
  }
  return text.append(": ").append(diagnostic.what);
}

std::optional<Position> Places::find(const std::string& path) const {
  const auto found = at_.find(path);
  if (found == at_.end()) return std::nullopt;
  return found->second;
}

Diagnostic Places::at(const std::vector<std::string>& paths, std::string what) const {
  for (const std::string& path : paths) {
    if (const auto position = find(path)) return {file_, *position, std::move(what)};
  }
  return {{}, {}, std::move(what)};
}

void Places::renumber_upstreams(const std::vector<std::optional<std::size_t>>& from) {
  std::map<std::string, Position> kept;
  for (const auto& [path, position] : at_) {
    if (path.rfind("upstream[", 0) != 0) kept.emplace(path, position);
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (!from[i]) continue;
    const std::string old = "upstream[" + std::to_string(*from[i]) + "]";
    for (auto it = at_.lower_bound(old); it != at_.end() && it->first.rfind(old, 0) == 0; ++it) {
      kept.emplace("upstream[" + std::to_string(i) + "]" + it->first.substr(old.size()), it->second);
    }
  }
  at_ = std::move(kept);
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 160;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out.push_back(c);
    }
  }
  return out.append(text.size() > kMost ? "\"..." : "\"");
}

std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates) {
  constexpr std::size_t kLongestWord = 64;
  if (word.size() > kLongestWord) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t d = distance(word, candidate);
    if (d < best_distance && d < std::max(word.size(), candidate.size())) {
      best = candidate;
      best_distance = d;
    }
  }
  // The beginning of a name is a likelier slip than two wrong letters.
  if ((best && best_distance < 2) || word.size() < 4) return best;
  for (const std::string_view candidate : candidates) {
    if (candidate.substr(0, word.size()) == word) return candidate;
  }
  return best;
}

}  // namespace sidepool::conf
