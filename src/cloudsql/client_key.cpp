// cloudsql/client_key.cpp -- see the header.
#include "src/cloudsql/client_key.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>

namespace sidepool::cloudsql {

tls::KeyPtr make_client_key() { return tls::KeyPtr{EVP_RSA_gen(2048)}; }

std::string public_key_pem(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int n = i2d_PUBKEY(key, &der);
  const tls::BioPtr out{BIO_new(BIO_s_mem())};
  const bool written = n > 0 && out && PEM_write_bio(out.get(), "RSA PUBLIC KEY", "", der, n) > 0;
  OPENSSL_free(der);
  if (!written) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace sidepool::cloudsql
