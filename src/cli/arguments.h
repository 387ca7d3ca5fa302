// src/cli/arguments.h -- an argument vector cut into flags and positionals, as text.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/cli/flags.h"

namespace sidepool::cli {

struct Arguments {
  std::map<std::string, std::string, std::less<>> flags{};  // by long name; given twice, the last counts
  std::vector<std::string> positionals{};
  std::size_t before_dashes = 0;      // so many of them stand before "--"
  std::vector<std::string> errors{};  // unknown flags with the nearest name, missing values
};

// pflag's rules: --name value, --name=value, -nvalue, -n value, -n=value; booleans are --name or
// --name=false; flags may follow positionals; -- ends them.
Arguments cut_arguments(const std::vector<std::string>& arguments, Flags known);

}  // namespace sidepool::cli
