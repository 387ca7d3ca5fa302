// protocol/scram_server.cpp -- the server's role of protocol/scram.h.
#include "protocol/base64.h"
#include "protocol/scram.h"
#include "protocol/scram_attributes.h"
#include "protocol/scram_crypto.h"

namespace sidepool::protocol {

std::optional<std::string> ScramServer::challenge(Bytes client_first) {
  const auto whole = as_text(client_first);
  auto text = whole;
  error_ = "malformed SCRAM message";
  if (whole.size() > kMaxScramMessage || whole.find('\0') != std::string_view::npos ||
      !valid_nonce(nonce_, kMaxScramNonce)) {
    return std::nullopt;
  }
  if (text.starts_with("p=")) {
    error_ = "client requires SCRAM channel binding, but it is not supported";
    return std::nullopt;
  }
  // "n": the client has no channel binding. "y": it believes we have none, which is so.
  if (!text.starts_with("n,") && !text.starts_with("y,")) return std::nullopt;
  text.remove_prefix(2);
  if (text.starts_with("a=")) {
    error_ = "client uses authorization identity, but it is not supported";
    return std::nullopt;
  }
  if (!text.starts_with(',')) return std::nullopt;
  text.remove_prefix(1);
  gs2_header_ = whole.substr(0, 3);
  client_first_bare_ = text;
  // "m=" before the name is a mandatory extension, and fails. The name itself does not count: the startup
  // packet has named the user. Optional extensions behind the nonce are ignored (RFC 5802 §5.1).
  const auto name = take_attribute(text, 'n');
  const auto nonce = take_attribute(text, 'r');
  if (!name || !nonce || !valid_nonce(*nonce, kMaxScramNonce)) return std::nullopt;
  both_nonces_ = std::string(*nonce) + nonce_;
  server_first_ = "r=" + both_nonces_ + ",s=" + base64_encode(verifier_.salt) +
                  ",i=" + std::to_string(verifier_.iterations);
  error_ = {};
  return server_first_;
}

ScramServer::Result ScramServer::finish(Bytes client_final) {
  const auto whole = as_text(client_final);
  error_ = "malformed SCRAM message";
  if (whole.size() > kMaxScramMessage || both_nonces_.empty()) return Result::Malformed;
  const auto at = whole.rfind(",p=");  // the proof is last and, being base64, holds no comma
  if (at == std::string_view::npos) return Result::Malformed;
  auto text = whole.substr(0, at);
  const auto binding = take_attribute(text, 'c');
  const auto nonce = take_attribute(text, 'r');
  auto proof_bytes = base64_decode(whole.substr(at + 3), SecretKey::kSize);
  if (!binding || !nonce || !proof_bytes || proof_bytes->size() != SecretKey::kSize) return Result::Malformed;
  if (*binding != base64_encode(as_bytes(gs2_header_)) || !equal_secret(*nonce, both_nonces_)) {
    error_ = "SCRAM channel binding or nonce does not match";
    return Result::Malformed;
  }
  const SecretKey proof{std::span<const std::uint8_t, SecretKey::kSize>(*proof_bytes)};
  const auto auth_message = client_first_bare_ + "," + server_first_ + "," + std::string(whole.substr(0, at));
  both_nonces_.clear();  // one attempt
  const auto signature = hmac_sha256(verifier_.stored_key.bytes(), as_bytes(auth_message));
  const auto ours = hmac_sha256(verifier_.server_key.bytes(), as_bytes(auth_message));
  const auto key = exclusive_or(proof, signature.value_or(SecretKey{}));
  const auto hash = sha256(key.bytes());
  error_ = "SCRAM proof is wrong";
  if (!signature || !ours || !hash || !(*hash == verifier_.stored_key) || verifier_.mock)
    return Result::WrongProof;
  error_ = {};
  client_key_ = key;
  final_ = "v=" + base64_encode(ours->bytes());
  return Result::Ok;
}

}  // namespace sidepool::protocol
