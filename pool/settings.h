// pool/settings.h -- sets of run-time parameters: what a server has, what a client wants.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidepool::pool {

// PostgreSQL compares parameter names without regard to ASCII case (guc.c, guc_name_compare).
bool same_name(std::string_view a, std::string_view b) noexcept;
bool name_less(std::string_view a, std::string_view b) noexcept;

// An ordered set of (name, value) with unique names. Sets are built rarely and then shared by pointer between
// clients and servers (Settings below), so equal pointers are the usual answer to "same state?".
class SettingSet {
 public:
  using Entry = std::pair<std::string, std::string>;

  const std::string* find(std::string_view name) const noexcept;
  void set(std::string_view name, std::string_view value);
  void erase(std::string_view name);
  void clear() noexcept { entries_.clear(); }
  bool empty() const noexcept { return entries_.empty(); }
  std::size_t size() const noexcept { return entries_.size(); }
  auto begin() const noexcept { return entries_.begin(); }
  auto end() const noexcept { return entries_.end(); }
  // Same names (by same_name) with the same values.
  friend bool operator==(const SettingSet& a, const SettingSet& b) noexcept;

 private:
  std::vector<Entry> entries_;  // sorted by name_less
};

// Immutable and shared between threads. Null means the empty set.
using Settings = std::shared_ptr<const SettingSet>;

bool equal(const Settings& a, const Settings& b) noexcept;
// Equal, and the names are spelled in the same way.
bool identical(const SettingSet& a, const SettingSet& b) noexcept;
const std::string* find(const Settings& s, std::string_view name) noexcept;
// A copy of `s` with one value changed; `s` itself when that changes nothing.
Settings with(const Settings& s, std::string_view name, std::string_view value);
Settings without(const Settings& s, std::string_view name);

// Values that a server reports but no client can set: they are told, never replayed.
bool read_only(std::string_view name) noexcept;

// The parameters that PostgreSQL reports and that clients can set.
inline constexpr std::array<std::string_view, 9> kReportedNames{
    "application_name", "client_encoding",  "DateStyle",   "default_transaction_read_only",
    "IntervalStyle",    "scram_iterations", "search_path", "standard_conforming_strings",
    "TimeZone"};
// The bit of a name: i for the i-th of kReportedNames, 0 for any other.
std::uint16_t reported_bit(std::string_view name) noexcept;

// Settings that cannot change how a statement is parsed, so prepared statements are shared across them
// (product.md §5, Prepared statements: the listed harmless set, and custom names with a dot).
bool harmless_to_parse(std::string_view name) noexcept;

// What PostgreSQL makes of an application_name: ASCII only ('?' for each other byte, or \xNN from version 16
// on) and at most 63 bytes (guc.c, check_application_name and GUC_IS_NAME).
std::string clean_application_name(std::string_view value, bool hex_escapes);

}  // namespace sidepool::pool
