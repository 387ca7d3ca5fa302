// SCRAM: hostile peers in both roles, verifiers, base64; and an honest pair that must agree.
#include <cstdint>
#include <string>

#include "protocol/base64.h"
#include "protocol/password.h"
#include "protocol/scram.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::protocol;

namespace {

const ScramKeys& keys() {
  static const ScramKeys k = *derive("pencil", as_bytes("salt"), 1);
  return k;
}

void hostile_server(test::FuzzInput& in) {
  ScramClient c("nonce");
  auto challenge = c.challenge(in.piece());
  test::require(challenge || !c.error().empty(), "a refusal has a reason");
  if (challenge) {
    test::require(!challenge->salt.empty() && challenge->salt.size() <= kMaxScramSalt, "salt in bounds");
    test::require(challenge->iterations >= 1 && challenge->iterations <= kMaxScramIterations,
                  "iterations in bounds");
    const auto final = c.final(keys());
    test::require(final && final->size() < kMaxScramMessage, "an answer in bounds");
  }
  // Without our keys nobody can sign; and whoever could would have found a preimage.
  test::require(!c.verify(in.piece()), "no forged signature");
}

void hostile_client(test::FuzzInput& in) {
  ScramServer s(*make_verifier(keys()), "server");
  const auto first = s.challenge(in.piece());
  test::require(first || !s.error().empty(), "a refusal has a reason");
  test::require(s.finish(in.piece()) != ScramServer::Result::Ok, "no forged proof");
}

// A server that sends what the fuzzer likes behind the honest parts.
void half_honest(test::FuzzInput& in) {
  ScramServer s(*make_verifier(keys()), "server");
  ScramClient c("client");
  const auto first = s.challenge(as_bytes(c.first()));
  test::require(first.has_value(), "an honest first message");
  if (c.challenge(as_bytes(*first + std::string(in.text())))) {
    const auto final = c.final(keys());
    test::require(final.has_value(), "a proof");
    const auto tail = in.text();
    const auto result = s.finish(as_bytes(*final + std::string(tail)));
    if (result == ScramServer::Result::Ok) {
      test::require(tail.empty(), "nothing may follow the proof");
      test::require(c.verify(as_bytes(s.final_message())), "an honest server is believed");
      test::require(s.keys().client_key == keys().client_key, "the client's key is found");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::FuzzInput in(data, size);
  switch (in.byte() % 5) {
    case 0:
      hostile_server(in);
      break;
    case 1:
      hostile_client(in);
      break;
    case 2:
      half_honest(in);
      break;
    case 3: {
      const auto text = as_text(in.rest());
      const auto v = parse_verifier(text);
      if (v) test::require(format_verifier(*v) == text, "only the canonical form is read");
      test::require((classify_secret(text) == SecretKind::Scram) == v.has_value(),
                    "classified as it is parsed");
      break;
    }
    default: {
      const auto text = as_text(in.rest());
      const auto b = base64_decode(text, 4096);
      if (b) test::require(base64_encode(*b) == text, "only the canonical form is read");
      break;
    }
  }
  return 0;
}
