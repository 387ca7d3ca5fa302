// conf/schema_pool.cpp -- the keys of [pool] and [upstream.pool].
#include "conf/schema_rows.h"

namespace sidepool::conf {
namespace {

using namespace rows;

constexpr ChoiceName kModes[] = {{"session", value(PoolMode::Session)},
                                 {"transaction", value(PoolMode::Transaction)},
                                 {"statement", value(PoolMode::Statement)},
                                 {"none", value(PoolMode::None)}};
constexpr ChoiceName kIsolations[] = {{"reset", value(Isolation::Reset)},
                                      {"tracked", value(Isolation::Tracked)}};
constexpr ChoiceName kPinnings[] = {
    {"auto", value(Pinning::Auto)}, {"refuse", value(Pinning::Refuse)}, {"off", value(Pinning::Off)}};

constexpr Key kKeys[] = {
    {.name = "mode",
     .field = field<&PoolConfig::mode>,
     .reload = Reload::NewConnections,
     .help =
         "How long a client keeps a server: until it disconnects (`session`), to the end of a transaction "
         "(`transaction`), or of a statement (`statement`, where transaction blocks are refused). `none` "
         "shares "
         "nothing: each client gets a server of its own and its authentication is passed through.",
     .choices = kModes},
    {.name = "size",
     .field = field<&PoolConfig::size>,
     .reload = Reload::Now,
     .help = "Server connections of one pool, that is of one (upstream, database, user), at most. Never "
             "exceeded, not "
             "even for a moment.",
     .range = {1, 10'000}},
    {.name = "min_size",
     .field = field<&PoolConfig::min_size>,
     .reload = Reload::Now,
     .help = "Server connections that a pool keeps open although nobody uses them, once it exists.",
     .range = {0, 10'000}},
    {.name = "max_server_connections",
     .field = field<&PoolConfig::max_server_connections>,
     .reload = Reload::Now,
     .help = "Server connections of all pools of the upstream together, at most. 0: only `size` counts.",
     .range = kCount},
    {.name = "max_waiting",
     .field = field<&PoolConfig::max_waiting>,
     .reload = Reload::Now,
     .help =
         "Clients that may wait for a server of one pool; the next gets an error (53300). 0: as many as may "
         "connect.",
     .range = kCount},
    {.name = "max_opening",
     .field = field<&PoolConfig::max_opening>,
     .reload = Reload::Now,
     .help = "Logins to the upstream in flight at a time, first logins and password trials of clients "
             "included. A TLS "
             "handshake costs milliseconds of CPU on both sides.",
     .range = {1, 1000}},
    {.name = "server_lifetime",
     .field = field<&PoolConfig::server_lifetime>,
     .reload = Reload::Now,
     .help = "A server connection older than this is closed when its client lets go of it. 0: never.",
     .range = kAnyTime},
    {.name = "server_idle_timeout",
     .field = field<&PoolConfig::server_idle_timeout>,
     .reload = Reload::Now,
     .help = "A server connection unused for this long is closed, down to `min_size`. 0: never.",
     .range = kAnyTime},
    {.name = "server_connect_timeout",
     .field = field<&PoolConfig::server_connect_timeout>,
     .reload = Reload::Now,
     .help = "Time for a login to the upstream: connecting, TLS and authentication together.",
     .range = kSomeTime},
    {.name = "server_close_timeout",
     .field = field<&PoolConfig::server_close_timeout>,
     .reload = Reload::Now,
     .help = "A connection that was told to end counts against `size` until the server has closed it, at "
             "most this "
             "long.",
     .range = kSomeTime},
    {.name = "server_backoff_min",
     .field = field<&PoolConfig::server_backoff_min>,
     .reload = Reload::Now,
     .help = "Pause after a first failed login to the upstream; it doubles with each further failure.",
     .range = kSomeTime},
    {.name = "server_backoff_max",
     .field = field<&PoolConfig::server_backoff_max>,
     .reload = Reload::Now,
     .help = "The longest such pause.",
     .range = kSomeTime},
    {.name = "query_wait_timeout",
     .field = field<&PoolConfig::query_wait_timeout>,
     .reload = Reload::Now,
     .help = "A client that waits longer for a server gets an error for that request; its connection stays. "
             "0: waits "
             "for ever.",
     .range = kAnyTime},
    {.name = "query_wait_notify",
     .field = field<&PoolConfig::query_wait_notify>,
     .reload = Reload::Now,
     .help = "A client that waits longer for a server is told so by a NOTICE. 0: never.",
     .range = kAnyTime},
    {.name = "query_timeout",
     .field = field<&PoolConfig::query_timeout>,
     .reload = Reload::Now,
     .help = "A request that runs longer is cancelled, and its client disconnected; each of several "
             "queries that were sent together has this time, and all that one Sync ends. 0: no limit. "
             "PostgreSQL's own "
             "`statement_timeout` leaves the connection open.",
     .range = kAnyTime},
    {.name = "transaction_timeout",
     .field = field<&PoolConfig::transaction_timeout>,
     .reload = Reload::Now,
     .help = "A transaction that lasts longer is ended, and its client disconnected. 0: no limit.",
     .range = kAnyTime},
    {.name = "idle_transaction_timeout",
     .field = field<&PoolConfig::idle_transaction_timeout>,
     .reload = Reload::Now,
     .help = "A client that leaves its transaction open and asks nothing for longer is disconnected. 0: no "
             "limit.",
     .range = kAnyTime},
    {.name = "client_idle_timeout",
     .field = field<&PoolConfig::client_idle_timeout>,
     .reload = Reload::Now,
     .help = "A client without a server that asks nothing for longer is disconnected. 0: never.",
     .range = kAnyTime},
    {.name = "client_write_timeout",
     .field = field<&PoolConfig::client_write_timeout>,
     .reload = Reload::Now,
     .help = "A client that takes none of the bytes waiting for it for longer is disconnected; until then it "
             "keeps its "
             "server. 0: never.",
     .range = kAnyTime},
    {.name = "cancel_timeout",
     .field = field<&PoolConfig::cancel_timeout>,
     .reload = Reload::Now,
     .help = "Time for handing one cancel request to the upstream.",
     .range = kSomeTime},
    {.name = "max_cancels",
     .field = field<&PoolConfig::max_cancels>,
     .reload = Reload::Now,
     .help =
         "Cancel requests on their way to the upstream at a time; more wait for their turn. They are short "
         "connections beside the pool's.",
     .range = {1, 10'000}},
    {.name = "max_prepared_statements",
     .field = field<&PoolConfig::max_prepared_statements>,
     .reload = Reload::NewConnections,
     .help = "Named prepared statements (of the protocol) that are kept on a server connection; beyond it "
             "the least "
             "recently used is closed. 0: sidepool does not look at statement names, so they work in session "
             "mode only.",
     .range = kCount},
    {.name = "max_client_statements",
     .field = field<&PoolConfig::max_client_statements>,
     .reload = Reload::NewConnections,
     .help =
         "Prepared statements that one client may have at a time; beyond it preparing is an error (53200).",
     .range = kPositive},
    {.name = "isolation",
     .field = field<&PoolConfig::isolation>,
     .reload = Reload::NewConnections,
     .help = "`reset`: whenever a server passes to a different client, its session state is cleaned first. "
             "`tracked` "
             "omits the cleaning where nothing hints that a client left state behind; settings made inside "
             "functions "
             "give no hint, so this is weaker.",
     .choices = kIsolations},
    {.name = "pinning",
     .field = field<&PoolConfig::pinning>,
     .reload = Reload::NewConnections,
     .help =
         "`auto`: a client that makes session state which cannot be carried to another server (temporary "
         "tables, advisory locks, LISTEN, ...) keeps its server until that state is gone. `refuse`: such "
         "a statement is answered with an error instead of being run. `off`: it runs, but its state is "
         "lost at the end of the transaction, which a WARNING says once for each kind; what decides about "
         "rights and names (SET ROLE, SET SESSION AUTHORIZATION, SET search_path), or may hide that "
         "(set_config(), DO, CALL), is refused. Nothing of this concerns session mode.",
     .choices = kPinnings},
    {.name = "server_round_robin",
     .field = field<&PoolConfig::server_round_robin>,
     .reload = Reload::Now,
     .help = "Use the server that has been idle longest instead of the one used last."},
    {.name = "locality_window",
     .field = field<&PoolConfig::locality_window>,
     .reload = Reload::Now,
     .help =
         "A waiting client of the same thread may be served this much before its turn, which saves moving a "
         "connection between threads. 0: strictly first come, first served.",
     .range = {0, kSecond}},
    {.name = "max_message",
     .field = field<&PoolConfig::max_message>,
     .reload = Reload::NewConnections,
     .help = "The longest message that is accepted from a client, header excluded. The default is "
             "PostgreSQL's own "
             "limit. Messages are not buffered, so this does not cost memory.",
     .range = {1024, (std::int64_t{1} << 30) - 1}},
    {.name = "auth_ttl",
     .field = field<&PoolConfig::auth_ttl>,
     .reload = Reload::Now,
     .help = "With `client_auth = \"database\"`: how long the database's word about a password, or about "
             "asking for "
             "none, is trusted before it is asked again.",
     .range = kSomeTime},
    {.name = "ignore_startup_parameters",
     .field = field<&PoolConfig::ignore_startup_parameters>,
     .reload = Reload::NewConnections,
     .help = "Startup parameters of clients that are dropped instead of applied, for example "
             "`extra_float_digits`; `options` drops all that a client sets by it."},
    {.name = "startup_parameters",
     .field = field<&PoolConfig::startup_parameters>,
     .reload = Reload::NewConnections,
     .help = "Settings that every server connection is opened with: `{ work_mem = \"64MB\" }`. What a client "
             "asks for "
             "comes on top."},
    {.name = "tcp_keepalive",
     .field = field<&PoolConfig::tcp_keepalive>,
     .reload = Reload::NewConnections,
     .help = "Let the kernel probe silent TCP connections, of clients and servers."},
    {.name = "tcp_keepidle",
     .field = field<&PoolConfig::tcp_keepidle>,
     .reload = Reload::NewConnections,
     .help = "Silence before the first probe, in whole seconds. 0: the kernel's value.",
     .range = kWholeSeconds},
    {.name = "tcp_keepintvl",
     .field = field<&PoolConfig::tcp_keepintvl>,
     .reload = Reload::NewConnections,
     .help = "Time between probes, in whole seconds. 0: the kernel's value.",
     .range = kWholeSeconds},
    {.name = "tcp_keepcnt",
     .field = field<&PoolConfig::tcp_keepcnt>,
     .reload = Reload::NewConnections,
     .help = "Probes without an answer that end a connection. 0: the kernel's value.",
     .range = {0, 127}},
    {.name = "tcp_user_timeout",
     .field = field<&PoolConfig::tcp_user_timeout>,
     .reload = Reload::NewConnections,
     .help = "A server that acknowledges nothing for this long is given up. Linux counts a server that reads "
             "too slowly "
             "as such a one, for example during a COPY into a locked table. 0: the kernel's value.",
     .range = {0, 24 * kHour, kMillisecond}},
};

}  // namespace

std::span<const Key> pool_keys() { return kKeys; }

}  // namespace sidepool::conf
