// src/cli/flags.h -- the flags that exist, and --help.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace sidepool::cli {

enum class FlagKind : unsigned char { Boolean, Text };

struct Flag {
  std::string_view name;
  char letter = 0;
  FlagKind kind = FlagKind::Text;
  bool variable = true;  // also CSQL_PROXY_<NAME>
  std::string_view group;
  std::string_view argument{};  // what --help calls the value
  std::string_view help{};      // empty: --help only lists the name, among those without effect
};
std::span<const Flag> flags();
const Flag* find_flag(std::string_view name);
const Flag* find_flag(char letter);

// "CSQL_PROXY_AUTO_IAM_AUTHN"
std::string variable_of(std::string_view flag);

std::string help_text();

}  // namespace sidepool::cli
