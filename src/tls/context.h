// tls/context.h -- TLS contexts: for listeners, for plain PostgreSQL servers, and one per Cloud SQL
// certificate epoch.
#pragma once
#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/tls/openssl_ptr.h"
#include "src/tls/verify.h"

namespace sidepool::tls {

// Complete when handed out and never changed again: any thread may make connections from it. Connections keep
// it alive, so replacing an epoch disturbs nobody.
using Context = std::shared_ptr<SSL_CTX>;

enum class MinVersion : unsigned char { Tls12, Tls13 };

// sslmode require, verify-ca, verify-full.
enum class PeerCheck : unsigned char { None, Chain, ChainAndHost };

// Towards a PostgreSQL server. Empty paths: the system's certificate authorities, no client certificate.
struct UpstreamTls {
  PeerCheck check = PeerCheck::ChainAndHost;
  std::string ca_file{};
  std::string cert_file{};
  std::string key_file{};
  MinVersion min_version = MinVersion::Tls12;
  std::string ciphers{};  // TLS 1.2 cipher list in OpenSSL's syntax; empty: OpenSSL's default
};
Result<Context> upstream_context(const UpstreamTls& options);

// To be called on each connection before its handshake: SNI, and the name a ChainAndHost context checks.
// Without this call a ChainAndHost handshake fails. `host` may be an IP address (checked, but never sent as
// SNI).
Status set_peer_name(SSL* ssl, std::string_view host);

// Offers ALPN `postgresql`, which direct TLS requires (PostgreSQL 17, "SSL Session Encryption").
Status offer_postgresql_alpn(SSL* ssl);

enum class ClientCert : unsigned char { None, Optional, Required };

// Towards clients.
struct ListenerTls {
  std::string cert_file{};  // chain, leaf first
  std::string key_file{};
  std::string ca_file{};  // whose client certificates are accepted; needed unless client_cert is None
  ClientCert client_cert = ClientCert::None;
  MinVersion min_version = MinVersion::Tls12;
  std::string ciphers{};
};
Result<Context> listener_context(const ListenerTls& options);

// After a handshake: ALPN settled on `postgresql`. A client that began with direct TLS must be refused
// otherwise.
bool alpn_is_postgresql(const SSL* ssl) noexcept;

// Towards one Cloud SQL instance, until its ephemeral certificate is replaced. TLS 1.3 only.
struct InstanceTls {
  X509* certificate;  // borrowed for the call, as is the key
  EVP_PKEY* key;
  std::string_view ca_bundle;
  InstanceIdentity identity;
};
Result<Context> instance_context(InstanceTls options);

// What goes out as SNI for a host (RFC 6066 §3): no trailing dot; empty, so none, for an IP address.
std::string sni_name(std::string_view host);
// Sends it, where the host name itself is not checked by OpenSSL: for a Cloud SQL instance.
Status set_instance_sni(SSL* ssl, std::string_view server_name);

}  // namespace sidepool::tls
