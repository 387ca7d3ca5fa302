// conf/document.h -- a parsed TOML file as a plain tree with positions, so that only parse.cpp sees the TOML
// library.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/diagnostic.h"

namespace sidepool::conf {

struct Value;
struct Entry;
using Array = std::vector<Value>;
using Table = std::vector<Entry>;  // in the order of the file, keys unique
struct DateOrTime {};              // nothing in our configuration is one

struct Value {
  std::variant<bool, std::int64_t, double, std::string, Array, Table, DateOrTime> data;
  Position at{};
};

struct Entry {
  std::string key;
  Position at{};
  Value value;
};

inline const Value* find(const Table& table, std::string_view key) {
  for (const Entry& entry : table) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

// "a string", "a table", …: for messages about a value of the wrong type.
std::string_view type_name(const Value& value);

}  // namespace sidepool::conf
