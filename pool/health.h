// pool/health.h -- whether servers can be opened now: failures in a row, when to try again, what to tell
// clients.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "pool/ids.h"

namespace sidepool::pool {

enum class OpenFailure : std::uint8_t {
  Unreachable,    // resolve, connect, TLS, a lost or silent connection: waiting clients go on waiting
  NotReady,       // the database answered, but not for long: starting up, shutting down, no slot free
  BadCredential,  // the kept password is refused: waiting clients wait for a login that brings the new one
  Refused,  // any other ErrorResponse, or IAM's refusal: waiting clients get it, see Broker::open_failed()
  RefusedSettings,  // the same, and it may be the settings of the startup packet that are refused
};

// By the ErrorResponse of a login. 57P03 cannot_connect_now, 57P01/57P02 shutdown, 53xxx insufficient
// resources (53300 too_many_connections) pass by themselves; 28P01 invalid_password is what a new password
// cures (PostgreSQL manual, appendix A). Settings are refused by class 22 (a value), 42501 (a right, also
// that to connect), 42602 and 42704 (a name) and 55P02 (not at this time).
OpenFailure classify_login_error(std::string_view sqlstate);

struct OpenError {
  OpenFailure kind = OpenFailure::Unreachable;
  std::string sqlstate;  // for the client: the database's, or 08001 / 08006
  std::string message;   // for the client; never a secret
  std::string hint{};    // what may help, if that is known
};

struct Backoff {  // both longer than 0
  Duration first = std::chrono::milliseconds(100);
  Duration longest = std::chrono::seconds(15);
  friend bool operator==(const Backoff&, const Backoff&) = default;
};

// Exponential back-off with full jitter: the n-th failure in a row waits a random time of (0, min(longest,
// first * 2^(n-1))], so that many processes in front of a database that restarts do not come back at one
// moment.
class DialHealth {
 public:
  // `dialled`: when the failed dial began; several that were in flight together count as one failure.
  // `random`: 64 random bits.
  void failed(OpenError error, Time dialled, Time now, std::uint64_t random, const Backoff& backoff);
  void succeeded();
  // The limits have changed: a pause that was begun is not longer than the longest allowed now.
  void shorten(Time now, const Backoff& backoff);

  bool may_try(Time now) const { return failures_ == 0 || now >= next_attempt_; }
  // REQUIRES: failures() > 0.
  Time next_attempt() const { return next_attempt_; }
  std::uint32_t failures() const { return failures_; }
  // After a failure one login at a time finds out whether it works again.
  bool probing() const { return failures_ != 0; }
  bool credential_refused() const { return failures_ != 0 && error_.kind == OpenFailure::BadCredential; }
  // The failure clients should be told; kept after a success until the next one, for the console.
  const OpenError& last_error() const { return error_; }

 private:
  std::uint32_t failures_ = 0;
  Time last_failure_{};
  Time next_attempt_{};
  OpenError error_;
};

}  // namespace sidepool::pool
