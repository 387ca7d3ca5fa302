// Our login against a hostile server. First byte: what the driver has; then pieces of the server's bytes,
// which are fed whole to one machine and byte by byte to another: both must end the same.
#include <cstdint>

#include "protocol/login.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::protocol;
using State = LoginMachine::State;

namespace {

// Deriving costs up to a second by the server's choice; kept keys fit or do not.
void answer(LoginMachine& m, unsigned driver) {
  test::require(m.auth_method() != AuthMethod::None, "something is asked for");
  if (m.auth_method() == AuthMethod::Scram) {
    const auto& c = m.challenge();
    test::require(!c.salt.empty() && c.salt.size() <= kMaxScramSalt && c.iterations >= 1, "bounded");
    if (c.iterations > 64 || !m.answer_password("pencil")) m.refuse_password();
  } else if (driver % 2 == 1 || !m.answer_password("pencil")) {
    m.refuse_password();
  }
}

// Returns what is left of `in`.
Bytes run(LoginMachine& m, Bytes in, std::size_t step, unsigned driver) {
  while (true) {
    if (m.state() == State::NeedPassword) answer(m, driver);
    if (m.state() != State::Running || in.empty()) return in;
    const auto take = std::min(step, in.size());
    Bytes part = in.first(take);
    m.feed(part);
    in = in.subspan(take - part.size());
    m.wrote(m.output().size() / 2);
    if (part.size() == take && m.state() == State::Running)
      test::require(false, "a running machine makes progress");
  }
}

void check(const LoginMachine& m) {
  test::require(m.server_bytes_seen() <= LoginMachine::kMaxTotal + LoginMachine::kMaxBody + 5, "bounded");
  test::require(m.parameters().size() <= LoginMachine::kMaxParameters, "bounded");
  if (m.state() == State::Failed) {
    test::require(m.failure() != LoginFailure::None && m.error_body().size() <= LoginMachine::kMaxErrorBody,
                  "explained");
    test::require(!m.scram_keys(), "no keys from a failed login");
  }
  if (m.state() == State::Ready) {
    test::require(m.auth_method() != AuthMethod::Scram, "nobody can sign without the password");
    test::require(m.cancel_key().empty() || m.cancel_key().size() >= 4, "key in bounds");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::FuzzInput in(data, size);
  const unsigned driver = in.byte();
  const auto bytes = in.rest();
  const LoginParameters p{
      {{"user", "alice"}, {"database", "db"}}, driver & 2 ? kProtocol30 : kProtocol32, "nonce"};
  LoginMachine whole(p), single(p);
  whole.start(), single.start();
  const auto left_whole = run(whole, bytes, bytes.size(), driver);
  const auto left_single = run(single, bytes, 1, driver);
  check(whole);
  check(single);
  test::require(whole.state() == single.state() && whole.failure() == single.failure(),
                "splits do not matter");
  test::require(whole.parameters() == single.parameters() && whole.protocol() == single.protocol(),
                "same result");
  if (whole.state() == State::Ready)
    test::require(left_whole.size() == left_single.size(), "the rest is left");
  return 0;
}
