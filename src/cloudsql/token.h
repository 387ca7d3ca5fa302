// cloudsql/token.h -- OAuth access tokens: fetched from their source, kept, renewed before they are needed.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/cloudsql/access_token.h"
#include "src/cloudsql/call.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

// One exchange with the source; no cache (but for the token that an impersonation starts from). The metadata
// server is tried up to five times, other endpoints up to three times when they answer with 5xx.
CallResult<Token> fetch_token(Credentials& credentials, Scope scope, const Caller& caller);

// From when on a token is renewed: 10 minutes or a quarter of its life before its end, whichever is earlier,
// and up to a tenth of that earlier still by `u` in [0,1).
WallTime renew_from(WallTime fetched, WallTime expires, double u) noexcept;

// One source's tokens, one a scope. One thread at a time, which makes every fetch single-flight.
class TokenCache {
 public:
  // Reads the credentials anew, from whatever named them at start.
  using Reload = std::function<Result<Credentials>()>;

  // Without `reload` the file is read once.
  explicit TokenCache(Credentials credentials, Reload reload = {})
      : credentials_(std::move(credentials)), reload_(std::move(reload)) {}

  // Renews the token when it is due. While a valid one is there a failure costs nothing: it stays in use, and
  // trouble() tells. The pointer lives until the next call for the same scope.
  CallResult<const Token*> get(Scope scope, const Caller& caller);

  // Looks whether the credentials' file is another one than when it was read; if so reads it, and the next
  // get() fetches with what it holds, whatever failed before (tokens in use stay until then). nullopt:
  // nothing has changed. An error: it has, but cannot be used; the old credentials stay, and the next call
  // tries again.
  std::optional<Status> reread();

  // The API refused the token `refused`: the next get() fetches another, unless that has happened already.
  void distrust(Scope scope, const Token& refused) noexcept;

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
  Reload reload_;
  std::array<Slot, 2> slots_{};  // Admin and Login
};

}  // namespace sidepool::cloudsql
