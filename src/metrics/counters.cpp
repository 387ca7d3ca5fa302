// src/metrics/counters.cpp -- counts by reason.
#include "src/metrics/counters.h"

namespace sidepool::metrics {

void ReasonCounts::add(std::string_view reason, std::uint64_t n) {
  std::string word(reason.substr(0, kLongest));
  for (char& c : word) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) c = '_';
  }
  if (word.empty()) word = "other";
  const std::lock_guard lock(mutex_);
  auto found = counts_.find(word);
  if (found == counts_.end()) {
    if (counts_.size() + 1 >= kMost) word = "other";
    found = counts_.try_emplace(word, 0).first;
  }
  found->second += n;
}

std::map<std::string, std::uint64_t> ReasonCounts::read() const {
  const std::lock_guard lock(mutex_);
  return {counts_.begin(), counts_.end()};
}

}  // namespace sidepool::metrics
