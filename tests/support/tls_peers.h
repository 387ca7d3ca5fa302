// tests/support/tls_peers.h -- contexts with the settings of src/tls/context.h, from certificates made in
// memory.
#pragma once
#include <openssl/ssl.h>

#include "src/tls/context.h"
#include "tests/unit/cloudsql/pki.h"

namespace sidepool::test {

inline tls::Context bare_context(const SSL_METHOD* method) {
  tls::Context ctx(SSL_CTX_new(method), SSL_CTX_free);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(ctx.get(), 1);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  return ctx;
}

// Shows `who`. With `client_ca`, demands a client certificate signed by it.
inline tls::Context server_context(const Identity& who, const Identity* client_ca = nullptr) {
  auto ctx = bare_context(TLS_server_method());
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  SSL_CTX_use_certificate(ctx.get(), who.cert.get());
  SSL_CTX_use_PrivateKey(ctx.get(), who.key.get());
  if (client_ca) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx.get()), client_ca->cert.get());
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return ctx;
}

// Trusts `ca` if given, everybody otherwise; shows `who` if given.
inline tls::Context client_context(const Identity* ca = nullptr, const Identity* who = nullptr) {
  auto ctx = bare_context(TLS_client_method());
  if (ca) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx.get()), ca->cert.get());
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER, nullptr);
  }
  if (who) {
    SSL_CTX_use_certificate(ctx.get(), who->cert.get());
    SSL_CTX_use_PrivateKey(ctx.get(), who->key.get());
  }
  return ctx;
}

}  // namespace sidepool::test
