// protocol/scram.cpp -- keys, stored verifiers, and the client's role.
#include "protocol/scram.h"

#include <algorithm>

#include "protocol/base64.h"
#include "protocol/saslprep.h"
#include "protocol/scram_attributes.h"
#include "protocol/scram_crypto.h"

namespace sidepool::protocol {
namespace {

constexpr std::size_t kMaxPassword = 65536;

// 32 bytes, or nothing.
std::optional<SecretKey> decode_key(std::string_view text) {
  auto b = base64_decode(text, SecretKey::kSize);
  if (!b || b->size() != SecretKey::kSize) return std::nullopt;
  SecretKey k{std::span<const std::uint8_t, SecretKey::kSize>(*b)};
  wipe(*b);
  return k;
}

}  // namespace

std::optional<ScramKeys> derive(std::string_view password, Bytes salt, std::uint32_t iterations) {
  if (password.size() > kMaxPassword || salt.empty() || salt.size() > kMaxScramSalt || iterations == 0 ||
      iterations > kMaxScramIterations) {
    return std::nullopt;
  }
  const auto salted = pbkdf2_sha256(saslprep(password).view(), salt, iterations);
  if (!salted) return std::nullopt;
  const auto client = hmac_sha256(salted->bytes(), as_bytes("Client Key"));
  const auto server = hmac_sha256(salted->bytes(), as_bytes("Server Key"));
  if (!client || !server) return std::nullopt;
  return ScramKeys{Buffer(salt.begin(), salt.end()), iterations, *client, *server};
}

std::optional<ScramVerifier> parse_verifier(std::string_view text) {
  // Bounded before looked at: prefix, nine digits, the longest salt and two keys.
  if (text.size() > 512 || !text.starts_with(kScramMechanism)) return std::nullopt;
  text.remove_prefix(kScramMechanism.size());
  if (!text.starts_with('$')) return std::nullopt;
  text.remove_prefix(1);
  const auto colon = text.find(':'), dollar = text.find('$');
  if (dollar == std::string_view::npos || colon > dollar) return std::nullopt;
  const auto keys = text.substr(dollar + 1);
  const auto between = keys.find(':');
  if (between == std::string_view::npos) return std::nullopt;
  const auto iterations = positive_number(text.substr(0, colon), kMaxScramIterations);
  auto salt = base64_decode(text.substr(colon + 1, dollar - colon - 1), kMaxScramSalt);
  const auto stored = decode_key(keys.substr(0, between)), server = decode_key(keys.substr(between + 1));
  if (!iterations || !salt || !stored || !server) return std::nullopt;
  return ScramVerifier{*std::move(salt), *iterations, *stored, *server, false};
}

std::string format_verifier(const ScramVerifier& v) {
  return std::string(kScramMechanism) + "$" + std::to_string(v.iterations) + ":" + base64_encode(v.salt) +
         "$" + base64_encode(v.stored_key.bytes()) + ":" + base64_encode(v.server_key.bytes());
}

std::optional<ScramVerifier> make_verifier(const ScramKeys& keys) {
  const auto stored = sha256(keys.client_key.bytes());
  if (!stored) return std::nullopt;
  return ScramVerifier{keys.salt, keys.iterations, *stored, keys.server_key, false};
}

ScramVerifier mock_verifier(Bytes secret, std::string_view user, std::uint32_t iterations) {
  ScramVerifier v;
  v.iterations = iterations;
  v.mock = true;
  // Should libcrypto fail here the salt is zeros: the answer stays wrong, only the disguise is thinner.
  const auto salt = hmac_sha256(secret, as_bytes(user)).value_or(SecretKey{});
  v.salt.assign(salt.bytes().begin(), salt.bytes().begin() + 16);  // PostgreSQL's SCRAM_DEFAULT_SALT_LEN
  return v;
}

bool matches(const ScramVerifier& v, std::string_view password) {
  const auto keys = derive(password, v.salt, v.iterations);
  const auto made = keys ? make_verifier(*keys) : std::nullopt;
  return made && made->stored_key == v.stored_key && made->server_key == v.server_key && !v.mock;
}

std::string scram_nonce(Bytes random) { return base64_encode(random); }

std::optional<ScramChallenge> ScramClient::challenge(Bytes server_first, std::uint32_t max_iterations) {
  auto text = as_text(server_first);
  if (!valid_nonce(nonce_, kMaxScramNonce)) {
    error_ = "our own SCRAM nonce is not valid";
    return std::nullopt;
  }
  if (text.size() > kMaxScramMessage) {
    error_ = "the server's SCRAM challenge is too long";
    return std::nullopt;
  }
  // An "m=" in front (a mandatory extension) fails here, as RFC 5802 §5.1 demands.
  const auto nonce = take_attribute(text, 'r');
  const auto salt_text = take_attribute(text, 's');
  const auto count = take_attribute(text, 'i');
  auto salt = salt_text ? base64_decode(*salt_text, kMaxScramSalt) : std::nullopt;
  if (!nonce || !salt || !count || !text.empty() || !valid_nonce(*nonce, 2 * kMaxScramNonce)) {
    error_ = "the server's SCRAM challenge is malformed";
    return std::nullopt;
  }
  if (nonce->size() <= nonce_.size() || !nonce->starts_with(nonce_)) {
    error_ = "the server's SCRAM nonce does not extend ours";
    return std::nullopt;
  }
  const auto iterations = positive_number(*count, std::min(max_iterations, kMaxScramIterations));
  if (!iterations) {
    error_ = "the server's SCRAM iteration count is not within bounds";
    return std::nullopt;
  }
  both_nonces_ = *nonce;
  server_first_ = as_text(server_first);
  return ScramChallenge{*std::move(salt), *iterations};
}

std::optional<std::string> ScramClient::final(const ScramKeys& keys) {
  auto message = "c=biws,r=" + both_nonces_;  // "biws" is "n,,"
  auth_message_ = first_bare() + "," + server_first_ + "," + message;
  const auto stored = sha256(keys.client_key.bytes());
  const auto signature = stored ? hmac_sha256(stored->bytes(), as_bytes(auth_message_)) : std::nullopt;
  if (both_nonces_.empty() || !signature) {
    error_ = "the SCRAM proof could not be computed";
    return std::nullopt;
  }
  server_key_ = keys.server_key;
  return message + ",p=" + base64_encode(exclusive_or(keys.client_key, *signature).bytes());
}

bool ScramClient::verify(Bytes server_final) {
  auto text = as_text(server_final);
  if (auth_message_.empty() || text.size() > kMaxScramMessage) {
    error_ = "the server's SCRAM signature came out of order or is too long";
    return false;
  }
  if (text.starts_with("e=")) {
    error_ = "the server answered the SCRAM exchange with an error";
    return false;
  }
  const auto value = take_attribute(text, 'v');
  const auto theirs = value && text.empty() ? decode_key(*value) : std::nullopt;
  if (!theirs) {
    error_ = "the server's SCRAM signature is malformed";
    return false;
  }
  const auto ours = hmac_sha256(server_key_.bytes(), as_bytes(auth_message_));
  if (!ours || !(*ours == *theirs)) {
    error_ = "the server's SCRAM signature is wrong: it does not know the password";
    return false;
  }
  return true;
}

}  // namespace sidepool::protocol
