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
using Flags = std::span<const Flag>;

Flags flags();       // of sidepool itself
Flags wait_flags();  // of its commands
Flags shutdown_flags();
const Flag* find_flag(Flags among, std::string_view name);
const Flag* find_flag(Flags among, char letter);

// "CSQL_PROXY_AUTO_IAM_AUTHN"
std::string variable_of(std::string_view flag);

// `program` is what the process was called as: "sidepool" or "cloud-sql-proxy".
std::string help_text(std::string_view program);
// Of `wait`, `shutdown` or `completion`; of anything else that of the program.
std::string help_text(std::string_view program, std::string_view command);
// The lines under "Usage:" alone.
std::string usage_text(std::string_view program);

}  // namespace sidepool::cli
