// conf/units.cpp -- durations and sizes as text.
#include "conf/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace sidepool::conf {
namespace {

using std::chrono::nanoseconds;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 8> kTimeUnits{{{"ns", 1},
                                          {"us", 1'000},
                                          {"\u00b5s", 1'000},  // the micro sign and the Greek letter, as Go
                                          {"\u03bcs", 1'000},
                                          {"ms", 1'000'000},
                                          {"s", 1'000'000'000},
                                          {"m", 60'000'000'000},
                                          {"h", 3'600'000'000'000}}};
constexpr std::array<Unit, 5> kSizeUnits{{{"TiB", std::uint64_t{1} << 40},
                                          {"GiB", std::uint64_t{1} << 30},
                                          {"MiB", std::uint64_t{1} << 20},
                                          {"KiB", std::uint64_t{1} << 10},
                                          {"B", 1}}};

bool digit(char c) { return c >= '0' && c <= '9'; }

// The digits at the front of `text`, taken off it; nothing if they overflow. No digit at all gives 0.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

// ".5" of a unit, taken off the front of `text`; digits below a nanosecond are dropped.
struct Fraction {
  std::uint64_t value = 0;
  std::uint64_t scale = 1;
  bool any = false;
};
Fraction take_fraction(std::string_view& text) {
  Fraction f;
  if (text.empty() || text.front() != '.') return f;
  text.remove_prefix(1);
  for (; !text.empty() && digit(text.front()); text.remove_prefix(1)) {
    f.any = true;
    if (f.scale >= 1'000'000'000'000'000) continue;
    f.value = f.value * 10 + static_cast<std::uint64_t>(text.front() - '0');
    f.scale *= 10;
  }
  return f;
}

const Unit* take_unit(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && text[length] != '.' && !digit(text[length])) ++length;
  for (const Unit& unit : kTimeUnits) {
    if (text.substr(0, length) == unit.name) {
      text.remove_prefix(length);
      return &unit;
    }
  }
  return nullptr;
}

constexpr std::uint64_t kMaxNanos = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

// One "number unit" group in nanoseconds.
std::optional<std::uint64_t> take_group(std::string_view& text) {
  const bool whole_given = !text.empty() && digit(text.front());
  const auto whole = take_number(text);
  const Fraction fraction = take_fraction(text);
  if (!whole || (!whole_given && !fraction.any)) return std::nullopt;
  const Unit* unit = take_unit(text);
  if (!unit || *whole > kMaxNanos / unit->factor) return std::nullopt;
  const long double part = static_cast<long double>(fraction.value) * static_cast<long double>(unit->factor) /
                           static_cast<long double>(fraction.scale);
  return *whole * unit->factor + static_cast<std::uint64_t>(part);
}

}  // namespace

std::optional<nanoseconds> parse_duration(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text == "0") return nanoseconds{0};
  if (text.empty()) return std::nullopt;
  std::uint64_t total = 0;
  while (!text.empty()) {
    const auto group = take_group(text);
    if (!group || *group > kMaxNanos - total) return std::nullopt;
    total += *group;
  }
  const auto value = static_cast<std::int64_t>(total);
  return nanoseconds{negative ? -value : value};
}

std::optional<nanoseconds> seconds_of(double seconds) {
  if (!std::isfinite(seconds) || std::abs(seconds) > 9e9) return std::nullopt;
  return nanoseconds{static_cast<std::int64_t>(std::llround(seconds * 1e9))};
}

std::string format_duration(nanoseconds duration) {
  if (duration.count() == 0) return "0s";
  std::string text = duration.count() < 0 ? "-" : "";
  // Unsigned, because the smallest value has no positive twin.
  std::uint64_t rest = static_cast<std::uint64_t>(duration.count());
  if (duration.count() < 0) rest = 0 - rest;
  constexpr std::array<Unit, 6> kUnits{{{"h", 3'600'000'000'000},
                                        {"m", 60'000'000'000},
                                        {"s", 1'000'000'000},
                                        {"ms", 1'000'000},
                                        {"us", 1'000},
                                        {"ns", 1}}};
  for (const Unit& unit : kUnits) {
    if (rest >= unit.factor) text.append(std::to_string(rest / unit.factor)).append(unit.name);
    rest %= unit.factor;
  }
  return text;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  if (text.empty() || !digit(text.front())) return std::nullopt;
  const auto number = take_number(text);
  if (!number) return std::nullopt;
  for (const Unit& unit : kSizeUnits) {
    if (text != unit.name) continue;
    if (*number > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
    return *number * unit.factor;
  }
  return std::nullopt;
}

std::string format_size(std::uint64_t bytes) {
  for (const Unit& unit : kSizeUnits) {
    if (bytes >= unit.factor && bytes % unit.factor == 0) {
      return std::to_string(bytes / unit.factor).append(unit.name);
    }
  }
  return "0B";
}

}  // namespace sidepool::conf
