// src/cli/flags.cpp -- the flags that exist, those of the Auth Proxy that this version lacks, and --help.
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

constexpr std::string_view kClients = "Where clients connect";
constexpr std::string_view kCloud = "Cloud SQL";
constexpr std::string_view kProbes = "Health, metrics, shutdown";
constexpr std::string_view kFile = "Configuration file and help";

constexpr Flag kFlags[] = {
    {.name = "port",
     .letter = 'p',
     .group = kClients,
     .argument = "PORT",
     .help = "port of the first instance; the next ones count up (default 5432)"},
    {.name = "address",
     .letter = 'a',
     .group = kClients,
     .argument = "IP",
     .help =
         "address to listen on (default 127.0.0.1); another machine's clients may then use IAM pools too"},
    {.name = "unix-socket",
     .letter = 'u',
     .group = kClients,
     .argument = "DIR",
     .help = "listen on DIR/INSTANCE/.s.PGSQL.5432 instead of TCP"},
    {.name = "auto-iam-authn",
     .letter = 'i',
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "log in as the IAM principal of the credentials, without a password"},
    {.name = "private-ip",
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "connect to the private addresses of instances"},
    {.name = "credentials-file",
     .letter = 'c',
     .group = kCloud,
     .argument = "FILE",
     .help = "service account or authorized user (default: Application Default Credentials)"},
    {.name = "token",
     .letter = 't',
     .group = kCloud,
     .argument = "TOKEN",
     .help = "access token for the SQL Admin API"},
    {.name = "login-token",
     .group = kCloud,
     .argument = "TOKEN",
     .help = "access token for logging in; with --token and --auto-iam-authn"},
    {.name = "sqladmin-api-endpoint", .group = kCloud, .argument = "URL", .help = "another SQL Admin API"},
    {.name = "health-check",
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "serve /startup, /readiness and /liveness"},
    {.name = "prometheus", .kind = FlagKind::Boolean, .group = kProbes, .help = "serve /metrics"},
    {.name = "http-address",
     .group = kProbes,
     .argument = "IP",
     .help = "address of these two (default localhost)"},
    {.name = "http-port", .group = kProbes, .argument = "PORT", .help = "port of these two (default 9090)"},
    {.name = "quitquitquit",
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "serve /quitquitquit on localhost"},
    {.name = "admin-port",
     .group = kProbes,
     .argument = "PORT",
     .help = "port of /quitquitquit (default 9091)"},
    {.name = "structured-logs",
     .letter = 'l',
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "log one JSON object a line"},
    {.name = "max-sigterm-delay",
     .group = kProbes,
     .argument = "TIME",
     .help = "after SIGTERM let clients go on for up to TIME, such as 30s; 0 ends at once\n"
             "(default: end when nothing runs, at most 5s)"},
    {.name = "exit-zero-on-sigterm",
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "exit code 0 after SIGTERM instead of 143"},
    {.name = "config",
     .variable = false,
     .group = kFile,
     .argument = "FILE",
     .help = "sidepool's TOML configuration"},
    {.name = "check-config",
     .kind = FlagKind::Boolean,
     .variable = false,
     .group = kFile,
     .help = "check everything that was given, then exit"},
    {.name = "print-config",
     .kind = FlagKind::Boolean,
     .variable = false,
     .group = kFile,
     .help = "print the configuration in effect as TOML, secrets masked, then exit"},
    {.name = "version",
     .letter = 'v',
     .kind = FlagKind::Boolean,
     .variable = false,
     .group = kFile,
     .help = "print the version"},
    {.name = "help",
     .letter = 'h',
     .kind = FlagKind::Boolean,
     .variable = false,
     .group = kFile,
     .help = "print this text"},
};

constexpr std::string_view kRemove = "remove it";
constexpr std::string_view kNoTelemetry =
    "remove it, sidepool sends nothing to Cloud Monitoring or Cloud Trace; --prometheus "
    "serves metrics";
constexpr std::string_view kNoFuse = "name the instances as arguments, with --unix-socket";
constexpr std::string_view kNoSqlData = "remove it, sidepool connects to the instance itself";
constexpr std::string_view kCredentials = "use --credentials-file, or Application Default Credentials";

constexpr MissingFlag kMissing[] = {
    {"auto-ip", 0, FlagKind::Boolean, "remove it for public addresses, or use --private-ip"},
    {"config-file", 0, FlagKind::Text,
     "give its settings as flags or CSQL_PROXY_* variables, or use --config with sidepool's own TOML format"},
    {"debug", 0, FlagKind::Boolean, kRemove},
    {"debug-logs", 0, FlagKind::Boolean, "set level = \"debug\" in [log] of the --config file"},
    {"disable-metrics", 0, FlagKind::Boolean, kNoTelemetry},
    {"disable-traces", 0, FlagKind::Boolean, kNoTelemetry},
    {"fuse", 0, FlagKind::Text, kNoFuse},
    {"fuse-tmp-dir", 0, FlagKind::Text, kNoFuse},
    {"gcloud-auth", 'g', FlagKind::Boolean, kCredentials},
    {"impersonate-service-account", 0, FlagKind::Text,
     "run as that service account, or use its --credentials-file"},
    {"json-credentials", 'j', FlagKind::Text, "write the JSON to a file and use --credentials-file"},
    {"lazy-refresh", 0, FlagKind::Boolean, "remove it, certificates are refreshed ahead of their expiry"},
    {"max-connections", 0, FlagKind::Text, "set max_client_conn in [server] of the --config file"},
    {"min-sigterm-delay", 0, FlagKind::Text, "use --max-sigterm-delay"},
    {"prometheus-namespace", 0, FlagKind::Text, "remove it and use the names that /metrics has"},
    {"psc", 0, FlagKind::Boolean, "use --private-ip, or remove it for public addresses"},
    {"quiet", 0, FlagKind::Boolean, "set level = \"error\" in [log] of the --config file"},
    {"quota-project", 0, FlagKind::Text, "set quota_project_id in the credentials file"},
    {"resource-exhausted-cooldown-delay", 0, FlagKind::Text, kNoSqlData},
    {"run-connection-test", 0, FlagKind::Boolean, "remove it and probe /startup"},
    {"skip-failed-instance-config", 0, FlagKind::Boolean, kRemove},
    {"sql-data", 0, FlagKind::Boolean, kNoSqlData},
    {"sqldata-api-endpoint", 0, FlagKind::Text, kNoSqlData},
    {"sql-data-endpoint", 0, FlagKind::Text, kNoSqlData},
    {"telemetry-prefix", 0, FlagKind::Text, kNoTelemetry},
    {"telemetry-project", 0, FlagKind::Text, kNoTelemetry},
    {"telemetry-sample-rate", 0, FlagKind::Text, kNoTelemetry},
    {"universe-domain", 0, FlagKind::Text, "use --sqladmin-api-endpoint"},
    {"user-agent", 0, FlagKind::Text, kRemove},
};

constexpr std::string_view kHelpTop =
    R"(sidepool connects applications to Cloud SQL for PostgreSQL, or to any PostgreSQL, and pools their connections.

Usage:
  sidepool [flags] INSTANCE_CONNECTION_NAME[?params]...
  sidepool --config sidepool.toml [flags]

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
)";

constexpr std::string_view kHelpBottom = R"(
Instance parameters, after the name as ?NAME=VALUE&NAME=VALUE:
  address  port  unix-socket  unix-socket-path  auto-iam-authn  private-ip

Each flag of the first three groups is also an environment variable, CSQL_PROXY_ and its name in capitals, such as
CSQL_PROXY_AUTO_IAM_AUTHN. Instances may come from CSQL_PROXY_INSTANCE_CONNECTION_NAME, or from that with _0, _1, ...
Flags override variables, which override the file. Times have units: 500ms, 30s, 1m30s.
)";

void append_flag(std::string& out, const Flag& flag) {
  constexpr std::size_t kColumn = 34;
  std::string line = flag.letter ? std::string("  -") + flag.letter + ", --" : "      --";
  line.append(flag.name);
  if (!flag.argument.empty()) line.append(" ").append(flag.argument);
  line.append(line.size() < kColumn ? kColumn - line.size() : 1, ' ');
  for (const char c : flag.help) {
    line.push_back(c);
    if (c == '\n') line.append(kColumn, ' ');
  }
  out.append(line).append("\n");
}

}  // namespace

std::span<const Flag> flags() { return kFlags; }
std::span<const MissingFlag> missing_flags() { return kMissing; }

const Flag* find_flag(std::string_view name) {
  for (const Flag& flag : kFlags) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

const Flag* find_flag(char letter) {
  for (const Flag& flag : kFlags) {
    if (flag.letter != 0 && flag.letter == letter) return &flag;
  }
  return nullptr;
}

std::string variable_of(std::string_view flag) {
  std::string name = "CSQL_PROXY_";
  for (const char c : flag) name.push_back(c == '-' ? '_' : static_cast<char>(c - 'a' + 'A'));
  return name;
}

std::string help_text() {
  std::string out(kHelpTop);
  std::string_view group;
  for (const Flag& flag : kFlags) {
    if (flag.group != group) out.append("\n").append(flag.group).append(":\n");
    group = flag.group;
    append_flag(out, flag);
  }
  return out.append(kHelpBottom);
}

}  // namespace sidepool::cli
