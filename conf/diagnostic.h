// conf/diagnostic.h -- what is wrong with a configuration, and where it was said.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sidepool::conf {

struct Position {
  std::uint32_t line = 0;  // from 1; 0: not from a file
  std::uint32_t column = 0;
  friend auto operator<=>(const Position&, const Position&) = default;
};

// `what` is the reason and the remedy in one line, without secrets and without control characters.
struct Diagnostic {
  std::string file{};  // empty: the value came from the command line or the environment
  Position at{};
  std::string what{};
  friend bool operator==(const Diagnostic&, const Diagnostic&) = default;
};
// "sidepool.toml:12:3: text", or the text alone.
std::string to_string(const Diagnostic& diagnostic);

// Where each key of a file was set: "pool.size", "upstream[1].pool.size", "upstream[1]" for the table itself.
class Places {
 public:
  Places() = default;
  explicit Places(std::string file) : file_(std::move(file)) {}

  const std::string& file() const noexcept { return file_; }
  void set(std::string path, Position at) { at_[std::move(path)] = at; }
  std::optional<Position> find(const std::string& path) const;
  bool has(const std::string& path) const { return at_.count(path) != 0; }
  // A diagnostic at the first of `paths` that the file sets, else without a place.
  Diagnostic at(const std::vector<std::string>& paths, std::string what) const;
  // The list of upstreams was built anew: entry i of it was number from[i] of the file, if any.
  void renumber_upstreams(const std::vector<std::optional<std::size_t>>& from);

 private:
  std::string file_;
  std::map<std::string, Position> at_;
};

// Text of a stranger for a message: in double quotes, escaped, at most 160 bytes of it.
std::string in_quotes(std::string_view text);

// The candidate that `word` was probably meant to be, if one is near enough.
std::optional<std::string_view> nearest(std::string_view word,
                                        const std::vector<std::string_view>& candidates);

}  // namespace sidepool::conf
