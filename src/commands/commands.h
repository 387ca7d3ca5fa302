// src/commands/commands.h -- the commands that talk to a running sidepool: wait and shutdown. Both block.
#pragma once
#include <string>

#include "src/cli/parse.h"

namespace sidepool::commands {

struct Ending {
  int code = 0;
  std::string
      error{};  // for stderr: a line in the Auth Proxy's words, perhaps another; empty if the code is 0
};

// Asks /startup until it answers 200 or the time is over.
Ending wait(const cli::Wait& command);

// POSTs to /quitquitquit once. 0 means that the other process has heard it, not that it has ended.
Ending shutdown(const cli::Shutdown& command);

}  // namespace sidepool::commands
