// cloudsql/command.h -- runs another program for what it prints: gcloud, or a credential's executable.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

struct Command {
  std::vector<std::string> argv{};  // argv[0] is the path of the program; no shell is involved
  std::vector<std::string> env{};   // "NAME=value", beside this process's own environment
  std::chrono::milliseconds timeout{30'000};
};

struct CommandOutput {
  int exit_code = 0;     // 128 + N if signal N ended it
  SecretText out;        // at most 1 MiB
  std::string err_text;  // the first 16 KiB of stderr: not secret by itself, not to be trusted with secrets
};

// A program that ends, however it ends, is an output; an Error says that it could not be started, ran out of
// time, printed more than 1 MiB, or that sidepool is stopping. Nothing of what it printed is in the error.
using RunCommand = std::function<Result<CommandOutput>(const Command&)>;

// Blocks. The program gets a process group of its own, no file of ours, and /dev/null to read; whatever is
// left of the group when this returns has been killed. `stopping` ends it within a quarter of a second.
Result<CommandOutput> run_command(const Command& command, const std::atomic<bool>& stopping);

// For the end of the process: kills what runs, and whatever would run is not started any more. Any thread.
void end_commands() noexcept;

// Where `name` is: itself if it has a '/', else the first executable file in the absolute folders of `path`
// (a relative one would make the program depend on where sidepool was started). Empty if there is none.
std::string find_program(const std::string& name, const std::string& path);

}  // namespace sidepool::cloudsql
