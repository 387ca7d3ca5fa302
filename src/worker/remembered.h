// src/worker/remembered.h -- what is kept of a successful login, for the logins that follow (product.md §4).
#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/login.h"
#include "src/base/clock.h"
#include "src/base/secret_memory.h"

namespace sidepool::worker {

// Of one pool. Shared by all workers: mutex_ guards everything. Nothing of it is ever printed.
class Remembered {
 public:
  enum class Check : std::uint8_t {
    Admit,        // whoever reaches an allowed listener: the database asks nobody for a password
    AskPassword,  // then knows()
    FreshLogin,   // the last look at the database is too old, or there was none: a login there decides
  };
  // What the first step of a client's login has to be.
  Check check(Time now, Duration auth_ttl) const;
  // Whether this password is known to be right and fresh enough; if not, the database is asked.
  bool knows(std::string_view password, Time now, Duration auth_ttl) const;
  // Whether this password was right the last time. Lets nobody in: it says who is worth trying first.
  bool resembles(std::string_view password) const;
  // The database has refused this password: if it is the one that was right before, it is no more.
  void refused(std::string_view password);
  // What is kept did not let a login of our own in: the next client's password is tried at the database, also
  // if it is the one that was right before (a password set again has another salt). Nobody is let in on what
  // was known before.
  void distrust();

  // A login at the database succeeded. `password` is what the client typed, empty if nobody was asked.
  void learn(const protocol::LoginMachine& login, std::string_view user, std::string_view password, Time now);

  // Answers a server's question for a login of our own with what is kept. False: nothing fits, or it may not
  // be sent over this connection.
  bool answer(protocol::LoginMachine& login, bool may_send_cleartext) const;

 private:
  std::array<std::uint8_t, 32> digest_of(std::string_view password) const;
  bool matches(std::string_view password) const;

  mutable std::mutex mutex_;
  std::optional<protocol::AuthMethod> method_;  // nothing: no login yet, so nothing is known
  std::optional<protocol::ScramKeys> scram_;
  std::optional<protocol::SecretText> md5_;
  SecretMemory cleartext_;                 // only when the database itself wants it in clear
  std::array<std::uint8_t, 32> key_{};     // of the digest: random, of this pool
  std::array<std::uint8_t, 32> digest_{};  // keyed hash of the password: recognised without PBKDF2
  bool has_digest_ = false;
  bool distrusted_ = false;  // the digest lets nobody in
  Time fresh_{};
};

}  // namespace sidepool::worker
