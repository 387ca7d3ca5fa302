// protocol/login.h -- our login to a server, from the startup packet to its first ReadyForQuery. Does no I/O:
// the driver moves bytes and supplies the password when the server has said how it wants it.
//
//   start(); loop { write output(), wrote(n); feed(what was read); } until state() is Ready or Failed
//
// TLS, or SSLRequest, comes before this and is the driver's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/scram.h"
#include "protocol/secret_bytes.h"
#include "protocol/startup.h"
#include "protocol/types.h"

namespace sidepool::protocol {

// How the server asked. None: it let us in without asking (client certificate, trust).
enum class AuthMethod : std::uint8_t { None, Cleartext, Md5, Scram };

enum class LoginFailure : std::uint8_t {
  None,
  ServerError,         // the server's ErrorResponse: error_body(), error()
  Protocol,            // it broke the protocol or sent too much
  UnsupportedAuth,     // it wants a method that we do not have
  BadServerSignature,  // it could not prove in SCRAM that it knows the password, or did not try
  NoPassword,          // it asked and the driver has none: refuse_password()
  Internal,            // libcrypto failed, or a password with a zero byte was given
};

struct LoginParameters {
  std::vector<OwnedParameter> startup;   // user, database and the others, sent in this order
  std::uint32_t protocol = kProtocol32;  // kProtocol30 or kProtocol32; a server may negotiate 3.0
  std::string nonce;                     // for SCRAM, fresh random characters: scram_nonce()
  std::uint32_t max_scram_iterations = kMaxScramIterations;
};

class LoginMachine {
 public:
  enum class State : std::uint8_t { Running, NeedPassword, Ready, Failed };

  static constexpr std::uint32_t kMaxBody = 65536;       // of one message
  static constexpr std::size_t kMaxTotal = 1024 * 1024;  // of all that a server sends before it is ready
  static constexpr std::size_t kMaxErrorBody = 16384;    // of the ErrorResponse that is kept
  static constexpr std::size_t kMaxParameters = 512;     // of different names reported

  explicit LoginMachine(LoginParameters p) : p_(std::move(p)), protocol_(p_.protocol), scram_(p_.nonce) {}
  ~LoginMachine() { wipe(out_); }
  LoginMachine(LoginMachine&&) noexcept = default;
  LoginMachine& operator=(LoginMachine&&) noexcept = default;

  // Puts the startup message into output(). Once, first.
  void start();
  // Consumes bytes of the server, at most up to and including the first ReadyForQuery: what stays in `in`
  // belongs to whoever uses the server next. Consumes nothing unless state() is Running, so in NeedPassword
  // the driver keeps the rest and feeds it again after the answer.
  void feed(Bytes& in);
  // Bytes for the server; valid until the next call to a function that is not const.
  Bytes output() const noexcept { return Bytes{out_}.subspan(sent_); }
  void wrote(std::size_t n) noexcept;

  State state() const noexcept { return state_; }

  // In NeedPassword: how the server asks. The salt and iterations of Scram are in challenge(), so that the
  // driver can use kept keys, or derive() elsewhere when the count is high.
  AuthMethod auth_method() const noexcept { return method_; }
  const ScramChallenge& challenge() const noexcept { return challenge_; }

  // The answers; each returns false, and changes nothing, when it does not fit what is asked for. Afterwards
  // there is output(). Any method. For Scram this derives the keys here and now.
  bool answer_password(std::string_view password);
  // Scram, REQUIRES keys for the salt and iterations of challenge(); others do not fit.
  bool answer_scram_keys(const ScramKeys& keys);
  // Md5, with the stored form "md5" + 32 digits.
  bool answer_md5_hash(std::string_view hash);
  // There is none: Failed with NoPassword.
  void refuse_password();

  // After Ready.
  // The keys that logged in, for the next time. Null unless the method was Scram.
  const ScramKeys* scram_keys() const noexcept { return keys_ ? &*keys_ : nullptr; }
  // ParameterStatus in order of first report; a later report replaces the value.
  const std::vector<OwnedParameter>& parameters() const noexcept { return parameters_; }
  // What a CancelRequest needs. The key is empty when the server gave none.
  std::uint32_t backend_pid() const noexcept { return pid_; }
  Bytes cancel_key() const noexcept { return key_; }
  // kProtocol30 or kProtocol32.
  std::uint32_t protocol() const noexcept { return protocol_; }

  // After Failed.
  LoginFailure failure() const noexcept { return failure_; }
  // One sentence, without secrets. For ServerError the server's message.
  const std::string& failure_text() const noexcept { return failure_text_; }
  // The body of the server's ErrorResponse, to be relayed as it is; empty if there is none or it is too long.
  Bytes error_body() const noexcept { return error_body_; }
  const std::string& error_code() const noexcept { return error_code_; }
  const std::string& error_severity() const noexcept { return error_severity_; }

  // Bytes taken from the server so far. Zero when the connection ends: the server never spoke to us, as when
  // a TLS 1.3 server refuses our certificate only after we believe the handshake done.
  std::size_t server_bytes_seen() const noexcept { return seen_; }

 private:
  enum class Phase : std::uint8_t { Start, ScramFirst, ScramFinal, AwaitOk, Welcome };

  void on_message(char type, Bytes body);
  void on_authentication(Bytes body);
  void on_auth_ok(Bytes rest);
  void on_sasl(Bytes rest);
  void on_sasl_continue(Bytes rest);
  void on_sasl_final(Bytes rest);
  void on_negotiate(Bytes body);
  void on_error(Bytes body);
  void on_parameter(Bytes body);
  void on_key(Bytes body);
  void on_ready(Bytes body);
  void need(AuthMethod m) noexcept;
  void answered() noexcept;
  void fail(LoginFailure f, std::string text);

  LoginParameters p_;
  State state_ = State::Running;
  Phase phase_ = Phase::Start;
  AuthMethod method_ = AuthMethod::None;
  std::uint32_t protocol_;
  bool negotiated_ = false;
  Framer framer_{kMaxBody};
  Buffer body_;  // of a message that came in pieces
  Buffer out_;
  std::size_t sent_ = 0, seen_ = 0;
  ScramClient scram_;
  ScramChallenge challenge_;
  std::optional<ScramKeys> keys_;
  std::uint32_t md5_salt_ = 0;
  std::vector<OwnedParameter> parameters_;
  std::uint32_t pid_ = 0;
  Buffer key_;
  LoginFailure failure_ = LoginFailure::None;
  std::string failure_text_, error_code_, error_severity_;
  Buffer error_body_;
};

}  // namespace sidepool::protocol
