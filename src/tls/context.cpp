// tls/context.cpp -- see the header.
#include "src/tls/context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <array>
#include <utility>

namespace sidepool::tls {
namespace {

// Wire form of the one protocol name (RFC 7301): its length, then the name.
constexpr std::array<unsigned char, 11> kPostgresqlAlpn{10, 'p', 'o', 's', 't', 'g', 'r', 'e', 's', 'q', 'l'};

// For servers, four records: what comes in bulk costs one read(2), not four. Only there while bytes are in
// it. Not for clients, of whom no more may be buffered before they are let in (product.md §6).
constexpr std::size_t kServerReadBuffer = 65536;

tl::unexpected<Error> broken(std::string what) {
  what += ": " + openssl_error();
  return fail(Errc::Tls, std::move(what), 0, "tls_setup");
}

// What all contexts share: memory is given back between records, a write may take a prefix and be retried
// from another address, reads take many records per read(2), and nothing is ever resumed.
Result<Context> base_context(const SSL_METHOD* method, MinVersion min_version) {
  ERR_clear_error();
  Context ctx{SSL_CTX_new(method), SSL_CTX_free};
  if (!ctx) return broken("out of memory for a TLS context");
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(ctx.get(), 1);
  SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ctx.get(), 0);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  const int version = min_version == MinVersion::Tls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  if (SSL_CTX_set_min_proto_version(ctx.get(), version) != 1) return broken("TLS version cannot be set");
  // Without a callback of ours OpenSSL would ask for a pass phrase on the terminal.
  SSL_CTX_set_default_passwd_cb(ctx.get(), [](char*, int, int, void*) noexcept { return -1; });
  return ctx;
}

Status use_ciphers(SSL_CTX* ctx, const std::string& ciphers) {
  if (ciphers.empty() || SSL_CTX_set_cipher_list(ctx, ciphers.c_str()) == 1) return {};
  return broken("cipher list \"" + ciphers + "\" is not usable");
}

// OpenSSL would wait for the other end of a pipe, on a loop. What cannot be looked at OpenSSL complains
// about.
Status not_a_pipe(const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return {};
  return fail(Errc::Config, file + " is not a regular file", 0, "tls_setup");
}

Status use_certificate(SSL_CTX* ctx, const std::string& cert_file, const std::string& key_file) {
  for (const auto& file : {cert_file, key_file})
    if (auto ok = not_a_pipe(file); !ok) return ok;
  if (SSL_CTX_use_certificate_chain_file(ctx, cert_file.c_str()) != 1)
    return broken("certificate file " + cert_file + " is not usable");
  if (SSL_CTX_use_PrivateKey_file(ctx, key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return broken("key file " + key_file + " is not usable (a pass phrase is not supported)");
  if (SSL_CTX_check_private_key(ctx) != 1)
    return broken("key file " + key_file + " does not belong to certificate file " + cert_file);
  return {};
}

Status use_authorities(SSL_CTX* ctx, const std::string& ca_file) {
  if (ca_file.empty()) {
    if (SSL_CTX_set_default_verify_paths(ctx) == 1) return {};
    return broken("the system's certificate authorities cannot be used");
  }
  if (auto ok = not_a_pipe(ca_file); !ok) return ok;
  if (SSL_CTX_load_verify_file(ctx, ca_file.c_str()) == 1) return {};
  return broken("CA file " + ca_file + " is not usable");
}

// A context that must check the host name refuses a connection for which nobody has set one.
int verify_with_host(X509_STORE_CTX* handshake, void*) noexcept {
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(handshake);
  char* ip = X509_VERIFY_PARAM_get1_ip_asc(param);
  const bool named = ip || X509_VERIFY_PARAM_get0_host(param, 0);
  OPENSSL_free(ip);
  if (named) return X509_verify_cert(handshake) == 1 ? 1 : 0;
  X509_STORE_CTX_set_error(handshake, X509_V_ERR_HOSTNAME_MISMATCH);
  return 0;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* outlen, const unsigned char* in,
                unsigned inlen, void*) noexcept {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, outlen, kPostgresqlAlpn.data(), kPostgresqlAlpn.size(), in, inlen) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // as PostgreSQL: no_application_protocol
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

bool is_ip_literal(const std::string& host) noexcept {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

std::string without_trailing_dots(std::string_view host) {
  while (host.ends_with('.')) host.remove_suffix(1);
  return std::string{host};
}

}  // namespace

Result<Context> upstream_context(const UpstreamTls& options) {
  auto made = base_context(TLS_client_method(), options.min_version);
  if (!made) return made;
  SSL_CTX* ctx = made->get();
  SSL_CTX_set_default_read_buffer_len(ctx, kServerReadBuffer);
  if (auto ok = use_ciphers(ctx, options.ciphers); !ok) return tl::unexpected(std::move(ok.error()));
  if (!options.cert_file.empty()) {
    const std::string& key = options.key_file.empty() ? options.cert_file : options.key_file;
    if (auto ok = use_certificate(ctx, options.cert_file, key); !ok)
      return tl::unexpected(std::move(ok.error()));
  }
  if (options.check == PeerCheck::None) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
    return made;
  }
  if (auto ok = use_authorities(ctx, options.ca_file); !ok) return tl::unexpected(std::move(ok.error()));
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  if (options.check == PeerCheck::ChainAndHost)
    SSL_CTX_set_cert_verify_callback(ctx, verify_with_host, nullptr);
  return made;
}

Status set_peer_name(SSL* ssl, std::string_view host) {
  const std::string name = without_trailing_dots(host);
  if (name.empty() || name.find('\0') != std::string::npos)
    return fail(Errc::Tls, "a TLS peer needs a host name", 0, "tls_setup");
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const int set = is_ip_literal(name) ? X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str())
                                      : X509_VERIFY_PARAM_set1_host(param, name.c_str(), name.size());
  if (set != 1) return broken("host name \"" + name + "\" cannot be checked");
  return set_instance_sni(ssl, name);
}

Status offer_postgresql_alpn(SSL* ssl) {
  // The one OpenSSL call here that returns 0 for success.
  if (SSL_set_alpn_protos(ssl, kPostgresqlAlpn.data(), kPostgresqlAlpn.size()) == 0) return {};
  return broken("ALPN cannot be offered");
}

Result<Context> listener_context(const ListenerTls& options) {
  auto made = base_context(TLS_server_method(), options.min_version);
  if (!made) return made;
  SSL_CTX* ctx = made->get();
  SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
  if (auto ok = use_ciphers(ctx, options.ciphers); !ok) return tl::unexpected(std::move(ok.error()));
  const std::string& key = options.key_file.empty() ? options.cert_file : options.key_file;
  if (auto ok = use_certificate(ctx, options.cert_file, key); !ok)
    return tl::unexpected(std::move(ok.error()));
  SSL_CTX_set_alpn_select_cb(ctx, select_alpn, nullptr);
  if (options.client_cert == ClientCert::None) return made;
  // The system's authorities would let in whoever holds any certificate at all.
  if (options.ca_file.empty())
    return fail(Errc::Config, "client certificates need a CA file that signs them", 0, "tls_setup");
  if (auto ok = use_authorities(ctx, options.ca_file); !ok) return tl::unexpected(std::move(ok.error()));
  if (STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(options.ca_file.c_str()))
    SSL_CTX_set_client_CA_list(ctx, names);
  const int must = options.client_cert == ClientCert::Required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | must, nullptr);
  return made;
}

bool alpn_is_postgresql(const SSL* ssl) noexcept {
  const unsigned char* name = nullptr;
  unsigned n = 0;
  SSL_get0_alpn_selected(ssl, &name, &n);
  const std::string_view wanted{reinterpret_cast<const char*>(kPostgresqlAlpn.data()) + 1, 10};
  return name && std::string_view{reinterpret_cast<const char*>(name), n} == wanted;
}

Result<Context> instance_context(InstanceTls options) {
  auto made = base_context(TLS_client_method(), MinVersion::Tls13);
  if (!made) return made;
  SSL_CTX* ctx = made->get();
  SSL_CTX_set_default_read_buffer_len(ctx, kServerReadBuffer);
  if (SSL_CTX_use_certificate(ctx, options.certificate) != 1)
    return broken("the client certificate is not usable");
  if (SSL_CTX_use_PrivateKey(ctx, options.key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
    return broken("the client certificate was not issued for this process's key");
  if (auto ok = require_instance_certificate(ctx, options.ca_bundle, std::move(options.identity)); !ok)
    return tl::unexpected(std::move(ok.error()));
  return made;
}

std::string sni_name(std::string_view host) {
  std::string name = without_trailing_dots(host);
  return is_ip_literal(name) ? std::string{} : name;
}

Status set_instance_sni(SSL* ssl, std::string_view server_name) {
  const std::string name = sni_name(server_name);
  if (name.empty() || SSL_set_tlsext_host_name(ssl, name.c_str()) == 1) return {};
  return broken("server name \"" + name + "\" cannot be sent");
}

}  // namespace sidepool::tls
