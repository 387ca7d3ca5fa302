// src/metrics/families.cpp -- building metric families in prometheus-cpp's types.
#include "src/metrics/families.h"

#include <limits>

namespace sidepool::metrics {

namespace {

// Length of the well-formed UTF-8 sequence at the front of `s` (Unicode 15, table 3-7), 0 if there is none.
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const auto tail = [&](std::size_t i) { return i < s.size() && (byte(i) & 0xc0u) == 0x80u; };
  const unsigned char b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return tail(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    if (!tail(1) || !tail(2)) return 0;
    const bool overlong = b == 0xe0 && byte(1) < 0xa0, surrogate = b == 0xed && byte(1) >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    if (!tail(1) || !tail(2) || !tail(3)) return 0;
    const bool overlong = b == 0xf0 && byte(1) < 0x90, beyond = b == 0xf4 && byte(1) >= 0x90;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

}  // namespace

std::string label_value(std::string_view text) {
  constexpr std::size_t kLongest = 128;
  std::string out;
  while (!text.empty() && out.size() < kLongest) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

Labels with(const Labels& labels, std::string_view name, std::string_view value) {
  Labels more = labels;
  more.emplace_back(name, value);
  return more;
}

Family::Family(std::string name, std::string help, prometheus::MetricType type)
    : family_{std::move(name), std::move(help), type, {}} {}

prometheus::ClientMetric& Family::sample(const Labels& labels) {
  auto& metric = family_.metric.emplace_back();
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

void Family::add(const Labels& labels, double value) {
  auto& metric = sample(labels);
  metric.counter.value = value;
  metric.gauge.value = value;
}

void Family::add(const Labels& labels, const Distribution& distribution) {
  std::array<double, Distribution::kBuckets> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i) bounds[i] = Distribution::bound_seconds(i);
  add(labels, bounds.data(), distribution.buckets.data(), bounds.size(), distribution.count,
      static_cast<double>(distribution.nanoseconds) / 1e9);
}

void Family::add(const Labels& labels, const double* bounds, const std::uint64_t* counts, std::size_t n,
                 std::uint64_t total, double sum) {
  auto& h = sample(labels).histogram;
  std::uint64_t so_far = 0;
  h.bucket.reserve(n + 1);
  for (std::size_t i = 0; i < n; ++i) h.bucket.push_back({so_far += counts[i], bounds[i]});
  h.bucket.push_back({total, std::numeric_limits<double>::infinity()});
  h.sample_count = total;
  h.sample_sum = sum;
}

void Family::move_to(std::vector<prometheus::MetricFamily>& page) {
  if (!family_.metric.empty()) page.push_back(std::move(family_));
}

}  // namespace sidepool::metrics
