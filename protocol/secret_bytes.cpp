// protocol/secret_bytes.cpp -- wiping and comparing by libcrypto.
#include "protocol/secret_bytes.h"

#include <openssl/crypto.h>

namespace sidepool::protocol {

void wipe(void* p, std::size_t n) noexcept {
  if (n > 0) OPENSSL_cleanse(p, n);
}

bool equal_secret(Bytes a, Bytes b) noexcept {
  return a.size() == b.size() && (a.empty() || CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace sidepool::protocol
