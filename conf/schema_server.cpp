// conf/schema_server.cpp -- the keys of [server].
#include "conf/schema_rows.h"

namespace sidepool::conf {
namespace {

using namespace rows;

constexpr Key kKeys[] = {
    {.name = "workers",
     .field = field<&ServerConfig::workers>,
     .reload = Reload::Restart,
     .help = "Threads that serve clients. 0: as many as the CPU quota of the container (or the machine) "
             "allows, at "
             "most 4.",
     .range = {0, 16},
     .unset = "CPU quota, at most 4"},
    {.name = "max_client_conn",
     .field = field<&ServerConfig::max_client_conn>,
     .reload = Reload::Now,
     .help = "Client connections at most, those not logged in yet included; the next gets an error (53300). "
             "The open "
             "file limit is raised for it at start if it may be.",
     .range = kPositive,
     .flag = "max-connections"},
    {.name = "max_pools",
     .field = field<&ServerConfig::max_pools>,
     .reload = Reload::Now,
     .help = "Pools, that is different (upstream, database, user), at most. For one more, one is forgotten "
             "that has neither clients nor server connections; while each has some, a client of another is "
             "refused (53300).",
     .range = kPositive},
    {.name = "client_login_timeout",
     .field = field<&ServerConfig::client_login_timeout>,
     .reload = Reload::Now,
     .help = "Time for a client to log in, from its connection on. The wait for a free login to the upstream "
             "counts.",
     .range = kSomeTime},
    {.name = "statement_memory",
     .field = field<&ServerConfig::statement_memory>,
     .reload = Reload::Now,
     .help =
         "Memory for the texts of all clients' prepared statements; beyond it preparing is an error (53200).",
     .range = {1 << 20, std::int64_t{1} << 40}},
    {.name = "unix_socket_mode",
     .field = mode_field<&ServerConfig::unix_socket_mode>,
     .reload = Reload::Restart,
     .help = "Mode of unix socket files, in octal.",
     .range = {0, 0777}},
    {.name = "listen_backlog",
     .field = field<&ServerConfig::listen_backlog>,
     .reload = Reload::Restart,
     .help = "Connections that the kernel keeps until they are accepted, per listener.",
     .range = {1, 65535}},
    {.name = "cancel_mismatch_rate",
     .field = field<&ServerConfig::cancel_mismatch_rate>,
     .reload = Reload::Now,
     .help =
         "Cancel requests with a wrong key that are answered at once, per second and thread; the connections "
         "of more are kept open for a second. A right key never waits.",
     .range = {1, 100'000}},
    {.name = "dns_servers",
     .field = texts_field<&ServerConfig::dns_servers>,
     .reload = Reload::Restart,
     .help =
         "Name servers to ask instead of the system's: `[\"10.0.0.2\", \"127.0.0.1:5353\"]`. They are asked "
         "for `hosts`, and for DNS names of instances and their TXT records; not for Google's APIs.",
     .unset = "those of `/etc/resolv.conf`"},
    {.name = "dns_ttl",
     .field = field<&ServerConfig::dns_ttl>,
     .reload = Reload::Now,
     .help = "How long the addresses of a name in `hosts` are used before it is looked up again. 0: for one "
             "connection.",
     .range = kAnyTime},
    {.name = "skip_failed_listeners",
     .field = field<&ServerConfig::skip_failed_listeners>,
     .reload = Reload::Restart,
     .help = "A listener that cannot be opened at start is logged and left out, instead of ending sidepool.",
     .flag = "skip-failed-instance-config"},
};

}  // namespace

std::span<const Key> server_keys() { return kKeys; }

}  // namespace sidepool::conf
