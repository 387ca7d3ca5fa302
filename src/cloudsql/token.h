// cloudsql/token.h -- OAuth access tokens: fetched from their source, kept, renewed before they are needed.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/cloudsql/call.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

// A token carries exactly one of them (but for people's refresh tokens, which cannot be narrowed).
enum class Scope : std::uint8_t { Admin, Login };
std::string_view scope_url(Scope scope) noexcept;

struct Token {
  SecretText text;
  std::optional<WallTime> expires;  // nullopt: not known, so never
};

// One exchange with the source; no cache. The metadata server is tried up to five times.
CallResult<Token> fetch_token(Credentials& credentials, Scope scope, const Caller& caller);

// The e-mail of the metadata server's service account; empty if it does not say.
std::string fetch_metadata_principal(const MetadataServer& server, const Caller& caller);

// From when on a token is renewed: 10 minutes or a quarter of its life before its end, whichever is earlier,
// and up to a tenth of that earlier still by `u` in [0,1).
WallTime renew_from(WallTime fetched, WallTime expires, double u) noexcept;

// One source's tokens, one a scope. Owned by the api thread, which makes every fetch single-flight.
class TokenCache {
 public:
  explicit TokenCache(Credentials credentials) : credentials_(std::move(credentials)) {}

  // Renews the token when it is due. While a valid one is there a failure costs nothing: it stays in use, and
  // trouble() tells. The pointer lives until the next call for the same scope.
  CallResult<const Token*> get(Scope scope, const Caller& caller);

  // The API refused the token: the next get() fetches another.
  void distrust(Scope scope) noexcept { slots_[index(scope)].renew_from = WallTime::min(); }

  // Why the last renewal failed although get() gave a token; nullptr if it did not.
  const Error* trouble(Scope scope) const noexcept;
  const Credentials& credentials() const noexcept { return credentials_; }

 private:
  struct Slot {
    std::optional<Token> token{};
    WallTime renew_from{WallTime::max()};
    std::optional<CallFailure> failure{};
    unsigned failures = 0;  // in a row
    BootTime retry_at{0};   // no renewal before, while the old token is valid
    BootTime again_at{0};   // no fetch at all before: instances that share the source share its refusal
  };
  static std::size_t index(Scope scope) noexcept { return static_cast<std::size_t>(scope); }
  void fetch(Slot& slot, Scope scope, const Caller& caller);

  Credentials credentials_;
  std::array<Slot, 2> slots_{};
};

}  // namespace sidepool::cloudsql
