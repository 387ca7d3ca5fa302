// conf/schema_upstream.cpp -- the keys of [[upstream]] and its tables, and of [[user]].
#include "conf/schema_rows.h"

namespace sidepool::conf {
namespace {

using namespace rows;

constexpr std::string_view kNoAuthMode =
    "not available in this version of sidepool: use \"database\", where the database checks the client, or "
    "\"trust\"";

constexpr ChoiceName kIpTypes[] = {{"public", value(IpType::Public)},
                                   {"private", value(IpType::Private)},
                                   {"psc", value(IpType::Psc)},
                                   {"auto", value(IpType::Auto)}};
constexpr ChoiceName kClientAuths[] = {{"database", value(ClientAuth::Database)},
                                       {"trust", value(ClientAuth::Trust)},
                                       {"scram-sha-256", 0, kNoAuthMode},
                                       {"md5", 0, kNoAuthMode},
                                       {"plain", 0, kNoAuthMode},
                                       {"cert", 0, kNoAuthMode},
                                       {"hba", 0, kNoAuthMode}};
constexpr ChoiceName kServerTlsModes[] = {{"disable", value(ServerTlsMode::Disable)},
                                          {"prefer", value(ServerTlsMode::Prefer)},
                                          {"require", value(ServerTlsMode::Require)},
                                          {"verify-ca", value(ServerTlsMode::VerifyCa)},
                                          {"verify-full", value(ServerTlsMode::VerifyFull)},
                                          {"allow", 0, "not offered towards servers: use \"prefer\""}};
constexpr ChoiceName kClientTlsModes[] = {
    {"disable", value(ClientTlsMode::Disable)},
    {"allow", value(ClientTlsMode::Allow)},
    {"require", value(ClientTlsMode::Require)},
    {"verify-ca", value(ClientTlsMode::VerifyCa)},
    {"verify-full", value(ClientTlsMode::VerifyFull)},
    {"prefer", 0, "the client chooses, not the listener: use \"allow\""}};

constexpr Key kServerTlsKeys[] = {
    {.name = "mode",
     .field = field<&ServerTls::mode>,
     .reload = Reload::NewConnections,
     .help = "As libpq's `sslmode`: only `verify-ca` (the certificate's signer) and `verify-full` (and the "
             "host name) "
             "know whom they talk to.",
     .choices = kServerTlsModes},
    {.name = "ca_file",
     .field = field<&ServerTls::ca_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with the certificates that may sign the server's.",
     .unset = "the system's"},
    {.name = "cert_file",
     .field = field<&ServerTls::cert_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with a certificate to show to the server."},
    {.name = "key_file",
     .field = field<&ServerTls::key_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with its private key."},
};

constexpr Key kClientTlsKeys[] = {
    {.name = "mode",
     .field = field<&ClientTls::mode>,
     .reload = Reload::NewConnections,
     .help = "`allow`: clients may use TLS; `require`: they must; `verify-ca`: and show a certificate that "
             "`ca_file` "
             "signed; `verify-full`: whose common name is the user. Never on unix sockets.",
     .choices = kClientTlsModes},
    {.name = "cert_file",
     .field = field<&ClientTls::cert_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with the listener's certificate and the ones between it and a root."},
    {.name = "key_file",
     .field = field<&ClientTls::key_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with its private key."},
    {.name = "ca_file",
     .field = field<&ClientTls::ca_file>,
     .reload = Reload::NewConnections,
     .help = "PEM file with the certificates that may sign clients'."},
};

constexpr Section kServerTls{
    .name = "tls",
    .path = "upstream.tls",
    .help = "TLS towards the servers of a host list. Cloud SQL's is fixed and always verified.",
    .keys = kServerTlsKeys,
    .inside = inside<&Upstream::tls>};
constexpr Section kClientTls{.name = "listen_tls",
                             .path = "upstream.listen_tls",
                             .help = "TLS on this upstream's listeners.",
                             .keys = kClientTlsKeys,
                             .inside = inside<&Upstream::listen_tls>};

constexpr Key kUpstreamKeys[] = {
    {.name = "name",
     .field = field<&Upstream::name>,
     .reload = Reload::Restart,
     .help = "For logs, metrics and messages.",
     .unset = "the instance or the first host"},
    {.name = "instance",
     .field = field<&Upstream::instance>,
     .reload = Reload::Restart,
     .help =
         "A Cloud SQL instance: `PROJECT:REGION:INSTANCE`, or a DNS name that leads to one. Either this or "
         "`hosts`."},
    {.name = "auto_iam_authn",
     .field = field<&Upstream::auto_iam_authn>,
     .reload = Reload::Restart,
     .help = "Log in to the instance as the IAM principal of the credentials, without a password.",
     .flag = "auto-iam-authn"},
    {.name = "ip_type",
     .field = field<&Upstream::ip_type>,
     .reload = Reload::NewConnections,
     .help =
         "Which address of the instance to connect to. `psc`: Private Service Connect; `auto`: the public "
         "one if there is one, else the private.",
     .choices = kIpTypes,
     .flag = "private-ip --psc --auto-ip"},
    {.name = "hosts",
     .field = field<&Upstream::hosts>,
     .reload = Reload::Restart,
     .help = "Any PostgreSQL: `[\"10.0.0.5:5432\", \"db.internal\", \"unix:/var/run/postgresql\"]`, tried in "
             "order."},
    {.name = "listen",
     .field = field<&Upstream::listeners>,
     .reload = Reload::Restart,
     .help = "Where clients reach this upstream: `[\"127.0.0.1:5432\", \"unix:/cloudsql\"]`. Port 0 takes a "
             "free one. "
             "`unix:DIR` makes `DIR/.s.PGSQL.5432`, for an instance `DIR/INSTANCE/.s.PGSQL.5432`; a path "
             "that ends in "
             "`.s.PGSQL.PORT` is taken as it is.",
     .unset = "127.0.0.1, ports from 5432 on",
     .flag = "address --port --unix-socket"},
    {.name = "allow_remote",
     .field = field<&Upstream::allow_remote>,
     .reload = Reload::Restart,
     .help = "Let clients from other machines use pools whose database asks for no password (IAM): whoever "
             "reaches the "
             "listener is the principal then."},
    {.name = "client_auth",
     .field = field<&Upstream::client_auth>,
     .reload = Reload::Restart,
     .help = "Who checks clients: `database` lets the database do it, as if there were no pooler; `trust` "
             "lets everybody "
             "in as the `[[user]]` they name.",
     .choices = kClientAuths},
};

constexpr Key kUserKeys[] = {
    {.name = "name",
     .field = field<&User::name>,
     .reload = Reload::NewConnections,
     .help = "The role, as clients name it and as the database knows it."},
    {.name = "password",
     .field = field<&User::password>,
     .reload = Reload::NewConnections,
     .help = "Its password, which sidepool logs in with."},
    {.name = "upstream",
     .field = field<&User::upstream>,
     .reload = Reload::NewConnections,
     .help = "Name of the only upstream this is for.",
     .unset = "every upstream with `client_auth = \"trust\"`"},
};

constexpr Section kUser{.name = "user",
                        .path = "user",
                        .help = "A role and its password, for upstreams with `client_auth = \"trust\"`.",
                        .keys = kUserKeys,
                        .repeated = true};

}  // namespace

const Section& upstream_section() {
  static const Section pool{.name = "pool",
                            .path = "upstream.pool",
                            .help = "The keys of `[pool]`, for this upstream only.",
                            .keys = pool_keys(),
                            .inside = inside<&Upstream::pool>};
  static const Section* const tables[] = {&pool, &kServerTls, &kClientTls};
  static const Section section{
      .name = "upstream",
      .path = "upstream",
      .help =
          "What clients are connected to: a Cloud SQL instance or a list of hosts. As many "
          "as you like, each with listeners of its own.",
      .keys = kUpstreamKeys,
      .tables = tables,
      .repeated = true};
  return section;
}

const Section& user_section() { return kUser; }

}  // namespace sidepool::conf
