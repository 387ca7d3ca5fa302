// src/cli/command.cpp -- the commands beside serving.
#include "src/cli/command.h"

#include <algorithm>

#include "conf/address.h"
#include "conf/diagnostic.h"
#include "conf/units.h"
#include "src/cli/arguments.h"
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;

Failure wrong(const std::string& program, std::string why) {
  Failure failure;
  failure.program = program;
  failure.lines.push_back(std::move(why));
  return failure;
}

// The flags of one command. Variables are not for them: what a shell has set for the proxy it starts may not
// be meant for the one that is asked.
class Values {
 public:
  explicit Values(const Arguments& arguments) : arguments_(arguments) {}

  std::optional<std::string> text(std::string_view name) const {
    const auto found = arguments_.flags.find(name);
    return found == arguments_.flags.end() ? std::nullopt : std::optional(found->second);
  }
  // Adds to `errors` what is wrong.
  std::uint16_t port(std::string_view name, std::uint16_t otherwise, std::vector<std::string>& errors) const {
    const auto given = text(name);
    if (!given) return otherwise;
    const auto value = conf::parse_port(*given);
    if (!value)
      errors.push_back("invalid argument " + in_quotes(*given) + " for \"--" + std::string(name) +
                       "\" flag: write a port number from 1 to 65535");
    return value.value_or(otherwise);
  }

 private:
  const Arguments& arguments_;
};

// A name or an address without a port.
std::string host(const Values& values, std::vector<std::string>& errors) {
  std::string given = values.text("http-address").value_or("localhost");
  const auto read = conf::parse_host(given);
  const auto* host = std::get_if<conf::Host>(&read);
  if (!host || host->is_unix() || host->name != given)
    errors.push_back("invalid argument " + in_quotes(given) +
                     " for \"--http-address\" flag: write a host name or an IP address");
  return given;
}

Wait read_wait(const Values& values, std::vector<std::string>& errors) {
  constexpr conf::Duration kMost = std::chrono::hours(24 * 365);
  Wait out;
  out.host = host(values, errors);
  out.port = values.port("http-port", 9090, errors);
  const auto given = values.text("max");
  if (!given) return out;
  const auto max = conf::parse_duration(*given);
  if (!max || max->count() < 0) {
    errors.push_back("invalid argument " + in_quotes(*given) +
                     " for \"-m, --max\" flag: write a time with its unit, such as 30s or 1m30s");
    return out;
  }
  out.max = std::min<conf::Duration>(*max, kMost);
  return out;
}

Outcome help_of(const std::string& program, const std::vector<std::string>& topics) {
  if (topics.empty()) return PrintAndExit{help_text(program), 0};
  if (topics.front() != "check" && !is_command(topics.front()))
    return wrong(program, "there is no command " + in_quotes(topics.front()));
  return PrintAndExit{help_text(program, topics.front()), 0};
}

Outcome completion(const std::string& program, const std::vector<std::string>& shells) {
  auto script = shells.empty() ? std::nullopt : completion_script(shells.front());
  // The Auth Proxy's answer to another shell is its help, too.
  return PrintAndExit{script ? *std::move(script) : help_text(program, "completion"), 0};
}

}  // namespace

bool is_command(std::string_view word) {
  return word == "wait" || word == "shutdown" || word == "completion" || word == "help";
}

Outcome parse_command(const std::string& program, const std::string& command,
                      const std::vector<std::string>& arguments) {
  const Flags known = command == "wait" ? wait_flags() : shutdown_flags();
  Arguments cut = cut_arguments(arguments, known);
  auto& words = cut.positionals;
  words.erase(std::find(words.begin(), words.end(), command));
  if (command == "help") return help_of(program, words);
  if (cut.flags.count("help") != 0) return PrintAndExit{help_text(program, command), 0};
  if (command == "completion") return completion(program, words);
  std::vector<std::string> errors = std::move(cut.errors);
  if (!words.empty())
    errors.push_back("`" + command + "` takes no argument such as " + in_quotes(words.front()));
  const Values values(cut);
  Outcome out;
  if (command == "wait") {
    out = read_wait(values, errors);
  } else {
    out = Shutdown{values.port("admin-port", 9091, errors)};
  }
  if (errors.empty()) return out;
  return Failure{std::move(errors), 1, program};
}

}  // namespace sidepool::cli
