// tests/cloudsql_emulator/openssl_types.cpp -- PEM, digests and random text.
#include "tests/cloudsql_emulator/openssl_types.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include <cstdlib>

namespace sidepool::emulator {
namespace {

std::string take_text(BIO* bio) {
  char* data = nullptr;
  long length = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(length)};
}

std::string hex(const unsigned char* bytes, std::size_t count) {
  static const char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
  return out;
}

}  // namespace

std::string to_pem(X509* cert) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), cert);
  return take_text(bio.get());
}

std::string private_pem(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return take_text(bio.get());
}

std::string public_pem(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(bio.get(), key);
  return take_text(bio.get());
}

Key parse_public_key(std::string_view pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long length = 0;
  Key key;
  if (PEM_read_bio(bio.get(), &label, &header, &der, &length) == 1) {
    const unsigned char* at = der;
    if (std::string_view(label).find("PUBLIC KEY") != std::string_view::npos) {
      key.reset(d2i_PUBKEY(nullptr, &at, length));
    }
    if (key && EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA) key.reset();
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(der);
  }
  return key;
}

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr);
  return hex(digest, length);
}

std::string random_hex(int bytes) {
  std::string raw(static_cast<std::size_t>(bytes), '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(raw.data()), bytes) != 1) std::abort();
  return hex(reinterpret_cast<unsigned char*>(raw.data()), raw.size());
}

}  // namespace sidepool::emulator
