// pool/settings.cpp -- see settings.h.
#include "pool/settings.h"

#include <algorithm>
#include <array>

namespace sidepool::pool {
namespace {

constexpr unsigned char lower(char c) noexcept {
  const auto u = static_cast<unsigned char>(c);
  return u >= 'A' && u <= 'Z' ? static_cast<unsigned char>(u + ('a' - 'A')) : u;
}

template <std::size_t N>
bool listed(const std::array<std::string_view, N>& names, std::string_view name) noexcept {
  return std::any_of(names.begin(), names.end(), [name](std::string_view n) { return same_name(n, name); });
}

}  // namespace

std::uint16_t reported_bit(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kReportedNames.size(); ++i) {
    if (same_name(kReportedNames[i], name)) return static_cast<std::uint16_t>(1U << i);
  }
  return 0;
}

// Names nearly always come in the same case, so bytes are folded only where they differ.
bool same_name(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  return a == b ||
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool name_less(std::string_view a, std::string_view b) noexcept {
  const auto common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (a[i] != b[i] && lower(a[i]) != lower(b[i])) return lower(a[i]) < lower(b[i]);
  }
  return a.size() < b.size();
}

const std::string* SettingSet::find(std::string_view name) const noexcept {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const Entry& e, std::string_view n) { return name_less(e.first, n); });
  return at != entries_.end() && same_name(at->first, name) ? &at->second : nullptr;
}

void SettingSet::set(std::string_view name, std::string_view value) {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const Entry& e, std::string_view n) { return name_less(e.first, n); });
  if (at != entries_.end() && same_name(at->first, name)) {
    at->second = value;
  } else {
    entries_.emplace(at, std::string(name), std::string(value));
  }
}

void SettingSet::erase(std::string_view name) {
  std::erase_if(entries_, [name](const Entry& e) { return same_name(e.first, name); });
}

bool operator==(const SettingSet& a, const SettingSet& b) noexcept {
  return std::equal(
      a.entries_.begin(), a.entries_.end(), b.entries_.begin(), b.entries_.end(),
      [](const auto& x, const auto& y) { return same_name(x.first, y.first) && x.second == y.second; });
}

bool equal(const Settings& a, const Settings& b) noexcept {
  if (a == b) return true;
  if (!a || !b) return (a ? a : b)->empty();
  return *a == *b;
}

bool identical(const SettingSet& a, const SettingSet& b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

const std::string* find(const Settings& s, std::string_view name) noexcept {
  return s ? s->find(name) : nullptr;
}

Settings with(const Settings& s, std::string_view name, std::string_view value) {
  const auto* now = find(s, name);
  if (now && *now == value) return s;
  auto changed = s ? std::make_shared<SettingSet>(*s) : std::make_shared<SettingSet>();
  changed->set(name, value);
  return changed;
}

Settings without(const Settings& s, std::string_view name) {
  if (!find(s, name)) return s;
  auto changed = std::make_shared<SettingSet>(*s);
  changed->erase(name);
  if (changed->empty()) return nullptr;
  return changed;
}

bool read_only(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 6> kNames{"server_version",    "server_encoding",
                                                          "integer_datetimes", "is_superuser",
                                                          "in_hot_standby",    "session_authorization"};
  return listed(kNames, name);
}

bool harmless_to_parse(std::string_view name) noexcept {
  static constexpr std::array<std::string_view, 19> kNames{"application_name",
                                                           "statement_timeout",
                                                           "lock_timeout",
                                                           "idle_in_transaction_session_timeout",
                                                           "idle_session_timeout",
                                                           "transaction_timeout",
                                                           "extra_float_digits",
                                                           "bytea_output",
                                                           "work_mem",
                                                           "hash_mem_multiplier",
                                                           "maintenance_work_mem",
                                                           "temp_buffers",
                                                           "logical_decoding_work_mem",
                                                           "client_min_messages",
                                                           "tcp_keepalives_idle",
                                                           "tcp_keepalives_interval",
                                                           "tcp_keepalives_count",
                                                           "tcp_user_timeout",
                                                           "synchronous_commit"};
  return name.find('.') != std::string_view::npos || listed(kNames, name);
}

std::string clean_application_name(std::string_view value, bool hex_escapes) {
  static constexpr std::size_t kNameLength = 63;  // NAMEDATALEN - 1
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string clean;
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 32 && u <= 126) {
      clean += c;
    } else if (hex_escapes) {
      clean.append("\\x").append(1, kDigits[u >> 4]).append(1, kDigits[u & 15]);
    } else {
      clean += '?';
    }
  }
  clean.resize(std::min(clean.size(), kNameLength));
  return clean;
}

}  // namespace sidepool::pool
