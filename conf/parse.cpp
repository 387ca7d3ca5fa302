// conf/parse.cpp -- TOML text to a document; the only file that includes toml++ (slow to compile, throws).
#include "conf/parse.h"

// As Debian built libtomlplusplus.
#define TOML_HEADER_ONLY 0
#define TOML_SHARED_LIB 1
#include <toml++/toml.h>

#include <algorithm>
#include <utility>

namespace sidepool::conf {
namespace {

Position position(const toml::source_region& region) { return {region.begin.line, region.begin.column}; }

Value convert(const toml::node& node);

Table convert(const toml::table& table) {
  Table out;
  for (const auto& [key, node] : table) {
    out.push_back({std::string(key.str()), position(key.source()), convert(node)});
  }
  // The library keeps them by name.
  std::stable_sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.at < b.at; });
  return out;
}

// The library limits nesting (TOML_MAX_NESTED_VALUES), and so this recursion.
Value convert(const toml::node& node) {
  Value value{DateOrTime{}, position(node.source())};
  if (const auto* boolean = node.as_boolean()) {
    value.data = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    value.data = std::int64_t{integer->get()};
  } else if (const auto* floating = node.as_floating_point()) {
    value.data = floating->get();
  } else if (const auto* text = node.as_string()) {
    value.data = text->get();
  } else if (const auto* table = node.as_table()) {
    value.data = convert(*table);
  } else if (const auto* array = node.as_array()) {
    Array items;
    for (const toml::node& item : *array) items.push_back(convert(item));
    value.data = std::move(items);
  }
  return value;
}

}  // namespace

std::variant<Table, Diagnostic> parse_toml(std::string_view text, const std::string& file) {
  if (text.size() > kLargestFile) return Diagnostic{file, {}, "the file is larger than 1 MiB"};
  try {
    return convert(toml::parse(text));
  } catch (const toml::parse_error& error) {
    // The library quotes the file in its texts: keep them to one short printable line.
    std::string what = "not valid TOML: ";
    for (const char c : error.description().substr(0, 200)) {
      const auto byte = static_cast<unsigned char>(c);
      what.push_back(byte < 0x20 || byte == 0x7f ? ' ' : c);
    }
    return Diagnostic{file, position(error.source()), std::move(what)};
  }
}

std::string_view type_name(const Value& value) {
  constexpr std::string_view kNames[] = {"a boolean", "an integer", "a number",      "a string",
                                         "an array",  "a table",    "a date or time"};
  return kNames[value.data.index()];
}

}  // namespace sidepool::conf
