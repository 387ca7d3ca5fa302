// src/base/log_text.cpp -- what a log line looks like (cloudsql.md §6.11): plain or one JSON object.
#include <fmt/format.h>

#include <cmath>
#include <ctime>

#include "src/base/log.h"
#include "src/base/rfc3339.h"

namespace sidepool::log {

namespace {

// Length of the UTF-8 sequence at the front of `s`, 0 if there is none (RFC 3629: no overlong forms, no
// surrogates).
std::size_t utf8_length(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned a = byte(0), b = byte(1);
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return tail(1) ? 2 : 0;
  if (a >= 0xe0 && a <= 0xef) {
    const bool ok = tail(1) && tail(2) && !(a == 0xe0 && b < 0xa0) && !(a == 0xed && b > 0x9f);
    return ok ? 3 : 0;
  }
  if (a >= 0xf0 && a <= 0xf4) {
    const bool ok = tail(1) && tail(2) && tail(3) && !(a == 0xf0 && b < 0x90) && !(a == 0xf4 && b > 0x8f);
    return ok ? 4 : 0;
  }
  return 0;
}

// C1 control characters are U+0080..U+009F: a terminal may obey them.
bool is_c1(std::string_view s, std::size_t n) noexcept {
  return n == 2 && static_cast<unsigned char>(s[0]) == 0xc2 && static_cast<unsigned char>(s[1]) < 0xa0;
}

// Appends `s` so that it stays on its line and cannot end a quoted string if `quoted`.
void escape_plain(std::string& out, std::string_view s, bool quoted) {
  while (!s.empty()) {
    const auto c = static_cast<unsigned char>(s.front());
    const std::size_t n = utf8_length(s);
    if (n == 0 || is_c1(s, n)) {
      for (std::size_t i = 0; i < std::max<std::size_t>(n, 1); ++i)
        fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(s[i]));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", c);
    } else {
      if (quoted && (c == '"' || c == '\\')) out += '\\';
      out += s.substr(0, n);
    }
    s.remove_prefix(std::max<std::size_t>(n, 1));
  }
}

void escape_json(std::string& out, std::string_view s) {
  out += '"';
  while (!s.empty()) {
    const auto c = static_cast<unsigned char>(s.front());
    const std::size_t n = utf8_length(s);
    if (n == 0) {
      out += "\\ufffd";
    } else if (is_c1(s, n)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(s[1]));
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", c);
    } else {
      out += s.substr(0, n);
    }
    s.remove_prefix(std::max<std::size_t>(n, 1));
  }
  out += '"';
}

bool needs_quotes(std::string_view s) noexcept {
  if (s.empty()) return true;
  for (const char c : s)
    if (c == ' ' || c == '"' || c == '=' || static_cast<unsigned char>(c) < 0x21) return true;
  return false;
}

void put_number(std::string& out, double v, bool json) {
  if (json && !std::isfinite(v)) {
    out += "null";  // JSON has no NaN and no infinity (RFC 8259 §6)
    return;
  }
  fmt::format_to(std::back_inserter(out), "{}", v);
}

void put_value(std::string& out, const Field::Value& value, bool json) {
  if (const auto* s = std::get_if<std::string_view>(&value)) {
    if (json) return escape_json(out, *s);
    const bool quoted = needs_quotes(*s);
    if (quoted) out += '"';
    escape_plain(out, *s, quoted);
    if (quoted) out += '"';
  } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
    fmt::format_to(std::back_inserter(out), "{}", *i);
  } else if (const auto* u = std::get_if<std::uint64_t>(&value)) {
    fmt::format_to(std::back_inserter(out), "{}", *u);
  } else if (const auto* d = std::get_if<double>(&value)) {
    put_number(out, *d, json);
  } else {
    out += std::get<bool>(value) ? "true" : "false";
  }
}

std::string_view severity(Level level) noexcept {
  switch (level) {
    case Level::Debug:
      return "DEBUG";
    case Level::Info:
      return "INFO";
    case Level::Warn:
      return "WARNING";
    case Level::Error:
      return "ERROR";
  }
  return "ERROR";
}

}  // namespace

std::string render_plain(WallTime when, std::string_view message, std::span<const Field> fields) {
  const std::time_t t = std::chrono::system_clock::to_time_t(when);
  std::tm local{};
  ::localtime_r(&t, &local);
  std::string out;
  out.reserve(message.size() + 64 + fields.size() * 32);
  fmt::format_to(std::back_inserter(out), "{:04}/{:02}/{:02} {:02}:{:02}:{:02} ", local.tm_year + 1900,
                 local.tm_mon + 1, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
  escape_plain(out, message, false);
  for (const Field& f : fields) {
    out += ' ';
    out += f.key;
    out += '=';
    put_value(out, f.value, false);
  }
  return out;
}

std::string render_json(WallTime when, Level level, std::string_view message, std::span<const Field> fields) {
  std::string out;
  out.reserve(message.size() + 96 + fields.size() * 32);
  out += "{\"timestamp\":\"";
  out += format_rfc3339_local(when);
  out += "\",\"severity\":\"";
  out += severity(level);
  out += "\",\"message\":";
  escape_json(out, message);
  for (const Field& f : fields) {
    out += ',';
    escape_json(out, f.key);
    out += ':';
    put_value(out, f.value, true);
  }
  out += '}';
  return out;
}

}  // namespace sidepool::log
