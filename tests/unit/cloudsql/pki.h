// tests/unit/cloudsql/pki.h -- certificates made to order, and a TLS handshake between two contexts in
// memory.
#pragma once
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "src/tls/context.h"

namespace sidepool::test {

inline tls::KeyPtr ec_key() { return tls::KeyPtr{EVP_EC_gen("P-256")}; }

struct Wanted {
  std::string cn{};
  std::vector<std::string> sans{};  // dNSName, verbatim
  bool ca = false;
  std::string eku = "serverAuth,clientAuth";
  long starts_in_s = -3600;
  long ends_in_s = 3600;
};

struct Identity {
  tls::CertPtr cert;
  tls::KeyPtr key;
};

inline void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* ext = X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str());
  ASSERT_NE(ext, nullptr) << value;
  X509_add_ext(cert, ext, -1);
  X509_EXTENSION_free(ext);
}

// Signed by `issuer`, or by itself if that is null. The key is `key`'s public half.
inline tls::CertPtr make_cert(const Wanted& w, EVP_PKEY* key, const Identity* issuer) {
  static long serial = 1;
  tls::CertPtr cert{X509_new()};
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), w.starts_in_s);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), w.ends_in_s);
  X509_NAME* subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("Google, Inc"), -1, -1, 0);
  if (!w.cn.empty())
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(w.cn.data()),
                               static_cast<int>(w.cn.size()), -1, 0);
  X509* signer = issuer ? issuer->cert.get() : cert.get();
  X509_set_issuer_name(cert.get(), X509_get_subject_name(signer));
  X509_set_pubkey(cert.get(), key);
  add_extension(cert.get(), signer, NID_basic_constraints, w.ca ? "critical,CA:TRUE" : "CA:FALSE");
  if (!w.eku.empty()) add_extension(cert.get(), signer, NID_ext_key_usage, w.eku);
  if (!w.sans.empty()) {
    GENERAL_NAMES* names = GENERAL_NAMES_new();
    for (const std::string& san : w.sans) {
      GENERAL_NAME* name = GENERAL_NAME_new();
      ASN1_IA5STRING* text = ASN1_IA5STRING_new();
      ASN1_STRING_set(text, san.data(), static_cast<int>(san.size()));
      GENERAL_NAME_set0_value(name, GEN_DNS, text);
      sk_GENERAL_NAME_push(names, name);
    }
    X509_add1_ext_i2d(cert.get(), NID_subject_alt_name, names, 0, 0);
    GENERAL_NAMES_free(names);
  }
  X509_sign(cert.get(), issuer ? issuer->key.get() : key, EVP_sha256());
  return cert;
}

inline Identity make_identity(const Wanted& w, const Identity* issuer = nullptr) {
  Identity out{nullptr, ec_key()};
  out.cert = make_cert(w, out.key.get(), issuer);
  return out;
}

inline std::string drain(BIO* bio) {
  char* text = nullptr;
  const long n = BIO_get_mem_data(bio, &text);
  return {text, static_cast<std::size_t>(n)};
}

inline std::string pem(X509* cert) {
  const tls::BioPtr bio{BIO_new(BIO_s_mem())};
  PEM_write_bio_X509(bio.get(), cert);
  return drain(bio.get());
}

inline std::string pem(EVP_PKEY* key) {
  const tls::BioPtr bio{BIO_new(BIO_s_mem())};
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return drain(bio.get());
}

// A folder of its own that goes with the test.
class TempDir {
 public:
  TempDir() {
    std::string pattern = testing::TempDir() + "sidepool_XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name, const std::string& text) const {
    const std::string path = path_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
    std::ofstream{path, std::ios::binary} << text;
    return path;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Both ends of one connection without a socket. Runs until neither side can go on.
struct Handshake {
  Handshake(SSL_CTX* client_ctx, SSL_CTX* server_ctx)
      : client(SSL_new(client_ctx)), server(SSL_new(server_ctx)) {
    BIO* a = nullptr;
    BIO* b = nullptr;
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(client, a, a);
    SSL_set_bio(server, b, b);
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
  }
  Handshake(const Handshake&) = delete;
  Handshake& operator=(const Handshake&) = delete;
  ~Handshake() {
    SSL_free(client);
    SSL_free(server);
  }
  void run() {
    for (int i = 0; i < 20; ++i) {
      client_ok = SSL_do_handshake(client) == 1;
      server_ok = SSL_do_handshake(server) == 1;
      static_cast<void>(tls::openssl_error());
    }
    // TLS 1.3: what the server thinks of the client's certificate arrives with the first read.
    char byte = 0;
    static_cast<void>(SSL_read(client, &byte, 1));
    client_ok = client_ok && SSL_get_error(client, -1) == SSL_ERROR_WANT_READ;
    static_cast<void>(tls::openssl_error());
  }
  bool ok() const { return client_ok && server_ok; }

  SSL* client;
  SSL* server;
  bool client_ok = false;
  bool server_ok = false;
};

}  // namespace sidepool::test
