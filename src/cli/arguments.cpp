// src/cli/arguments.cpp -- an argument vector cut into flags and positionals; the only file that includes
// CLI11.
#include "src/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <utility>

#include "conf/diagnostic.h"
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

// The flag that `argument` is, by its long name or letter; nullptr if it is none that we know.
const Flag* flag_of(Flags known, const std::string& argument) {
  if (argument.rfind("--", 0) == 0)
    return find_flag(known, std::string_view(argument).substr(2, argument.find('=') - 2));
  return argument.size() > 1 && argument[0] == '-' ? find_flag(known, argument[1]) : nullptr;
}

// CLI11 knows neither "-n=value" nor an empty value behind "=", so both are rewritten for it.
std::vector<std::string> rewritten(const std::vector<std::string>& arguments, Flags known) {
  std::vector<std::string> out;
  bool value_next = false;
  for (auto it = arguments.begin(); it != arguments.end(); ++it) {
    if (*it == "--" && !value_next) {
      out.insert(out.end(), it, arguments.end());
      return out;
    }
    const Flag* flag = value_next ? nullptr : flag_of(known, *it);
    value_next = false;
    if (!flag) {
      out.push_back(*it);
      continue;
    }
    const bool is_long = (*it)[1] == '-';
    const auto equals = it->find('=');
    if (equals == std::string::npos || (!is_long && equals != 2)) {
      value_next = flag->kind == FlagKind::Text && (is_long || it->size() == 2);
      out.push_back(*it);
      continue;
    }
    const std::string name = "--" + std::string(flag->name);
    if (equals + 1 == it->size() && flag->kind == FlagKind::Text) {
      out.insert(out.end(), {name, ""});
    } else if (equals + 1 == it->size()) {
      out.push_back(name + "=\"\"");  // not a boolean; CLI11 would read "true"
    } else {
      out.push_back(name + it->substr(equals));
    }
  }
  return out;
}

// Only what can be a name: "-J{...}" would carry its value along, which may be a secret.
std::string_view name_in(std::string_view argument) {
  const auto part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  std::size_t end = 0;
  while (end < argument.size() && end < 80 && part(argument[end])) ++end;
  return argument.substr(0, std::max<std::size_t>(end, 2));
}

std::string unknown(const std::string& argument, Flags known) {
  const std::string name(name_in(argument));
  std::vector<std::string_view> names;
  for (const Flag& flag : known) names.push_back(flag.name);
  const bool is_long = name.rfind("--", 0) == 0;
  const auto guess = conf::nearest(std::string_view(name).substr(is_long ? 2 : 1), names);
  if (is_long)
    return "unknown flag: " + name + (guess ? "; did you mean --" + std::string(*guess) + "?" : "");
  if (name.size() == 2) return "unknown shorthand flag: " + conf::in_quotes(name);
  return "unknown flag: " + name + "; flags of more than a letter have two dashes" +
         (guess ? ", did you mean --" + std::string(*guess) + "?" : "");
}

// CLI11 takes known letters off the front of "-instances": the argument that `extra` is the rest of.
std::string as_written(const std::string& extra, const std::vector<std::string>& arguments) {
  if (extra.rfind("--", 0) == 0 || std::find(arguments.begin(), arguments.end(), extra) != arguments.end())
    return extra;
  for (const std::string& argument : arguments) {
    const bool single = argument.size() > extra.size() && argument[0] == '-' && argument[1] != '-';
    if (single && argument.compare(argument.size() - extra.size() + 1, std::string::npos, extra, 1) == 0) {
      return argument;
    }
  }
  return extra;
}

}  // namespace

Arguments cut_arguments(const std::vector<std::string>& arguments, Flags known) {
  Arguments out;
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<std::string, CLI::Option*> options;
  for (const Flag& flag : known) {
    const std::string names =
        (flag.letter ? std::string("-") + flag.letter + "," : "") + "--" + std::string(flag.name);
    options[std::string(flag.name)] =
        flag.kind == FlagKind::Boolean ? app.add_flag(names) : app.add_option(names);
    options[std::string(flag.name)]->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    std::vector<std::string> reversed = rewritten(arguments, known);
    std::reverse(reversed.begin(), reversed.end());  // as CLI11 wants it
    app.parse(std::move(reversed));
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string last = arguments.empty() ? "" : arguments.back();
    out.errors.push_back("flag needs an argument: " + last.substr(0, last.find('=')));
    return out;
  } catch (const CLI::Error& error) {
    out.errors.push_back(std::string("the command line cannot be read: ") + error.what());
    return out;
  }
  for (const auto& [name, option] : options) {
    if (option->count() > 0) out.flags[name] = option->results().back();
  }
  // What is left is in the order it was given: unknown flags and, because none is declared, the positionals.
  bool flags_ended = false;
  for (const std::string& extra : app.remaining()) {
    if (extra == "--" && !flags_ended) {
      flags_ended = true;
    } else if (flags_ended || extra.size() < 2 || extra[0] != '-') {
      out.positionals.push_back(extra);
      if (!flags_ended) ++out.before_dashes;
    } else {
      out.errors.push_back(unknown(as_written(extra, arguments), known));
    }
  }
  return out;
}

}  // namespace sidepool::cli
