// src/base/rfc3339.cpp -- g++ 12 has no chrono parsing and no time zones, so the dates are read by hand.
#include "src/base/rfc3339.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace sidepool {

namespace {

bool digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Takes exactly `n` digits off the front of `s`; -1 if they are not there.
int number(std::string_view& s, std::size_t n) noexcept {
  if (s.size() < n) return -1;
  int v = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (!digit(s[i])) return -1;
    v = v * 10 + (s[i] - '0');
  }
  s.remove_prefix(n);
  return v;
}

bool take(std::string_view& s, char a, char b) noexcept {
  if (s.empty() || (s.front() != a && s.front() != b)) return false;
  s.remove_prefix(1);
  return true;
}

std::optional<std::chrono::microseconds> fraction(std::string_view& s) noexcept {
  if (s.empty() || s.front() != '.') return std::chrono::microseconds(0);
  s.remove_prefix(1);
  if (s.empty() || !digit(s.front())) return std::nullopt;
  std::int64_t us = 0, unit = 100000;
  while (!s.empty() && digit(s.front())) {
    us += (s.front() - '0') * unit;
    unit /= 10;
    s.remove_prefix(1);
  }
  return std::chrono::microseconds(us);
}

std::optional<std::chrono::minutes> offset(std::string_view& s) noexcept {
  if (take(s, 'Z', 'z')) return std::chrono::minutes(0);
  if (s.empty()) return std::nullopt;
  const bool west = s.front() == '-';
  if (!take(s, '+', '-')) return std::nullopt;
  const int h = number(s, 2);
  if (h < 0 || h > 23 || !take(s, ':', ':')) return std::nullopt;
  const int m = number(s, 2);
  if (m < 0 || m > 59) return std::nullopt;
  const std::chrono::minutes total(h * 60 + m);
  return west ? -total : total;
}

std::string format(const std::tm& t, long offset_seconds, bool utc) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d", t.tm_year + 1900, t.tm_mon + 1,
                t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec);
  std::string out(text.data());
  if (utc) return out + 'Z';
  const long minutes = std::abs(offset_seconds) / 60;
  std::snprintf(text.data(), text.size(), "%c%02ld:%02ld", offset_seconds < 0 ? '-' : '+', minutes / 60,
                minutes % 60);
  return out + text.data();
}

}  // namespace

std::optional<WallTime> parse_rfc3339(std::string_view s) noexcept {
  const int year = number(s, 4);
  if (year < 0 || !take(s, '-', '-')) return std::nullopt;
  const int month = number(s, 2);
  if (month < 0 || !take(s, '-', '-')) return std::nullopt;
  const int day = number(s, 2);
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (day < 0 || !date.ok() || s.empty() || (s.front() != 'T' && s.front() != 't' && s.front() != ' '))
    return std::nullopt;
  s.remove_prefix(1);
  const int hour = number(s, 2);
  if (hour < 0 || hour > 23 || !take(s, ':', ':')) return std::nullopt;
  const int minute = number(s, 2);
  if (minute < 0 || minute > 59 || !take(s, ':', ':')) return std::nullopt;
  const int second = number(s, 2);
  if (second < 0 || second > 60) return std::nullopt;
  const auto us = fraction(s);
  if (!us) return std::nullopt;
  const auto zone = offset(s);
  if (!zone || !s.empty()) return std::nullopt;
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second) + *us - *zone;
}

std::string format_rfc3339(WallTime when) {
  const std::time_t t = std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(when));
  std::tm utc{};
  ::gmtime_r(&t, &utc);
  return format(utc, 0, true);
}

std::string format_rfc3339_local(WallTime when) {
  const std::time_t t = std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(when));
  std::tm local{};
  ::localtime_r(&t, &local);
  return format(local, local.tm_gmtoff, local.tm_gmtoff == 0);
}

}  // namespace sidepool
