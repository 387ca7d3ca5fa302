// protocol/password.h -- md5 authentication and the forms in which a password is stored.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret_bytes.h"

namespace sidepool::protocol {

using Md5Salt = std::span<const std::uint8_t, 4>;

// Told by shape, as PostgreSQL's get_password_type() does: "md5" and 32 hexadecimal digits; a verifier that
// parse_verifier() reads; all else is the password itself.
enum class SecretKind : std::uint8_t { Plain, Md5, Scram };
SecretKind classify_secret(std::string_view stored);

// "md5" + md5(password + user), what a server stores. nullopt where libcrypto offers no MD5 (FIPS mode).
std::optional<SecretText> md5_hash(std::string_view password, std::string_view user);
// The answer to AuthenticationMD5Password: "md5" + md5(stored hash without "md5" + salt). nullopt also when
// `hash` is not in the form md5_hash() gives.
std::optional<SecretText> md5_response(std::string_view hash, Md5Salt salt);

// Whether a client's md5 answer proves the stored secret. An empty or SCRAM secret is never proved.
bool check_md5(std::string_view stored, std::string_view user, Md5Salt salt, std::string_view response);
// Whether a typed password is the one stored, in whichever form; an empty secret or password never matches.
// Costs a key derivation for a SCRAM secret.
bool check_cleartext(std::string_view stored, std::string_view user, std::string_view typed);

}  // namespace sidepool::protocol
