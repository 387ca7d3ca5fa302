// src/upstream/attempt.h -- what is asked of a connection attempt, and what comes of it.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "src/base/clock.h"
#include "src/base/result.h"
#include "src/io/socket.h"
#include "src/io/stream.h"
#include "src/tls/context.h"
#include "src/upstream/endpoint.h"
#include "src/upstream/proxy.h"

namespace sidepool::upstream {

enum class TlsUse : std::uint8_t {
  Never,      // sslmode disable
  IfOffered,  // prefer: SSLRequest, and plain if the answer is N
  Required,   // require, verify-ca, verify-full: SSLRequest, and nothing but S will do
  Direct,     // TLS from the first byte: Cloud SQL's port 3307, PostgreSQL 17's direct TLS
};

struct TlsPlan {
  TlsUse use = TlsUse::Never;
  tls::Context context{};  // not null unless use is Never
  // Called on each new connection before its handshake, with the host it is for: tls::set_peer_name() for
  // PostgreSQL servers (and offer_postgresql_alpn() for Direct), set_instance_sni() for Cloud SQL. May be
  // empty.
  std::function<Status(SSL*, std::string_view host)> prepare{};
  // The context refuses peers that are not the server meant (verify-ca, verify-full, Cloud SQL).
  bool verifies_peer = false;
};

// Where to and how. Unix sockets never use TLS, as in libpq.
struct Route {
  std::vector<Endpoint> endpoints;  // tried in order, each with all its addresses, until one accepts
  // Not empty: tried in their place if none of them has an address.
  std::vector<Endpoint> otherwise{};
  // What the endpoints are, for error texts: "the private IP address of p:r:i". May be empty.
  std::string kind{};
  // The way to them, but for those that it leaves out; null: direct. Names are its business, unless there is
  // an `otherwise`, for which they have to be looked up here.
  std::shared_ptr<const SocksProxy> proxy{};
  TlsPlan tls{};
  // Sent in front of the first bytes: Cloud SQL's metadata exchange (cloudsql/mdx.h). The server may answer
  // it.
  protocol::Buffer prologue{};
  io::Keepalive keepalive{};
  // How long one address may take to accept. While there are others, an address, and a name that is looked
  // up, get no more than their share of the time that is left: a black hole does not starve what is behind
  // it.
  Duration address_timeout = std::chrono::seconds(5);
};

enum class Phase : std::uint8_t { Resolve, Connect, Tls, Login };
const char* phase_name(Phase phase) noexcept;  // "resolve", "tcp", "tls", "login": the labels of the metrics

// Microseconds per phase, 0 for one that was not reached. `connect` counts the address that accepted.
struct Timings {
  std::uint64_t resolve = 0, connect = 0, tls = 0, login = 0;
};

struct Failure {
  Phase phase = Phase::Connect;
  Error error{};  // of the last address, and what the ones before it said. reason: "dns", "refused",
                  // "timeout", "proxy", "tls", "certificate", "tls_refused", "closed", "server", …
  // The server's ErrorResponse body if that is what ended the attempt: it goes to the client as it is.
  protocol::Buffer server_error{};
  // The server does not accept our client certificate: Cloud SQL's is to be replaced now.
  bool certificate_refused = false;
  Timings timings{};
};

struct Connected {
  io::Stream stream{};
  io::SocketAddress peer{};
  // The one of the route that accepted, with the address that did: a CancelRequest has to go to the same
  // server.
  Endpoint endpoint{};
  // A password may be sent over it as it is (product.md §4.3): verified TLS, loopback or a unix socket.
  bool may_send_cleartext = false;
  Timings timings{};
};

}  // namespace sidepool::upstream
