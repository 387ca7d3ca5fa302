// bench/load/histogram.h -- latencies with a bounded relative error, as HdrHistogram keeps them: a power of
// two is divided into 128 equal buckets, so a quantile is at most 0.8 % off. Debian 12 packages no C or C++
// HdrHistogram.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace sidepool::bench {

class Histogram {
 public:
  void record(std::uint64_t value) {
    ++counts_[bucket(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }
  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t max() const noexcept { return max_; }
  double mean() const noexcept {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  // The smallest value that at least `q` of all are not above, within the error. 0 without values.
  std::uint64_t quantile(double q) const noexcept {
    const auto wanted =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(highest(i), max_);
    }
    return max_;
  }

 private:
  static constexpr unsigned kBits = 7;  // 128 buckets a power of two; values below 256 are exact

  static std::size_t bucket(std::uint64_t value) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    const unsigned shift = width <= kBits + 1 ? 0 : width - (kBits + 1);
    return (std::size_t{shift} << kBits) + (value >> shift);
  }
  static std::uint64_t highest(std::size_t bucket) noexcept {
    const std::uint64_t shift = bucket < (2U << kBits) ? 0 : (bucket >> kBits) - 1;
    return ((bucket - (shift << kBits) + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(bucket(~0ULL) + 1);
  std::uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace sidepool::bench
