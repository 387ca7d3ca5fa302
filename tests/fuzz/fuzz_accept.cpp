// A hostile client. First byte: options and how the driver authenticates; then the client's bytes, fed in
// pieces to one machine and byte by byte to another where that must not matter.
#include <array>
#include <cstdint>

#include "protocol/accept.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::protocol;
using Event = AcceptMachine::Event;

namespace {

const ScramVerifier& verifier() {
  static const ScramVerifier v = *make_verifier(*derive("pencil", as_bytes("salt"), 1));
  return v;
}

void ask(AcceptMachine& m, unsigned driver) {
  static constexpr std::array<std::uint8_t, 4> kSalt{1, 2, 3, 4};
  const auto& s = m.startup();
  test::require(!s.user.empty() && s.user.size() <= 63, "user in bounds");
  switch (driver >> 2 & 3) {
    case 0:
      return m.ask_cleartext();
    case 1:
      return m.ask_md5(kSalt);
    case 2:
      return m.ask_scram(verifier(), "server");
    default:
      return m.admit();
  }
}

// Answers an event; false when the login is over.
bool on_event(AcceptMachine& m, Event e, unsigned driver) {
  switch (e) {
    case Event::None:
      return true;
    case Event::StartTls:
    case Event::DirectTls:
      test::require(driver & 1, "TLS only where offered");
      m.tls_done();
      return true;
    case Event::GotStartup:
      ask(m, driver);
      return !m.admitted();
    case Event::GotPassword:
      test::require(!m.password().empty() && m.password().size() < AcceptMachine::kMaxHeld,
                    "password in bounds");
      m.refuse({.severity = "FATAL", .code = "28P01", .message = "no"});
      return false;
    case Event::ScramFailed:
      m.admit();
      test::require(!m.admitted(), "a wrong proof admits nobody");
      return false;
    case Event::ScramOk:
      test::require(false, "nobody can prove an unknown password");
      return false;
    case Event::GotCancel:
      test::require(m.cancel().key.size() >= 4 && m.cancel().key.size() <= kMaxCancelKey, "key in bounds");
      return false;
    case Event::Closed:
    case Event::Failed:
      return false;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::FuzzInput input(data, size);
  const unsigned driver = input.byte();
  AcceptMachine m({.offer_tls = (driver & 1) != 0, .inside_tls = (driver & 2) != 0});
  bool open = true;
  while (open && !input.empty()) {
    auto in = input.piece();
    while (open && !in.empty()) {
      const auto before = in.size();
      const auto e = m.feed(in);
      test::require(e != Event::None || in.empty(), "all is taken up to an event");
      open = on_event(m, e, driver);
      if (e == Event::DirectTls) test::require(in.size() == before, "the handshake keeps its bytes");
      m.wrote(m.output().size() / 2);
    }
  }
  if (!open && !m.admitted()) {
    Bytes more = as_bytes("p\x7f\xff\xff\xff");
    test::require(m.feed(more) == Event::None && more.size() == 5, "after the end nothing is taken");
  }
  return 0;
}
