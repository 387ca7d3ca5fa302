// src/cli/parse.h -- command line, environment and configuration file to one conf::Config.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/config.h"
#include "src/base/result.h"

namespace sidepool::cli {

// Where values come from besides the arguments.
struct Inputs {
  std::function<std::optional<std::string>(const std::string& name)> environment;  // nothing: not set
  std::function<Result<std::string>(const std::string& path)> read_file;  // `what`: the system's reason alone
};
enum class Files : std::uint8_t {
  MayBePipes,  // a shell's <(…) at the start: waits until the other side has written it
  Regular,     // anything else is an error, and never waited for
};
// Those of this process; files larger than a configuration may be are refused. Threads must not change the
// environment.
Inputs process_inputs(Files files);

// Kept for a reload, which is parse() again with the same arguments: the file and the files of secrets are
// read anew.
struct Invocation {
  std::vector<std::string> arguments{};  // without the program's name
  std::vector<std::string> files{};      // those of --config and --config-file, to be watched
};

// To be logged once logging is set up, with no client yet served.
struct Note {
  bool warning = false;
  std::string text;
};

struct RunConfig {
  conf::Config config{};  // completed and valid
  bool check = false;     // `check`: look at everything that a start would need, serve nobody
  std::vector<Note> notes{};
  Invocation invocation{};
};
struct PrintAndExit {  // to stdout
  std::string text;
  int code = 0;
};
struct Failure {                     // to stderr at start, to the log at a reload
  std::vector<std::string> lines{};  // each one problem with its remedy
  int code = 1;
  std::string program = "sidepool";
  std::string text() const;  // "Error: ..." and how the program is used
};

// The commands that talk to another process, see src/commands.
struct Wait {  // for /startup
  std::string host = "localhost";
  std::uint16_t port = 9090;
  conf::Duration max = std::chrono::seconds(30);
};
struct Shutdown {  // by /quitquitquit
  std::uint16_t port = 9091;
};
using Outcome = std::variant<RunConfig, PrintAndExit, Failure, Wait, Shutdown>;

// `program`: the name the process was called by, "sidepool" or "cloud-sql-proxy".
Outcome parse(const std::vector<std::string>& arguments, const Inputs& inputs,
              const std::string& program = "sidepool");
Outcome parse(int argc, const char* const* argv, const Inputs& inputs);

}  // namespace sidepool::cli
