// conf/config.h -- what sidepool does, as plain structs with their defaults. The TOML file, the command line
// and the environment all end here; nothing below knows where a value came from. The meaning of each key for
// users is in conf/schema*.cpp (which is also docs/reference.md); comments here say what code needs to know.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "conf/secret.h"

namespace sidepool::conf {

using Duration =
    std::chrono::steady_clock::duration;  // the same type as sidepool::Duration and pool::Duration
using Bytes = std::uint64_t;              // a size

// Where clients or probes reach us. TCP: `ip` is an IPv4 or IPv6 literal (never a name, no brackets); port 0
// asks the kernel for a free one. Unix: `path` is the whole path of the socket file, ending in
// ".s.PGSQL.<port>"; its last directory is created if it is missing, the parent of that must exist.
struct Address {
  std::string ip{};
  std::uint16_t port = 0;
  std::string path{};  // not empty: a unix socket, `ip` is empty then
  bool is_unix() const noexcept { return !path.empty(); }
  friend bool operator==(const Address&, const Address&) = default;
};

// Whether clients from other machines may use identity-less pools over a listener (product rule: loopback and
// unix sockets always may). FlagOrEnv: --address, ?address= or CSQL_PROXY_ADDRESS named the address, which is
// the opt-in and costs one warning at start; ConfigFile: allow_remote = true.
enum class RemoteOptIn : std::uint8_t { No, ConfigFile, FlagOrEnv };

struct Listener {
  Address address{};
  RemoteOptIn remote_opt_in = RemoteOptIn::No;
  friend bool operator==(const Listener&, const Listener&) = default;
};

enum class ServerTlsMode : std::uint8_t { Disable, Prefer, Require, VerifyCa, VerifyFull };
enum class ClientTlsMode : std::uint8_t { Disable, Allow, Require, VerifyCa, VerifyFull };

// Our connections to PostgreSQL. Not used for Cloud SQL instances: their TLS is fixed.
struct ServerTls {
  ServerTlsMode mode = ServerTlsMode::Prefer;
  std::string ca_file{};    // empty: the system's roots; verify-* modes only
  std::string cert_file{};  // client certificate shown to the server; together with key_file
  std::string key_file{};
  friend bool operator==(const ServerTls&, const ServerTls&) = default;
};

// Clients' connections to the listeners of one upstream. Unix sockets never use TLS.
struct ClientTls {
  ClientTlsMode mode = ClientTlsMode::Disable;
  std::string cert_file{};  // not empty unless mode is Disable
  std::string key_file{};
  std::string ca_file{};  // not empty in the verify-* modes
  friend bool operator==(const ClientTls&, const ClientTls&) = default;
};

enum class PoolMode : std::uint8_t {
  Session,
  Transaction,
  Statement,
  None
};  // None: pass through, nothing shared
enum class Isolation : std::uint8_t { Reset, Tracked };
enum class Pinning : std::uint8_t { Auto, Refuse, Off };

// The rules of every pool of one upstream. Durations of 0 mean "no limit" unless said otherwise.
struct PoolConfig {
  PoolMode mode = PoolMode::Transaction;
  std::uint32_t size = 10;                   // at least 1
  std::uint32_t min_size = 0;                // at most size
  std::uint32_t max_server_connections = 0;  // of the whole upstream; 0: only size counts
  std::uint32_t max_waiting = 0;  // clients in one pool's queue; 0: max_client_conn is the only limit
  std::uint32_t max_opening = 4;  // server logins in flight of the upstream; at least 1

  Duration server_lifetime = std::chrono::hours(1);
  Duration server_idle_timeout = std::chrono::minutes(10);
  Duration server_connect_timeout = std::chrono::seconds(15);  // dial, TLS and login together; never 0
  Duration server_close_timeout = std::chrono::seconds(5);     // from Terminate to the peer's EOF; never 0
  Duration server_backoff_min = std::chrono::milliseconds(100);
  Duration server_backoff_max = std::chrono::seconds(15);  // at least server_backoff_min

  Duration query_wait_timeout = std::chrono::seconds(120);
  Duration query_wait_notify = std::chrono::seconds(5);
  Duration query_timeout{};
  Duration transaction_timeout{};
  Duration idle_transaction_timeout{};
  Duration client_idle_timeout{};
  Duration client_write_timeout{};

  Duration cancel_timeout = std::chrono::seconds(10);  // of one cancel connection; never 0
  std::uint32_t max_cancels = 16;  // cancel connections in flight of the upstream; at least 1

  std::uint32_t max_prepared_statements = 200;  // per server; 0: names of statements pass untouched
  std::uint32_t max_client_statements = 1000;   // per client

  Isolation isolation = Isolation::Reset;
  Pinning pinning = Pinning::Auto;
  bool server_round_robin = false;
  Duration locality_window = std::chrono::milliseconds(1);  // 0: strictly first come, first served
  Bytes max_message = (Bytes{1} << 30) - 1;                 // body of one message, fits in 30 bits
  Duration auth_ttl = std::chrono::minutes(10);             // never 0

  std::vector<std::string> ignore_startup_parameters{};  // of clients: dropped, not sent upstream; lower case
  std::map<std::string, std::string> startup_parameters{};  // the operator's, for every server

  bool tcp_keepalive = true;  // both sides; the next three: 0 leaves the kernel's value, whole seconds
  Duration tcp_keepidle = std::chrono::seconds(30);
  Duration tcp_keepintvl = std::chrono::seconds(10);
  std::uint32_t tcp_keepcnt = 6;
  // Server side only, whole milliseconds, 0 leaves the kernel's value. Off by default because Linux counts a
  // peer that merely reads slowly (a COPY into a locked table) as dead too.
  Duration tcp_user_timeout{};

  friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

// Auto: public if the instance has such an address, else private (the connector's rule; never PSC).
enum class IpType : std::uint8_t { Public, Private, Psc, Auto };

// A server address in a host list: a name or IP literal with a port, or a unix socket file.
struct Host {
  std::string name{};  // DNS name or IP literal without brackets
  std::uint16_t port = 5432;
  std::string path{};  // not empty: the socket file "<directory>/.s.PGSQL.<port>", `name` is empty then
  bool is_unix() const noexcept { return !path.empty(); }
  friend bool operator==(const Host&, const Host&) = default;
};

enum class ClientAuth : std::uint8_t { Database, Trust };

// A Cloud SQL instance, or a list of hosts: exactly one of `instance` and `hosts` is not empty.
struct Upstream {
  std::string name{};  // unique in a Config; for logs, labels and error messages
  // PROJECT:REGION:INSTANCE, DOMAIN:PROJECT:REGION:INSTANCE, or a DNS name that leads to one (only
  // is_domain_name() tells them apart); syntax checked, kept as it was written.
  std::string instance{};
  bool auto_iam_authn = false;
  IpType ip_type = IpType::Public;
  std::vector<Host> hosts{};  // tried in order
  ServerTls tls{};
  std::vector<Listener> listeners{};  // at least one
  ClientTls listen_tls{};
  bool allow_remote = false;  // already in the listeners' remote_opt_in
  ClientAuth client_auth = ClientAuth::Database;
  PoolConfig pool{};  // complete: [pool] with this upstream's own keys over it

  bool is_cloudsql() const noexcept { return !instance.empty(); }
  // `instance` is to be looked up in the DNS before anything is known about it.
  bool is_domain_name() const noexcept { return is_cloudsql() && instance.find(':') == std::string::npos; }
  // What log lines call it, in brackets as the Auth Proxy does: the instance as it was named.
  const std::string& label() const noexcept { return is_cloudsql() ? instance : name; }
  friend bool operator==(const Upstream&, const Upstream&) = default;
};

// The password that sidepool itself uses upstream for a role, when client_auth is Trust.
struct User {
  std::string name{};
  Secret password{};
  std::string
      upstream{};  // name of the only upstream it is for; empty: every upstream with client_auth Trust
  friend bool operator==(const User&, const User&) = default;
};

struct ServerConfig {
  std::uint32_t workers = 0;  // threads; 0: the CPU quota (cgroup, else online CPUs) rounded up, at most 4
  std::uint32_t max_client_conn = 1000;
  std::uint32_t max_pools = 1000;
  Duration client_login_timeout = std::chrono::seconds(60);  // never 0
  Bytes statement_memory = Bytes{64} << 20;                  // texts of prepared statements, whole process
  std::uint32_t unix_socket_mode = 0777;
  std::uint32_t listen_backlog = 1024;
  std::uint32_t cancel_mismatch_rate = 10;      // wrong keys per second and worker that cost nothing
  std::vector<std::string> dns_servers{};       // "IP", "IP:PORT" or "[IPv6]:PORT"; empty: the system's
  Duration dns_ttl = std::chrono::seconds(15);  // how long an answer for `hosts` is used; 0: ask at each dial
  // A listener that cannot be opened at start is logged and left out; it is an error if none is left.
  bool skip_failed_listeners = false;
  friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

struct CloudSqlConfig {
  // Where credentials come from: at most one of these four; none: Application Default Credentials.
  Secret token{};
  std::string credentials_file{};
  Secret credentials_json{};  // the text of such a file
  bool gcloud_auth = false;   // ask the gcloud program
  Secret login_token{};       // with `token` only
  // The service account to act as comes first, the delegates behind it in the order of the flag: the last one
  // is the first that the credentials impersonate. Empty: act as the credentials' own principal.
  std::vector<std::string> impersonate{};
  std::string quota_project{};          // for X-Goog-User-Project; empty: the credentials' own
  std::string universe_domain{};        // empty: googleapis.com. Excludes sqladmin_api_endpoint
  std::string sqladmin_api_endpoint{};  // http(s) URL ending in '/'; empty: the universe's
  std::string user_agent{};             // appended to ours
  bool lazy_refresh = false;            // certificates are renewed when they are needed, never ahead
  bool run_connection_test = false;     // connect to every instance once before clients are served
  friend bool operator==(const CloudSqlConfig&, const CloudSqlConfig&) = default;
};

// The three HTTP listeners; not set: off. Equal addresses of metrics and health are one listener. Never unix
// sockets.
struct HttpConfig {
  std::optional<Address> metrics{};    // /metrics
  std::optional<Address> health{};     // /startup /readiness /liveness
  std::string prometheus_namespace{};  // before every metric's name, with a _ between; empty: none
  bool quitquitquit = false;           // /quitquitquit on 127.0.0.1:admin_port, which is opened only for it
  std::uint16_t admin_port = 9091;
  friend bool operator==(const HttpConfig&, const HttpConfig&) = default;
};

enum class LogLevel : std::uint8_t { Debug, Info, Warning, Error };
enum class LogFormat : std::uint8_t { Plain, Json };  // Json: the Auth Proxy's --structured-logs

struct LogConfig {
  LogLevel level = LogLevel::Info;
  LogFormat format = LogFormat::Plain;
  friend bool operator==(const LogConfig&, const LogConfig&) = default;
};

struct ShutdownConfig {
  // After SIGTERM, SIGINT or /quitquitquit: how long new clients are still accepted (readiness refuses at
  // once).
  Duration min_sigterm_delay{};
  // Not set: exit as soon as nothing runs, at most after 5 s. 0: at once. Else clients may go on until it
  // ends.
  std::optional<Duration> max_sigterm_delay{};
  bool exit_zero_on_sigterm = false;  // else 143
  // Set: end with exit code 0 when the last client has gone and none came for this long. It counts from the
  // first client on, so that a slow start of the application does not end the process.
  std::optional<Duration> exit_when_idle{};
  friend bool operator==(const ShutdownConfig&, const ShutdownConfig&) = default;
};

// Immutable once it is built: shared as std::shared_ptr<const Config>.
struct Config {
  ServerConfig server{};
  PoolConfig
      pool{};  // [pool]: what an [[upstream]] starts from. Code that serves clients reads Upstream::pool
  std::vector<Upstream> upstreams{};  // at least one
  std::vector<User> users{};
  CloudSqlConfig cloudsql{};
  HttpConfig http{};
  LogConfig log{};
  ShutdownConfig shutdown{};
  friend bool operator==(const Config&, const Config&) = default;
};

}  // namespace sidepool::conf
