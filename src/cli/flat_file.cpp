// src/cli/flat_file.cpp -- the Auth Proxy's own configuration file; TOML by conf's reader.
#include "src/cli/flat_file.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "conf/diagnostic.h"
#include "conf/parse.h"
#include "conf/schema.h"
#include "conf/secret.h"
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;

constexpr std::string_view kInstance = "instance-connection-name";

std::string_view ending(std::string_view name) {
  const auto slash = name.rfind('/');
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || (slash != std::string_view::npos && dot < slash)) return {};
  return name.substr(dot);
}

bool is_instance_key(std::string_view key) {
  if (key.substr(0, kInstance.size()) != kInstance) return false;
  key.remove_prefix(kInstance.size());
  return key.empty() || (key.size() > 1 && key.size() < 8 && key.front() == '-' &&
                         key.find_first_not_of("0123456789", 1) == std::string_view::npos);
}

// What may stand in the file: whatever may also be a variable, but not the file itself.
bool is_known(std::string_view key) {
  if (is_instance_key(key)) return true;
  const Flag* flag = find_flag(flags(), key);
  return flag && flag->variable && key != "config-file";
}

std::string unknown(const std::string& key) {
  if (const Flag* flag = find_flag(flags(), key)) {
    return "the key " + in_quotes(key) + " does nothing in a file: give --" + std::string(flag->name) +
           " on the command line";
  }
  std::vector<std::string_view> names{kInstance};
  for (const Flag& flag : flags()) {
    if (is_known(flag.name)) names.push_back(flag.name);
  }
  const auto guess = conf::nearest(key, names);
  return "unknown key " + in_quotes(key) +
         (guess ? "; did you mean " + in_quotes(*guess) + "?" : std::string{});
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

std::optional<std::string> scalar(const conf::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data)) return *text;
  if (const auto* boolean = std::get_if<bool>(&value.data)) return *boolean ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value.data)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value.data)) {
    char buffer[64];
    const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, *number);
    if (error == std::errc{}) return std::string(buffer, end);
  }
  return std::nullopt;
}

// What is wrong with one entry by itself, or beside those before it.
std::string refused(const FlatEntry& entry, const std::vector<FlatEntry>& before) {
  if (!is_known(entry.key)) return unknown(entry.key);
  const auto same = [&entry](const FlatEntry& other) { return other.key == entry.key; };
  if (std::any_of(before.begin(), before.end(), same))
    return "the key " + in_quotes(entry.key) + " is there twice";
  if (entry.text.find('\0') != std::string::npos)
    return "the value of " + in_quotes(entry.key) + " holds a zero byte";
  return {};
}

}  // namespace

FlatFile::~FlatFile() {
  for (FlatEntry& entry : entries_) conf::wipe(entry.text.data(), entry.text.size());
}

const FlatEntry* FlatFile::find(std::string_view key) const {
  for (const FlatEntry& entry : entries_) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

std::string FlatFile::place(std::uint32_t line) const {
  return line == 0 ? name_ : name_ + ":" + std::to_string(line);
}

std::string bad_ending(const std::string& name) {
  for (const std::string_view good : {".toml", ".yaml", ".yml", ".json"}) {
    if (ending(name) == good) return {};
  }
  return "config file " + name + " should have extension of toml, yaml, or json";
}

FlatText read_flat_toml(std::string_view text) {
  FlatText out;
  auto parsed = conf::parse_toml(text, {});
  if (auto* diagnostic = std::get_if<conf::Diagnostic>(&parsed)) {
    out.problems.push_back({std::move(diagnostic->what), diagnostic->at.line});
    return out;
  }
  for (const conf::Entry& entry : std::get<conf::Table>(parsed)) {
    if (auto value = scalar(entry.value)) {
      out.entries.push_back({entry.key, *std::move(value), entry.at.line});
    } else {
      out.problems.push_back(
          {in_quotes(entry.key) + " must be a single value, not " + std::string(conf::type_name(entry.value)),
           entry.at.line});
    }
  }
  return out;
}

std::variant<FlatFile, std::vector<std::string>> read_flat_file(const std::string& name,
                                                                std::string_view text) {
  if (std::string why = bad_ending(name); !why.empty()) return std::vector{std::move(why)};
  FlatText read = ending(name) == ".toml"   ? read_flat_toml(text)
                  : ending(name) == ".json" ? read_flat_json(text)
                                            : read_flat_yaml(text);
  std::vector<FlatEntry> entries;
  for (FlatEntry& entry : read.entries) {
    entry.key = lower(std::move(entry.key));
    std::string why = refused(entry, entries);
    if (!why.empty()) read.problems.push_back({std::move(why), entry.line});
    entries.push_back(std::move(entry));
  }
  if (read.problems.empty()) return FlatFile(name, std::move(entries));
  const FlatFile wiped(name, std::move(entries));
  std::stable_sort(read.problems.begin(), read.problems.end(),
                   [](const FlatProblem& a, const FlatProblem& b) { return a.line < b.line; });
  std::vector<std::string> lines;
  for (const FlatProblem& problem : read.problems) {
    lines.push_back("failed to load configuration from " + wiped.place(problem.line) + ": " + problem.what);
  }
  return lines;
}

}  // namespace sidepool::cli
