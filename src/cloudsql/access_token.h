// cloudsql/access_token.h -- an OAuth access token and what it is good for.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "src/cloudsql/refresh.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

// A token carries exactly one of them (but for people's refresh tokens, which cannot be narrowed). Platform
// is asked for only to act as somebody else with it (IAM Credentials, cloudsql.md §5.6) and never reaches the
// SQL Admin API.
enum class Scope : std::uint8_t { Admin, Login, Platform };
std::string_view scope_url(Scope scope) noexcept;

struct Token {
  SecretText text;
  std::optional<WallTime> expires;  // nullopt: not known, so never

  Token copy() const { return {text.copy(), expires}; }
};

}  // namespace sidepool::cloudsql
