// src/cli/help.cpp -- the text of --help.
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

constexpr std::string_view kAbout =
    "sidepool connects applications to Cloud SQL for PostgreSQL, or to any PostgreSQL, and pools their "
    "connections.\n\n";

constexpr std::string_view kUsage = R"(Usage:
  sidepool [flags] INSTANCE_CONNECTION_NAME[?params]...
  sidepool --config sidepool.toml [flags]
  sidepool check [flags] [INSTANCE_CONNECTION_NAME[?params]...]
  sidepool wait | shutdown | completion | help [COMMAND]
)";

constexpr std::string_view kExamples = R"(
Examples:
  # one instance at 127.0.0.1:5432
  sidepool my-project:us-central1:my-postgres

  # with IAM logins, another port, probes and metrics
  sidepool --auto-iam-authn --port 6000 --health-check --prometheus my-project:us-central1:my-postgres

  # two instances, the second with its own settings
  sidepool my-project:us-central1:one 'my-project:us-central1:two?port=6001&private-ip=true'

  # unix socket: psql "host=/cloudsql/my-project:us-central1:my-postgres"
  sidepool --unix-socket /cloudsql my-project:us-central1:my-postgres

  # pool sizes, time-outs, other servers: see docs/reference.md
  sidepool --config sidepool.toml --check-config

Commands:
  check                              look at each step of a start with the same flags and name the remedies
  wait                               wait until another process, with --health-check, serves clients
  shutdown                           end another process, with --quitquitquit
  completion SHELL                   print a script for bash, zsh, fish or powershell that completes commands
  help COMMAND                       print the help of a command
)";

constexpr std::string_view kWait =
    R"(Waits until a process that was started with --health-check serves clients: for a script that starts both.
Exit code 0 when it does, 1 if it did not within --max.

Usage:
  sidepool wait [flags]

)";

constexpr std::string_view kCheck =
    R"(Looks at everything that a start with the same flags, variables and files would need, and prints one line for each: instance
name, credentials and principal, access token, Admin API, scopes, roles, IP type, the route to each address, certificate,
database login, listeners. Nobody is served. Exit code 0, or 1 if a check has failed; its line ends with the remedy.

The login that is tried is PGUSER's with PGPASSWORD in PGDATABASE; with IAM logins, the principal's own.

Usage:
  sidepool check [flags] [INSTANCE_CONNECTION_NAME[?params]...]

The flags are those of sidepool itself: see sidepool --help
)";

constexpr std::string_view kShutdown =
    R"(Ends a process on this machine that was started with --quitquitquit: for the job beside it.
Exit code 0 when it has heard, which is before it has ended.

Usage:
  sidepool shutdown [flags]

)";

constexpr std::string_view kCompletion = R"(Prints a script that completes flags and commands in a shell.

Usage:
  sidepool completion bash|zsh|fish|powershell

  bash          source <(sidepool completion bash)
  zsh           source <(sidepool completion zsh)
  fish          sidepool completion fish | source
  powershell    sidepool completion powershell | Out-String | Invoke-Expression
)";

constexpr std::string_view kHelpBottom = R"(
Instance parameters, after the name as ?NAME=VALUE&NAME=VALUE:
  address  port  unix-socket  unix-socket-path  auto-iam-authn  private-ip  psc

Each flag of the first five groups is also an environment variable, CSQL_PROXY_ and its name in capitals, such as
CSQL_PROXY_AUTO_IAM_AUTHN. Instances may come from CSQL_PROXY_INSTANCE_CONNECTION_NAME, or from that with _0, _1, ...
Flags override variables, which override the file. Times have units: 500ms, 30s, 1m30s.
)";

// The text with the program's name where ours is a command.
std::string called(std::string_view program, std::string_view text) {
  constexpr std::string_view kName = "sidepool ";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const bool word = at == 0 || text[at - 1] == ' ' || text[at - 1] == '(';
    if (word && text.substr(at, kName.size()) == kName) {
      out.append(program).push_back(' ');
      at += kName.size();
    } else {
      out.push_back(text[at++]);
    }
  }
  return out;
}

void append_flag(std::string& out, const Flag& flag) {
  constexpr std::size_t kColumn = 37;
  std::string line = flag.letter ? std::string("  -") + flag.letter + ", --" : "      --";
  line.append(flag.name);
  if (!flag.argument.empty()) line.append(" ").append(flag.argument);
  if (flag.help.front() != '\n') line.append(line.size() < kColumn ? kColumn - line.size() : 1, ' ');
  for (const char c : flag.help) {
    line.push_back(c);
    if (c == '\n') line.append(kColumn, ' ');
  }
  out.append(line).append("\n");
}

// The names of the flags without effect, in lines of a fitting width.
void append_names(std::string& out) {
  constexpr std::size_t kWidth = 110;
  out.append(
      "\nThe Auth Proxy's flags that change nothing here (fuse, sql-data and telemetry-project are "
      "refused):");
  std::size_t column = kWidth;
  for (const Flag& flag : flags()) {
    if (!flag.help.empty()) continue;
    if (column + flag.name.size() + 4 > kWidth) {
      out.append("\n ");
      column = 1;
    }
    out.append(" --").append(flag.name);
    column += flag.name.size() + 3;
  }
  out.append("\n");
}

}  // namespace

std::string usage_text(std::string_view program) { return called(program, kUsage); }

std::string help_text(std::string_view program) {
  std::string out = std::string(kAbout) + called(program, kUsage) + called(program, kExamples);
  std::string_view group;
  for (const Flag& flag : flags()) {
    if (flag.help.empty()) continue;
    if (flag.group != group) out.append("\n").append(flag.group).append(":\n");
    group = flag.group;
    append_flag(out, flag);
  }
  append_names(out);
  return out.append(kHelpBottom);
}

std::string help_text(std::string_view program, std::string_view command) {
  if (command == "completion") return called(program, kCompletion);
  if (command == "check") return called(program, kCheck);
  const bool wait = command == "wait";
  if (!wait && command != "shutdown") return help_text(program);
  std::string out = called(program, wait ? kWait : kShutdown) + "Flags:\n";
  for (const Flag& flag : wait ? wait_flags() : shutdown_flags()) append_flag(out, flag);
  return out;
}

}  // namespace sidepool::cli
