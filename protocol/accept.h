// protocol/accept.h -- the login of a client to us, from its first byte until it is authenticated. Does no
// I/O and decides nothing: the driver moves bytes, runs TLS, and answers each event.
//
//   loop { event = feed(in); write output(), wrote(n); answer the event }
//
// At most one event a call. While an answer is due nothing is consumed: the driver keeps what it read, and
// had better stop reading. Whatever stays in `in` after admit() belongs to the session.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/encode.h"
#include "protocol/frame.h"
#include "protocol/scram.h"
#include "protocol/secret_bytes.h"
#include "protocol/startup.h"
#include "protocol/types.h"

namespace sidepool::protocol {

class AcceptMachine {
 public:
  enum class Event : std::uint8_t {
    None,         // feed more
    StartTls,     // output() ends with 'S': write it, do the handshake, then tls_done()
    DirectTls,    // as StartTls but nothing is to be written first, and the bytes fed belong to the handshake
    GotCancel,    // cancel(); nothing is answered, close afterwards
    GotStartup,   // startup(); answer with admit(), ask_...() or refuse()
    GotPassword,  // password(), after ask_cleartext() or ask_md5(); answer with admit() or refuse()
    ScramOk,      // scram_keys(); answer with admit() or refuse()
    ScramFailed,  // the password is wrong; answer with refuse()
    Closed,       // the client ended it; nothing is answered
    Failed,  // it broke the protocol; output() may hold the error: write it and close. See failure_text()
  };

  struct Options {
    bool offer_tls = false;   // answer SSLRequest with 'S', and take TLS that begins without asking
    bool inside_tls = false;  // this connection is encrypted already
  };

  // All that is ever held of one client before it is let in: its startup packet and one password message
  // together (product.md §6). A usual startup packet of 200 bytes leaves 16,178 for a password, room for any
  // IAM token.
  static constexpr std::size_t kMaxHeld = kMaxBeforeAuth;

  explicit AcceptMachine(Options o) noexcept : tls_(o.inside_tls), offer_tls_(o.offer_tls) {}
  ~AcceptMachine() { wipe(held_); }
  AcceptMachine(AcceptMachine&&) noexcept = default;
  AcceptMachine& operator=(AcceptMachine&&) noexcept = default;

  // Takes bytes of the client off the front of `in`, up to the next event.
  Event feed(Bytes& in);
  // The handshake after StartTls or DirectTls is done: the client begins again, encrypted.
  void tls_done() noexcept;

  // The answers to GotStartup. Each REQUIRES that an answer is due.
  void ask_cleartext();
  void ask_md5(std::span<const std::uint8_t, 4> salt);
  // The verifier of this user or a mock_verifier(); the nonce is fresh: scram_nonce().
  void ask_scram(ScramVerifier verifier, std::string nonce);
  // The client is authenticated; welcome() is sent when its first server is known. Nothing is written here.
  void admit() noexcept;
  // At any time but after Failed: puts an error into output(), after which feed() consumes nothing. Use
  // severity FATAL.
  void refuse(const ErrorFields& e);

  Bytes output() const noexcept { return Bytes{out_}.subspan(sent_); }
  void wrote(std::size_t n) noexcept;

  // Valid from their event on.
  const StartupMessage& startup() const noexcept { return startup_; }
  const CancelRequest& cancel() const noexcept { return cancel_; }
  // What the client typed, or its md5 answer: check_cleartext(), check_md5(). Wiped by admit() and refuse().
  std::string_view password() const noexcept { return password_.view(); }
  // The keys with which a server that stores the same verifier can be logged in to. REQUIRES: ScramOk.
  ScramKeys scram_keys() const { return scram_->keys(); }

  bool inside_tls() const noexcept { return tls_; }
  bool admitted() const noexcept { return phase_ == Phase::Admitted; }
  // What went wrong, for the log: one sentence without secrets.
  const std::string& failure_text() const noexcept { return failure_text_; }

 private:
  enum class Phase : std::uint8_t {
    First,       // a packet without type byte
    Tls,         // tls_done() is due
    Decide,      // an answer of the driver is due
    Refuse,      // only refuse() is possible
    Password,    // password of cleartext or md5
    ScramFirst,  // SASLInitialResponse
    ScramEmpty,  // SASLResponse with the first message, which the initial response did not carry
    ScramFinal,  // SASLResponse with the proof
    Admitted,
    Over,
  };

  Event first(Bytes& in);
  Event ssl_request(Bytes in);
  Event gss_request(Bytes in);
  Event on_message(Bytes body);
  Event on_password(Bytes body);
  Event on_sasl_initial(Bytes body);
  Event on_scram_first(Bytes data);
  Event on_scram_final(Bytes data);
  void expect_message(Phase p);
  Event fail(std::string_view sqlstate, std::string text);
  Event fail_silently(std::string text);

  Phase phase_ = Phase::First;
  bool tls_, offer_tls_;
  bool ssl_asked_ = false, gss_asked_ = false;
  Buffer held_;  // of an incomplete packet
  std::size_t startup_size_ = 0;
  std::optional<Framer> framer_;
  StartupMessage startup_;
  CancelRequest cancel_{};
  SecretText password_;
  std::optional<ScramServer> scram_;
  Buffer out_;
  std::size_t sent_ = 0;
  std::string failure_text_;
};

// AuthenticationOk, the parameters, BackendKeyData (`key` of 4 bytes for 3.0, up to kMaxCancelKey for 3.2)
// and ReadyForQuery: what a client waits for after its login.
void welcome(Buffer& out, std::span<const Parameter> parameters, std::uint32_t pid, Bytes key);

}  // namespace sidepool::protocol
