// protocol/scram.h -- SCRAM-SHA-256 without channel binding, both roles (RFC 5802, RFC 7677; PostgreSQL
// manual, "SASL Authentication"). Pure: nonces are arguments. Every length and the iteration count is bounded
// before use.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret_bytes.h"

namespace sidepool::protocol {

inline constexpr std::string_view kScramMechanism = "SCRAM-SHA-256";
// A derivation costs about a microsecond an iteration, so this much is a second of CPU: derive off the I/O
// threads where the peer chooses the number. PostgreSQL's default is 4096.
inline constexpr std::uint32_t kMaxScramIterations = 1'000'000;
inline constexpr std::size_t kMaxScramSalt = 256;      // bytes; PostgreSQL uses 16
inline constexpr std::size_t kMaxScramNonce = 512;     // of either side; PostgreSQL uses 24 characters
inline constexpr std::size_t kMaxScramMessage = 4096;  // any one message

// The part of a password that later logins with the same salt and iteration count need. As good as the
// password for this user on this server, so it wipes itself.
struct ScramKeys {
  Buffer salt;
  std::uint32_t iterations = 0;
  SecretKey client_key, server_key;
};

// PBKDF2. nullopt when the salt or the iterations are out of bounds, or the password is longer than 64 KiB.
// The password is prepared first, see saslprep.h.
std::optional<ScramKeys> derive(std::string_view password, Bytes salt, std::uint32_t iterations);

// What a server stores of a password: "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>".
struct ScramVerifier {
  Buffer salt;
  std::uint32_t iterations = 0;
  SecretKey stored_key, server_key;
  bool mock = false;  // of a user who does not exist: nothing is ever right
};

// Strict: canonical numbers and base64, bounded lengths and iterations.
std::optional<ScramVerifier> parse_verifier(std::string_view text);
std::string format_verifier(const ScramVerifier& v);
// nullopt only when libcrypto fails.
std::optional<ScramVerifier> make_verifier(const ScramKeys& keys);
// For an unknown user, so that the exchange looks and costs as for a known one and the salt is the same every
// time. `secret`: random bytes of this process (or shared by several), at least 16.
ScramVerifier mock_verifier(Bytes secret, std::string_view user, std::uint32_t iterations);
// Whether the password has this verifier (for clients that send the password itself). Costs a derivation.
bool matches(const ScramVerifier& v, std::string_view password);

// Random bytes (18 is usual) as a nonce.
std::string scram_nonce(Bytes random);

struct ScramChallenge {
  Buffer salt;
  std::uint32_t iterations = 0;
};

// Our side towards a server: first() -> challenge() -> final() -> verify(), each once and in this order.
class ScramClient {
 public:
  // `nonce`: 1 to kMaxScramNonce printable characters without comma; any other makes challenge() fail.
  explicit ScramClient(std::string nonce) : nonce_(std::move(nonce)) {}

  // client-first-message. The user name stays empty: PostgreSQL takes that of the startup packet.
  std::string first() const { return "n,," + first_bare(); }
  // Reads server-first-message. nullopt: error() says why.
  std::optional<ScramChallenge> challenge(Bytes server_first,
                                          std::uint32_t max_iterations = kMaxScramIterations);
  // client-final-message. REQUIRES: challenge() succeeded; `keys` are of its salt and iterations.
  std::optional<std::string> final(const ScramKeys& keys);
  // Whether server-final-message proves that the server knows the verifier. False: error() says why.
  bool verify(Bytes server_final);
  // A constant text, after a failure.
  std::string_view error() const noexcept { return error_; }

 private:
  std::string first_bare() const { return "n=,r=" + nonce_; }

  std::string nonce_, both_nonces_, server_first_, auth_message_;
  SecretKey server_key_;
  std::string_view error_;
};

// The server's side towards a client: challenge() -> finish(), each once and in this order.
class ScramServer {
 public:
  enum class Result : std::uint8_t { Ok, WrongProof, Malformed };

  // `nonce` as for ScramClient.
  ScramServer(ScramVerifier verifier, std::string nonce)
      : verifier_(std::move(verifier)), nonce_(std::move(nonce)) {}

  // Reads client-first-message, returns server-first-message. nullopt: error() says what is malformed.
  std::optional<std::string> challenge(Bytes client_first);
  // Reads client-final-message. Ok: final_message() is to be sent.
  Result finish(Bytes client_final);
  const std::string& final_message() const noexcept { return final_; }
  // After Ok: the client's key and the verifier's other values, which log in to a server that stores the same
  // verifier.
  ScramKeys keys() const { return {verifier_.salt, verifier_.iterations, client_key_, verifier_.server_key}; }
  std::string_view error() const noexcept { return error_; }

 private:
  ScramVerifier verifier_;
  std::string nonce_, gs2_header_, client_first_bare_, server_first_, both_nonces_, final_;
  SecretKey client_key_;
  std::string_view error_;
};

}  // namespace sidepool::protocol
