// src/cli/command.h -- the commands beside serving with flags of their own: wait, shutdown, completion, help.
// (`check` has those of a start, so parse() reads it.)
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cli/parse.h"

namespace sidepool::cli {

// Such a word is never read as an instance.
bool is_command(std::string_view word);

// `arguments` holds the command's word too, wherever flags of its own have left it.
Outcome parse_command(const std::string& program, const std::string& command,
                      const std::vector<std::string>& arguments);

// The script that completes flags and commands; nothing for another shell than bash, zsh, fish, powershell.
std::optional<std::string> completion_script(std::string_view shell);

}  // namespace sidepool::cli
