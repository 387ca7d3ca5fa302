// src/check/advice.h -- which check an error belongs to, and what its reader can do. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/check/report.h"

namespace sidepool::check {

// Which of Api, Scopes, Roles and Instance a failed call of the SQL Admin API fails; those before it in this
// order have passed.
Subject subject_of(const Error& error) noexcept;
std::string remedy_of_api(const Error& error);

// What an address is, as far as advice depends on it.
enum class Reach : std::uint8_t { PublicIp, PrivateIp, Psc, Host };
// `error` of a dial that failed before TLS: names that cannot be resolved, refused, timed out.
std::string_view remedy_of_route(const Error& error, Reach reach) noexcept;

// `error` of a handshake, or of what follows it. `cloudsql`: the certificates are Google's business.
std::string_view remedy_of_tls(const Error& error, bool cloudsql) noexcept;

// What a login that failed depends on.
struct LoginFacts {
  std::string user{};
  std::string sqlstate{};  // of the database's error; empty: it did not come to one
  std::string reason{};    // of our own error: no_password, cleartext, auth_method, …
  bool iam = false;        // the certificate carries a login token
  std::string role{};      // that belongs to the principal; empty: not known
};
std::string remedy_of_login(const LoginFacts& facts);

}  // namespace sidepool::check
