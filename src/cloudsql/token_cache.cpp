// cloudsql/token_cache.cpp -- how long tokens are kept, and what failures do: see token.h.
#include <algorithm>
#include <utility>

#include "src/cloudsql/token.h"

namespace sidepool::cloudsql {

WallTime renew_from(WallTime fetched, WallTime expires, double u) noexcept {
  const Millis life = expires - fetched;
  const auto margin = static_cast<double>(std::max<Millis>(std::chrono::minutes{10}, life / 4).count());
  return expires - Millis{static_cast<Millis::rep>(margin * (1.0 + 0.1 * u))};
}

void TokenCache::fetch(Slot& slot, Scope scope, const Caller& caller) {
  auto fetched = fetch_token(credentials_, scope, caller);
  const Now now = caller.now();
  if (fetched) {
    slot.renew_from = fetched->expires ? cloudsql::renew_from(now.wall, *fetched->expires, caller.random())
                                       : WallTime::max();
    slot.token = std::move(*fetched);
    slot.failure.reset();
    slot.failures = 0;
    return;
  }
  ++slot.failures;
  slot.failure = std::move(fetched.error());
  const Millis pace = failure_delay(slot.failure->kind, slot.failures, caller.random());
  slot.retry_at = now.boot + std::max(pace, slot.failure->retry_after);
  slot.again_at = now.boot + (slot.failure->kind == FailureKind::Transport ? Millis{500} : Millis{4000});
}

CallResult<const Token*> TokenCache::get(Scope scope, const Caller& caller) {
  Slot& slot = slots_[index(scope)];
  const Now now = caller.now();
  const auto valid = [&] {
    return slot.token && (!slot.token->expires || caller.now().wall < *slot.token->expires);
  };
  const bool have = valid();
  const bool due = !have || now.wall >= slot.renew_from;
  const bool held_back = slot.failure && now.boot < (have ? slot.retry_at : slot.again_at);
  if (due && !held_back) fetch(slot, scope, caller);
  if (valid()) return &*slot.token;
  return tl::unexpected(
      slot.failure ? *slot.failure
                   : CallFailure{Error{Errc::Auth, 0, "the access token was over on arrival", "clock"},
                                 FailureKind::Refused, Millis{0}});
}

std::optional<Status> TokenCache::reread() {
  if (!reload_ || credentials_.watched.empty()) return std::nullopt;
  const auto stamp = stamp_of(credentials_.watched);
  if (stamp == credentials_.stamp) return std::nullopt;
  // The search would go on to the next source, and the process become somebody else.
  if (!stamp)
    return fail(Errc::Config, credentials_.watched + " is gone, or no regular file any more", 0,
                "credentials");
  auto fresh = reload_();
  if (!fresh) return tl::unexpected(std::move(fresh.error()));
  credentials_ = std::move(*fresh);
  for (Slot& slot : slots_) {
    slot.renew_from = WallTime::min();
    slot.failure.reset();
    slot.failures = 0;
  }
  return Status{};
}

void TokenCache::distrust(Scope scope, const Token& refused) noexcept {
  Slot& slot = slots_[index(scope)];
  if (slot.token && slot.token->text.view() == refused.text.view()) slot.renew_from = WallTime::min();
}

const Error* TokenCache::trouble(Scope scope) const noexcept {
  const auto& failure = slots_[index(scope)].failure;
  return failure ? &failure->error : nullptr;
}

}  // namespace sidepool::cloudsql
