// protocol/scram_crypto.h -- the few primitives that SCRAM is made of; used by scram*.cpp only.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret_bytes.h"

namespace sidepool::protocol {

// nullopt: libcrypto failed (out of memory).
std::optional<SecretKey> sha256(Bytes data);
std::optional<SecretKey> hmac_sha256(Bytes key, Bytes data);
// REQUIRES: password and salt shorter than 2 GiB, iterations between 1 and 2^31 - 1.
std::optional<SecretKey> pbkdf2_sha256(std::string_view password, Bytes salt, std::uint32_t iterations);
SecretKey exclusive_or(const SecretKey& a, const SecretKey& b) noexcept;

}  // namespace sidepool::protocol
