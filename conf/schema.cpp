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
     .help = "JSON file with credentials of any kind that Google's libraries know.",
     .unset = "Application Default Credentials",
     .flag = "credentials-file"},
    {.name = "credentials_json",
     .field = field<&CloudSqlConfig::credentials_json>,
     .reload = Reload::Restart,
     .help = "The text of such a file.",
     .flag = "json-credentials"},
    {.name = "gcloud_auth",
     .field = field<&CloudSqlConfig::gcloud_auth>,
     .reload = Reload::Restart,
     .help = "Use the account that the `gcloud` program is logged in with. Not with `auto_iam_authn`.",
     .flag = "gcloud-auth"},
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
    {.name = "impersonate",
     .field = texts_field<&CloudSqlConfig::impersonate>,
     .reload = Reload::Restart,
     .help =
         "Act as this service account. More of them are delegates: `[\"TARGET\", \"B\", \"C\"]` goes from "
         "the credentials to C, to B, to TARGET.",
     .flag = "impersonate-service-account"},
    {.name = "quota_project",
     .field = field<&CloudSqlConfig::quota_project>,
     .reload = Reload::Restart,
     .help = "The project that calls of the SQL Admin API are counted on.",
     .unset = "the credentials' own",
     .flag = "quota-project"},
    {.name = "universe_domain",
     .field = field<&CloudSqlConfig::universe_domain>,
     .reload = Reload::Restart,
     .help = "The domain of another Google Cloud. Not with `sqladmin_api_endpoint`.",
     .unset = "googleapis.com",
     .flag = "universe-domain"},
    {.name = "sqladmin_api_endpoint",
     .field = field<&CloudSqlConfig::sqladmin_api_endpoint>,
     .reload = Reload::Restart,
     .help = "URL of the SQL Admin API.",
     .unset = "https://sqladmin.googleapis.com/",
     .flag = "sqladmin-api-endpoint"},
    {.name = "user_agent",
     .field = field<&CloudSqlConfig::user_agent>,
     .reload = Reload::Restart,
     .help = "Appended to the user agent of calls of the SQL Admin API.",
     .flag = "user-agent"},
    {.name = "lazy_refresh",
     .field = field<&CloudSqlConfig::lazy_refresh>,
     .reload = Reload::Restart,
     .help = "Renew certificates when a connection needs one, not ahead of time.",
     .flag = "lazy-refresh"},
    {.name = "run_connection_test",
     .field = field<&CloudSqlConfig::run_connection_test>,
     .reload = Reload::Restart,
     .help = "Connect to every instance once before clients are served; end if one cannot be reached.",
     .flag = "run-connection-test"},
};
constexpr Key kMetricsKeys[] = {
    {.name = "listen",
     .field = field<&HttpConfig::metrics>,
     .reload = Reload::Restart,
     .help = "Serve `/metrics` for Prometheus at this address.",
     .unset = "off",
     .flag = "prometheus"},
    {.name = "namespace",
     .field = field<&HttpConfig::prometheus_namespace>,
     .reload = Reload::Restart,
     .help = "Put before the name of every metric, with a `_` between.",
     .flag = "prometheus-namespace"},
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
     .choices = kLevels,
     .flag = "quiet --debug-logs"},
    {.name = "format",
     .field = field<&LogConfig::format>,
     .reload = Reload::Restart,
     .help = "`json`: one object a line with `timestamp`, `severity` and `message`.",
     .choices = kFormats,
     .flag = "structured-logs"},
};
constexpr Key kShutdownKeys[] = {
    {.name = "min_sigterm_delay",
     .field = field<&ShutdownConfig::min_sigterm_delay>,
     .reload = Reload::Now,
     .help =
         "After SIGTERM clients are still let in for this long, while `/readiness` refuses already: time for "
         "load balancers to notice.",
     .range = kAnyTime,
     .flag = "min-sigterm-delay"},
    {.name = "max_sigterm_delay",
     .field = field<&ShutdownConfig::max_sigterm_delay>,
     .reload = Reload::Now,
     .help =
         "After SIGTERM, and `min_sigterm_delay`, clients may go on for this long; sidepool ends when the "
         "last has left. 0: end at once.",
     .range = kAnyTime,
     .unset = "end when nothing runs, at most 5 s",
     .flag = "max-sigterm-delay"},
    {.name = "exit_zero_on_sigterm",
     .field = field<&ShutdownConfig::exit_zero_on_sigterm>,
     .reload = Reload::Now,
     .help = "The exit code after SIGTERM is 0 instead of 143.",
     .flag = "exit-zero-on-sigterm"},
    {.name = "exit_when_idle",
     .field = field<&ShutdownConfig::exit_when_idle>,
     .reload = Reload::Now,
     .help = "End with exit code 0 when the last client has left and no other came for this long: for the "
             "sidecar of a Kubernetes Job. The first client is waited for without limit.",
     .range = kAnyTime,
     .unset = "off",
     .flag = "exit-when-idle"},
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
    {"psc", "ip_type = \"psc\" in [[upstream]]"},
    {"auto_ip", "ip_type = \"auto\" in [[upstream]]"},
    {"json_credentials", "credentials_json in [cloudsql]"},
    {"impersonate_service_account", "impersonate in [cloudsql]"},
    {"prometheus_namespace", "namespace in [metrics]"},
    {"quiet", "level = \"error\" in [log]"},
    {"debug_logs", "level = \"debug\" in [log]"},
    {"skip_failed_instance_config", "skip_failed_listeners in [server]"},
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
