// src/cli/flags.cpp -- the flags that exist.
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

constexpr std::string_view kClients = "Clients";
constexpr std::string_view kCloud = "Cloud SQL";
constexpr std::string_view kCredentials = "Credentials (default: Application Default Credentials)";
constexpr std::string_view kProbes = "Health, metrics, shutdown";
constexpr std::string_view kLogs = "Log";
constexpr std::string_view kFile = "Configuration file and help";
// The Auth Proxy has them. They are taken where nothing is lost by it, else refused; see options.cpp.
constexpr std::string_view kNoEffect = "Without effect";

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
     .help = "address to listen on (default 127.0.0.1); opens IAM pools to other machines too"},
    {.name = "unix-socket",
     .letter = 'u',
     .group = kClients,
     .argument = "DIR",
     .help = "listen on DIR/INSTANCE/.s.PGSQL.5432 instead of TCP"},
    {.name = "max-connections",
     .group = kClients,
     .argument = "N",
     .help = "clients at most, the next ones get an error (default 1000)"},
    {.name = "skip-failed-instance-config",
     .kind = FlagKind::Boolean,
     .group = kClients,
     .help = "leave out instances whose listener cannot be opened"},
    {.name = "auto-iam-authn",
     .letter = 'i',
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "log in as the IAM principal of the credentials, without a password"},
    {.name = "private-ip",
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "connect to the private addresses of instances"},
    {.name = "psc", .kind = FlagKind::Boolean, .group = kCloud, .help = "connect by Private Service Connect"},
    {.name = "auto-ip",
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "connect to the public address if there is one, else to the private one"},
    {.name = "lazy-refresh",
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "renew certificates when they are needed, not ahead of time"},
    {.name = "run-connection-test",
     .kind = FlagKind::Boolean,
     .group = kCloud,
     .help = "connect to every instance at start, and end if one cannot be reached"},
    {.name = "quota-project",
     .group = kCloud,
     .argument = "PROJECT",
     .help = "project that API calls are counted on"},
    {.name = "sqladmin-api-endpoint", .group = kCloud, .argument = "URL", .help = "another SQL Admin API"},
    {.name = "universe-domain",
     .group = kCloud,
     .argument = "DOMAIN",
     .help = "another Google Cloud (default googleapis.com)"},
    {.name = "user-agent",
     .group = kCloud,
     .argument = "TEXT",
     .help = "appended to the user agent of API calls"},
    {.name = "credentials-file",
     .letter = 'c',
     .group = kCredentials,
     .argument = "FILE",
     .help = "file with credentials of any kind"},
    {.name = "json-credentials",
     .letter = 'j',
     .group = kCredentials,
     .argument = "JSON",
     .help = "its text instead"},
    {.name = "gcloud-auth",
     .letter = 'g',
     .kind = FlagKind::Boolean,
     .group = kCredentials,
     .help = "use gcloud's account; not with --auto-iam-authn"},
    {.name = "token",
     .letter = 't',
     .group = kCredentials,
     .argument = "TOKEN",
     .help = "access token for the SQL Admin API"},
    {.name = "login-token",
     .group = kCredentials,
     .argument = "TOKEN",
     .help = "access token for logging in; with --token and --auto-iam-authn"},
    {.name = "impersonate-service-account",
     .group = kCredentials,
     .argument = "EMAIL[,EMAIL...]",
     .help = "\n"
             "act as this service account; TARGET,B,C goes by way of C, then B"},
    {.name = "health-check",
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "serve /startup, /readiness and /liveness"},
    {.name = "prometheus", .kind = FlagKind::Boolean, .group = kProbes, .help = "serve /metrics"},
    {.name = "prometheus-namespace",
     .group = kProbes,
     .argument = "NAME",
     .help = "put NAME_ before the names of metrics"},
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
    {.name = "min-sigterm-delay",
     .group = kProbes,
     .argument = "TIME",
     .help = "after SIGTERM let new clients in for TIME, such as 30s"},
    {.name = "max-sigterm-delay",
     .group = kProbes,
     .argument = "TIME",
     .help = "then let clients go on for up to TIME; 0 ends at once\n"
             "(default: end when nothing runs, at most 5s)"},
    {.name = "exit-zero-on-sigterm",
     .kind = FlagKind::Boolean,
     .group = kProbes,
     .help = "exit code 0 after SIGTERM instead of 143"},
    {.name = "exit-when-idle",
     .group = kProbes,
     .argument = "TIME",
     .help = "exit code 0 when the last client has gone and none came for TIME"},
    {.name = "structured-logs",
     .letter = 'l',
     .kind = FlagKind::Boolean,
     .group = kLogs,
     .help = "log one JSON object a line"},
    {.name = "quiet", .kind = FlagKind::Boolean, .group = kLogs, .help = "log errors only"},
    {.name = "debug-logs", .kind = FlagKind::Boolean, .group = kLogs, .help = "log more"},
    {.name = "config",
     .variable = false,
     .group = kFile,
     .argument = "FILE",
     .help = "sidepool's TOML configuration"},
    {.name = "config-file",
     .group = kFile,
     .argument = "FILE",
     .help = "the Auth Proxy's flat file of flags: TOML, YAML or JSON"},
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
    {.name = "debug", .kind = FlagKind::Boolean, .group = kNoEffect},
    {.name = "disable-metrics", .kind = FlagKind::Boolean, .group = kNoEffect},
    {.name = "disable-traces", .kind = FlagKind::Boolean, .group = kNoEffect},
    {.name = "fuse", .group = kNoEffect},
    {.name = "fuse-tmp-dir", .group = kNoEffect},
    {.name = "resource-exhausted-cooldown-delay", .group = kNoEffect},
    {.name = "sql-data", .kind = FlagKind::Boolean, .group = kNoEffect},
    {.name = "sql-data-endpoint", .group = kNoEffect},
    {.name = "sqldata-api-endpoint", .group = kNoEffect},
    {.name = "telemetry-prefix", .group = kNoEffect},
    {.name = "telemetry-project", .group = kNoEffect},
    {.name = "telemetry-sample-rate", .group = kNoEffect},
};

constexpr Flag kHelp{.name = "help",
                     .letter = 'h',
                     .kind = FlagKind::Boolean,
                     .variable = false,
                     .group = "Flags",
                     .help = "print this text"};
// The Auth Proxy takes these two for every command.
constexpr Flag kHttpAddress{.name = "http-address",
                            .group = "Flags",
                            .argument = "HOST",
                            .help = "where the other process serves its probes (default localhost)"};
constexpr Flag kHttpPort{
    .name = "http-port", .group = "Flags", .argument = "PORT", .help = "and its port (default 9090)"};
constexpr Flag kWaitFlags[] = {
    {.name = "max",
     .letter = 'm',
     .variable = false,
     .group = "Flags",
     .argument = "TIME",
     .help = "give up after TIME (default 30s)"},
    kHttpAddress,
    kHttpPort,
    kHelp,
};
constexpr Flag kShutdownFlags[] = {
    {.name = "admin-port",
     .group = "Flags",
     .argument = "PORT",
     .help = "port of /quitquitquit (default 9091)"},
    kHttpAddress,
    kHttpPort,
    kHelp,
};

}  // namespace

Flags flags() { return kFlags; }
Flags wait_flags() { return kWaitFlags; }
Flags shutdown_flags() { return kShutdownFlags; }

const Flag* find_flag(Flags among, std::string_view name) {
  for (const Flag& flag : among) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}

const Flag* find_flag(Flags among, char letter) {
  for (const Flag& flag : among) {
    if (flag.letter != 0 && flag.letter == letter) return &flag;
  }
  return nullptr;
}

std::string variable_of(std::string_view flag) {
  std::string name = "CSQL_PROXY_";
  for (const char c : flag) name.push_back(c == '-' ? '_' : static_cast<char>(c - 'a' + 'A'));
  return name;
}

}  // namespace sidepool::cli
