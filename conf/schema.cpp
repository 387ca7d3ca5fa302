// conf/schema.cpp -- the small tables of the file, its root, and names known from elsewhere.
#include "conf/schema.h"

#include "conf/schema_rows.h"

namespace sidepool::conf {
namespace {

using namespace rows;

constexpr ChoiceName kLevels[] = {{"debug", value(LogLevel::Debug)},
                                  {"info", value(LogLevel::Info)},
                                  {"warning", value(LogLevel::Warning)},
                                  {"error", value(LogLevel::Error)}};
constexpr ChoiceName kFormats[] = {{"plain", value(LogFormat::Plain)}, {"json", value(LogFormat::Json)}};

constexpr Key kCloudSqlKeys[] = {
    {.name = "credentials_file",
     .field = field<&CloudSqlConfig::credentials_file>,
     .reload = Reload::Restart,
     .help = "JSON file of a service account or an authorized user.",
     .unset = "Application Default Credentials",
     .flag = "credentials-file"},
    {.name = "token",
     .field = field<&CloudSqlConfig::token>,
     .reload = Reload::Restart,
     .help = "An OAuth 2 access token for the SQL Admin API. It is never renewed.",
     .flag = "token"},
    {.name = "login_token",
     .field = field<&CloudSqlConfig::login_token>,
     .reload = Reload::Restart,
     .help =
         "An OAuth 2 access token for logging in to databases; together with `token` and `auto_iam_authn`.",
     .flag = "login-token"},
    {.name = "sqladmin_api_endpoint",
     .field = field<&CloudSqlConfig::sqladmin_api_endpoint>,
     .reload = Reload::Restart,
     .help = "URL of the SQL Admin API.",
     .unset = "https://sqladmin.googleapis.com/",
     .flag = "sqladmin-api-endpoint"},
};
constexpr Key kMetricsKeys[] = {
    {.name = "listen",
     .field = field<&HttpConfig::metrics>,
     .reload = Reload::Restart,
     .help = "Serve `/metrics` for Prometheus at this address.",
     .unset = "off",
     .flag = "prometheus"},
};
constexpr Key kHealthKeys[] = {
    {.name = "listen",
     .field = field<&HttpConfig::health>,
     .reload = Reload::Restart,
     .help = "Serve `/startup`, `/readiness` and `/liveness` at this address. It may be that of the metrics.",
     .unset = "off",
     .flag = "health-check"},
};
constexpr Key kAdminKeys[] = {
    {.name = "quitquitquit",
     .field = field<&HttpConfig::quitquitquit>,
     .reload = Reload::Restart,
     .help = "Serve `/quitquitquit`, which ends sidepool, at 127.0.0.1.",
     .flag = "quitquitquit"},
    {.name = "port",
     .field = field<&HttpConfig::admin_port>,
     .reload = Reload::Restart,
     .help = "The port for it.",
     .range = {0, 65535},
     .flag = "admin-port"},
};
constexpr Key kLogKeys[] = {
    {.name = "level",
     .field = field<&LogConfig::level>,
     .reload = Reload::Now,
     .help = "What is logged: this and what is worse.",
     .choices = kLevels},
    {.name = "format",
     .field = field<&LogConfig::format>,
     .reload = Reload::Restart,
     .help = "`json`: one object a line with `timestamp`, `severity` and `message`.",
     .choices = kFormats,
     .flag = "structured-logs"},
};
constexpr Key kShutdownKeys[] = {
    {.name = "max_sigterm_delay",
     .field = field<&ShutdownConfig::max_sigterm_delay>,
     .reload = Reload::Now,
     .help = "After SIGTERM clients may go on for this long; sidepool ends when the last has left. 0: end at "
             "once.",
     .range = kAnyTime,
     .unset = "end when nothing runs, at most 5 s",
     .flag = "max-sigterm-delay"},
    {.name = "exit_zero_on_sigterm",
     .field = field<&ShutdownConfig::exit_zero_on_sigterm>,
     .reload = Reload::Now,
     .help = "The exit code after SIGTERM is 0 instead of 143.",
     .flag = "exit-zero-on-sigterm"},
};

constexpr Section kCloudSql{.name = "cloudsql",
                            .path = "cloudsql",
                            .help = "Google's side: credentials and the API.",
                            .keys = kCloudSqlKeys,
                            .inside = inside<&Config::cloudsql>};
constexpr Section kMetrics{.name = "metrics",
                           .path = "metrics",
                           .help = "Metrics.",
                           .keys = kMetricsKeys,
                           .inside = inside<&Config::http>};
constexpr Section kHealth{.name = "health",
                          .path = "health",
                          .help = "Probes.",
                          .keys = kHealthKeys,
                          .inside = inside<&Config::http>};
constexpr Section kAdmin{
    .name = "admin",
    .path = "admin",
    .help = "The only HTTP address that changes anything. It exists only on this machine.",
    .keys = kAdminKeys,
    .inside = inside<&Config::http>};
constexpr Section kLog{
    .name = "log", .path = "log", .help = "Logging.", .keys = kLogKeys, .inside = inside<&Config::log>};
constexpr Section kShutdown{.name = "shutdown",
                            .path = "shutdown",
                            .help = "How sidepool ends.",
                            .keys = kShutdownKeys,
                            .inside = inside<&Config::shutdown>};

constexpr ForeignName kForeignNames[] = {
    {"default_pool_size", "size in [pool]"},
    {"pool_size", "size in [pool]"},
    {"pool_mode", "mode in [pool]"},
    {"min_pool_size", "min_size in [pool]"},
    {"max_db_connections", "max_server_connections in [pool]"},
    {"server_login_retry", "server_backoff_min and server_backoff_max in [pool]"},
    {"cancel_wait_timeout", "cancel_timeout in [pool]"},
    {"max_packet_size", "max_message in [pool]"},
    {"dns_max_ttl", "dns_ttl in [server]"},
    {"listen_addr", "listen in [[upstream]]"},
    {"listen_port", "listen in [[upstream]]"},
    {"unix_socket_dir", "listen = [\"unix:/DIRECTORY\"] in [[upstream]]"},
    {"auth_type", "client_auth in [[upstream]]"},
    {"host", "hosts in [[upstream]]"},
    {"server_tls_sslmode", "tls = { mode = \"...\" } in [[upstream]]"},
    {"client_tls_sslmode", "listen_tls = { mode = \"...\" } in [[upstream]]"},
    {"sslmode", "tls = { mode = \"...\" } in [[upstream]]"},
    {"private_ip", "ip_type = \"private\" in [[upstream]]"},
    {"psc", "ip_type in [[upstream]]"},
    {"structured_logs", "format = \"json\" in [log]"},
    {"log_level", "level in [log]"},
    {"max_connections", "max_client_conn in [server]"},
    {"server_reset_query", "isolation in [pool]: sidepool chooses the clean-up itself"},
};

}  // namespace

const Section& root_section() {
  static const Section server{.name = "server",
                              .path = "server",
                              .help = "The process.",
                              .keys = server_keys(),
                              .inside = inside<&Config::server>};
  static const Section pool{
      .name = "pool",
      .path = "pool",
      .help = "What every pool does, unless `[upstream.pool]` says otherwise for an upstream.",
      .keys = pool_keys(),
      .inside = inside<&Config::pool>};
  static const Section* const tables[] = {
      &server, &pool, &upstream_section(), &user_section(), &kCloudSql, &kMetrics, &kHealth,
      &kAdmin, &kLog, &kShutdown};
  static const Section root{.name = "", .path = "", .help = "", .keys = {}, .tables = tables};
  return root;
}

std::span<const ForeignName> foreign_names() { return kForeignNames; }

}  // namespace sidepool::conf
