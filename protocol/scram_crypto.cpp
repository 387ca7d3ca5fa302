// protocol/scram_crypto.cpp -- libcrypto's SHA-256, HMAC and PBKDF2.
#include "protocol/scram_crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace sidepool::protocol {
namespace {

// EVP_sha256() looks the algorithm up under a lock at every use (openssl#20286), so it is fetched once. This
// static is immutable and shared by all threads, like a constant; it is never freed.
const EVP_MD* md() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched;
}

}  // namespace

std::optional<SecretKey> sha256(Bytes data) {
  SecretKey out;
  if (!md() || EVP_Digest(data.data(), data.size(), out.data(), nullptr, md(), nullptr) != 1)
    return std::nullopt;
  return out;
}

std::optional<SecretKey> hmac_sha256(Bytes key, Bytes data) {
  SecretKey out;
  if (!md() ||
      !HMAC(md(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), out.data(), nullptr)) {
    return std::nullopt;
  }
  return out;
}

std::optional<SecretKey> pbkdf2_sha256(std::string_view password, Bytes salt, std::uint32_t iterations) {
  SecretKey out;
  if (!md() || PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), salt.data(),
                                 static_cast<int>(salt.size()), static_cast<int>(iterations), md(),
                                 static_cast<int>(SecretKey::kSize), out.data()) != 1) {
    return std::nullopt;
  }
  return out;
}

SecretKey exclusive_or(const SecretKey& a, const SecretKey& b) noexcept {
  SecretKey out;
  for (std::size_t i = 0; i < SecretKey::kSize; ++i) out.data()[i] = a.bytes()[i] ^ b.bytes()[i];
  return out;
}

}  // namespace sidepool::protocol
