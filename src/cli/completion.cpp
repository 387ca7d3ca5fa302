// src/cli/completion.cpp -- scripts that complete flags and commands, made from the list of flags.
#include "src/cli/command.h"
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

// The names that a script is for.
constexpr std::string_view kPrograms[] = {"sidepool", "cloud-sql-proxy"};
constexpr std::string_view kCommands[] = {"check", "wait", "shutdown", "completion", "help"};

// Of a help text the first line, without what would end a quoted text in any of the shells.
std::string first_line(std::string_view help) {
  while (!help.empty() && help.front() == '\n') help.remove_prefix(1);
  std::string out;
  for (const char c : help.substr(0, help.find('\n'))) {
    if (c != '\'' && c != '"' && c != '\\' && c != '[' && c != ']' && c != ':' && c != '`' && c != '$')
      out.push_back(c);
  }
  return out;
}

bool takes_file(const Flag& flag) { return flag.argument == "FILE" || flag.argument == "DIR"; }

std::string words(Flags flags) {
  std::string out;
  for (const Flag& flag : flags) out.append(out.empty() ? "--" : " --").append(flag.name);
  return out;
}

std::string programs(std::string_view separator) {
  std::string out;
  for (const std::string_view program : kPrograms) out.append(out.empty() ? "" : separator).append(program);
  return out;
}

std::string commands(std::string_view separator) {
  std::string out;
  for (const std::string_view command : kCommands) out.append(out.empty() ? "" : separator).append(command);
  return out;
}

std::string bash() {
  std::string files;
  for (const Flag& flag : flags()) {
    if (!takes_file(flag)) continue;
    files.append(files.empty() ? "--" : "|--").append(flag.name);
    if (flag.letter != 0) files.append("|-").push_back(flag.letter);
  }
  return "# bash completion for sidepool\n"
         "_sidepool() {\n"
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words word\n"
         "  COMPREPLY=()\n"
         "  words='" +
         words(flags()) + " " + commands(" ") +
         "'\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    case $word in\n"
         "      wait) words='" +
         words(wait_flags()) +
         "' ;;\n"
         "      shutdown) words='" +
         words(shutdown_flags()) +
         "' ;;\n"
         "      completion) words='bash zsh fish powershell' ;;\n"
         "      help) words='" +
         commands(" ") +
         "' ;;\n"
         "    esac\n"
         "  done\n"
         "  case $previous in\n"
         "    " +
         files +
         ")\n"
         "      compopt -o filenames 2>/dev/null\n"
         "      COMPREPLY=($(compgen -f -- \"$current\")) ;;\n"
         "    *) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
         "  esac\n"
         "}\n"
         "complete -F _sidepool " +
         programs(" ") + "\n";
}

// zsh's _arguments: '--name[text]:what:_files'.
std::string zsh_flags(Flags flags) {
  std::string out;
  for (const Flag& flag : flags) {
    const std::string text = "[" + first_line(flag.help) + "]";
    const std::string value = flag.kind == FlagKind::Boolean ? ""
                              : takes_file(flag)             ? ":" + std::string(flag.name) + ":_files"
                                                             : ":" + std::string(flag.name) + ": ";
    const std::string equals = flag.kind == FlagKind::Boolean ? "" : "=";
    out.append(" \\\n    '--").append(flag.name).append(equals).append(text).append(value).append("'");
    if (flag.letter != 0) {
      out.append(" \\\n    '-").push_back(flag.letter);
      out.append(text).append(value).append("'");
    }
  }
  return out;
}

std::string zsh() {
  return "#compdef " + programs(" ") +
         "\n"
         "_sidepool() {\n"
         "  case ${words[2]} in\n"
         "    wait) _arguments" +
         zsh_flags(wait_flags()) +
         " ;;\n"
         "    shutdown) _arguments" +
         zsh_flags(shutdown_flags()) +
         " ;;\n"
         "    completion) _arguments '2:shell:(bash zsh fish powershell)' ;;\n"
         "    help) _arguments '2:command:(" +
         commands(" ") +
         ")' ;;\n"
         "    *) _arguments" +
         zsh_flags(flags()) + " \\\n    '*:instance or command:(" + commands(" ") +
         ")' ;;\n"
         "  esac\n"
         "}\n"
         "if [ \"${funcstack[1]}\" = _sidepool ]; then _sidepool; else compdef _sidepool " +
         programs(" ") + "; fi\n";
}

void fish_flags(std::string& out, std::string_view program, Flags flags, const std::string& condition) {
  for (const Flag& flag : flags) {
    out.append("complete -c ")
        .append(program)
        .append(" -n '")
        .append(condition)
        .append("' -l ")
        .append(flag.name);
    if (flag.letter != 0) out.append(" -s ").push_back(flag.letter);
    if (flag.kind == FlagKind::Text) out.append(takes_file(flag) ? " -r -F" : " -x");
    if (!flag.help.empty()) out.append(" -d '").append(first_line(flag.help)).append("'");
    out.append("\n");
  }
}

std::string fish() {
  std::string out = "# fish completion for sidepool\n";
  for (const std::string_view program : kPrograms) {
    out.append("complete -c ").append(program).append(" -f\n");
    out.append("complete -c ").append(program).append(" -n __fish_use_subcommand -a '").append(commands(" "));
    out.append("'\n");
    fish_flags(out, program, flags(), "not __fish_seen_subcommand_from wait shutdown completion help");
    fish_flags(out, program, wait_flags(), "__fish_seen_subcommand_from wait");
    fish_flags(out, program, shutdown_flags(), "__fish_seen_subcommand_from shutdown");
    out.append("complete -c ").append(program);
    out.append(" -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish powershell'\n");
  }
  return out;
}

std::string quoted_list(const std::string& list) {
  std::string out = "'";
  for (const char c : list) {
    if (c == ' ') {
      out.append("', '");
    } else {
      out.push_back(c);
    }
  }
  return out.append("'");
}

std::string powershell() {
  return "# PowerShell completion for sidepool\n"
         "Register-ArgumentCompleter -Native -CommandName " +
         quoted_list(programs(" ")) +
         " -ScriptBlock {\n"
         "  param($word, $tree, $position)\n"
         "  $given = @($tree.CommandElements | ForEach-Object { $_.ToString() })\n"
         "  $words = @(" +
         quoted_list(words(flags()) + " " + commands(" ")) +
         ")\n"
         "  if ($given -contains 'wait') { $words = @(" +
         quoted_list(words(wait_flags())) +
         ") }\n"
         "  if ($given -contains 'shutdown') { $words = @(" +
         quoted_list(words(shutdown_flags())) +
         ") }\n"
         "  if ($given -contains 'completion') { $words = @('bash', 'zsh', 'fish', 'powershell') }\n"
         "  if ($given -contains 'help') { $words = @(" +
         quoted_list(commands(" ")) +
         ") }\n"
         "  $words | Where-Object { $_ -like \"$word*\" } | ForEach-Object {\n"
         "    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)\n"
         "  }\n"
         "}\n";
}

}  // namespace

std::optional<std::string> completion_script(std::string_view shell) {
  if (shell == "bash") return bash();
  if (shell == "zsh") return zsh();
  if (shell == "fish") return fish();
  if (shell == "powershell") return powershell();
  return std::nullopt;
}

}  // namespace sidepool::cli
