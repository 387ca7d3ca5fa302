// tests/cloudsql_emulator/openssl_types.h -- owners of OpenSSL objects.
#pragma once
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

namespace sidepool::emulator {

template <auto free_function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    free_function(object);
  }
};

inline void free_bio(BIO* bio) { BIO_free_all(bio); }

using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<free_bio>>;
using MdContext = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Free<SSL_free>>;
using SharedContext = std::shared_ptr<SSL_CTX>;

std::string to_pem(X509* cert);
std::string private_pem(EVP_PKEY* key);  // PKCS#8, as in a service account file
std::string public_pem(EVP_PKEY* key);
// The first block whose label holds "PUBLIC KEY", read as SubjectPublicKeyInfo whatever the label says:
// Google's connector writes that DER under the label of PKCS#1 (cloudsql.md §1.5). nullptr: no RSA key in it.
Key parse_public_key(std::string_view pem);
std::string sha256_hex(std::string_view bytes);
std::string random_hex(int bytes);

}  // namespace sidepool::emulator
