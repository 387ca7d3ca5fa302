// src/cli/flat_file.h -- the Auth Proxy's own configuration file (--config-file): flags by name, in TOML,
// YAML or JSON. Keys are those of the flags and instance-connection-name, -0, -1, ...; in any case.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sidepool::cli {

struct FlatEntry {
  std::string key{};       // in lower case
  std::string text{};      // the value as a flag would be given it; may be a secret
  std::uint32_t line = 0;  // from 1; 0: not known
};

struct FlatProblem {
  std::string what{};
  std::uint32_t line = 0;
};

// Wipes the values when it goes: a token may be among them.
class FlatFile {
 public:
  FlatFile() = default;
  FlatFile(std::string name, std::vector<FlatEntry> entries)
      : name_(std::move(name)), entries_(std::move(entries)) {}
  FlatFile(FlatFile&&) = default;
  FlatFile& operator=(FlatFile&&) = default;
  ~FlatFile();

  // Nullptr: not set.
  const FlatEntry* find(std::string_view key) const;
  const std::vector<FlatEntry>& entries() const noexcept { return entries_; }
  // "FILE:12", for messages.
  std::string place(std::uint32_t line) const;

 private:
  std::string name_;
  std::vector<FlatEntry> entries_;
};

// Every problem as one line with its place: a bad file name, a syntax error, an unknown key with the nearest
// known one, a value that is none, a key given twice. `name` decides the format by its ending.
std::variant<FlatFile, std::vector<std::string>> read_flat_file(const std::string& name,
                                                                std::string_view text);
// What is wrong with the ending of the name, in the Auth Proxy's words; empty if nothing is.
std::string bad_ending(const std::string& name);

// The formats, each in a file of its own with its library. Values that are not scalars are problems.
struct FlatText {
  std::vector<FlatEntry> entries{};
  std::vector<FlatProblem> problems{};
};
FlatText read_flat_toml(std::string_view text);
FlatText read_flat_json(std::string_view text);
FlatText read_flat_yaml(std::string_view text);

}  // namespace sidepool::cli
