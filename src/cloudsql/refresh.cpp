// cloudsql/refresh.cpp -- see the header.
#include "src/cloudsql/refresh.h"

#include <algorithm>
#include <utility>

namespace sidepool::cloudsql {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr Millis kExpiryBuffer = minutes{4};
constexpr Millis kClientGap = seconds{5};
constexpr Millis kLimiterPeriod = seconds{30};
constexpr double kLimiterBurst = 2.0;
// Google's requests for patience are honoured up to this; a wrong header must not switch an instance off.
constexpr Millis kMaxRetryAfter = minutes{5};
constexpr Millis kClockJump = seconds{30};
constexpr Millis kMissed = seconds{10};

Millis scaled(Millis t, double by) noexcept {
  return Millis{static_cast<Millis::rep>(static_cast<double>(t.count()) * by)};
}

}  // namespace

Millis refresh_delay(Millis left, double u) noexcept {
  if (left <= Millis{0}) return Millis{0};
  const Millis base = left >= hours{1} ? left / 2 : std::max(left - kExpiryBuffer, left / 2);
  return scaled(base, 1.0 - 0.1 * u);
}

Millis failure_delay(FailureKind kind, unsigned failures, double u) noexcept {
  const auto [first, most] = [kind]() -> std::pair<Millis, Millis> {
    switch (kind) {
      case FailureKind::Transport:
        return {seconds{1}, seconds{30}};
      case FailureKind::Server:
        return {seconds{5}, seconds{60}};
      case FailureKind::Refused:
        return {seconds{30}, minutes{5}};
    }
    return {seconds{30}, minutes{5}};
  }();
  const unsigned doublings = std::min(failures > 0 ? failures - 1 : 0U, 10U);
  return scaled(std::min(first * (1U << doublings), most), 1.0 + 0.2 * u);
}

double RefreshLimiter::level(BootTime now) const noexcept {
  if (now <= at_) return level_;
  const double filled =
      static_cast<double>((now - at_).count()) / static_cast<double>(kLimiterPeriod.count());
  return std::min(kLimiterBurst, level_ + filled);
}

void RefreshLimiter::take(BootTime now) noexcept {
  level_ = std::max(0.0, level(now) - 1.0);
  at_ = std::max(at_, now);
}

void RefreshLimiter::give_back(BootTime now) noexcept {
  level_ = std::min(kLimiterBurst, level(now) + 1.0);
  at_ = std::max(at_, now);
}

BootTime RefreshLimiter::available_at(BootTime now) const noexcept {
  const double missing = 1.0 - level(now);
  if (missing <= 0.0) return now;
  return now + scaled(kLimiterPeriod, missing) + Millis{1};
}

BootTime RefreshSchedule::client_at(BootTime now) const noexcept {
  if (!last_call_) return now;
  const BootTime patient = std::max(*last_call_ + kClientGap, hold_until_);
  if (failures_ > 0) return patient;
  return std::min(patient, limiter_.available_at(now));
}

BootTime RefreshSchedule::paced_at(BootTime now) const noexcept {
  return std::max({next_, hold_until_, limiter_.available_at(now)});
}

bool RefreshSchedule::lazily_due(Now now) const noexcept {
  return lazy_ && !running_ && !wanted_ && paced_at(now.boot) <= now.boot;
}

RefreshSchedule::Answer RefreshSchedule::on_client(Now now) noexcept {
  const bool usable = valid(now.wall);
  if (usable && !suspect_) {
    if (lazily_due(now)) wanted_ = true;
    return Answer::Serve;
  }
  if (running_ || wanted_) return Answer::Wait;
  // A refused certificate is replaced at the limiter's pace only, or an instance that refuses every
  // certificate would cost two calls in 5 s for ever.
  if (usable && paced_at(now.boot) > now.boot) return Answer::Serve;
  if (usable || client_at(now.boot) <= now.boot) {
    wanted_ = true;
    return Answer::Wait;
  }
  if (failures_ > 0) return Answer::Fail;
  wanted_ = true;  // the certificate ended right after a call: seconds at most
  return Answer::Wait;
}

RefreshSchedule::Answer RefreshSchedule::on_unreached(Now now) noexcept {
  if (!running_ && !wanted_) {
    if (paced_at(now.boot) > now.boot) return on_client(now);
    wanted_ = true;
  }
  return Answer::Wait;
}

bool RefreshSchedule::should_start(Now now) const noexcept {
  if (running_) return false;
  return background_at(now.boot) <= now.boot || (wanted_ && client_at(now.boot) <= now.boot);
}

void RefreshSchedule::started(Now now) noexcept {
  limiter_.take(now.boot);
  running_ = true;
  wanted_ = false;
}

bool RefreshSchedule::succeeded(Now now, WallTime expires, double u) noexcept {
  if (expires <= now.wall) {
    failed(now, FailureKind::Refused, Millis{0}, u);
    return false;
  }
  running_ = false;
  suspect_ = false;
  failures_ = 0;
  last_call_ = now.boot;
  hold_until_ = BootTime{0};
  expires_ = expires;
  next_ = now.boot + refresh_delay(expires - now.wall, u);
  return true;
}

void RefreshSchedule::failed(Now now, FailureKind kind, Millis retry_after, double u) noexcept {
  running_ = false;
  suspect_ = false;  // no better certificate can be had: the one that is there is tried again
  if (failures_ < 1000) ++failures_;
  last_call_ = now.boot;
  retry_after = std::clamp(retry_after, Millis{0}, kMaxRetryAfter);
  hold_until_ = now.boot + retry_after;
  // A fleet that was told the same time to come back does not come back at the same time.
  next_ = now.boot + std::max(failure_delay(kind, failures_, u), scaled(retry_after, 1.0 + 0.2 * u));
  if (kind == FailureKind::Transport) limiter_.give_back(now.boot);
}

void RefreshSchedule::force(Now now) noexcept {
  if (failures_ == 0) next_ = std::min(next_, now.boot);
}

void RefreshSchedule::replaced(Now now) noexcept {
  failures_ = 0;
  next_ = now.boot;
}

void RefreshSchedule::suspect(Now now) noexcept {
  suspect_ = true;
  force(now);
}

BootTime RefreshSchedule::wake_at(Now now) const noexcept {
  if (running_) return BootTime::max();
  const BootTime background = background_at(now.boot);
  return wanted_ ? std::min(background, client_at(now.boot)) : background;
}

ClockWatch::Seen ClockWatch::look(Now now, BootTime until) noexcept {
  if (!last_) {
    last_ = now;
    return {};
  }
  const Now last = std::exchange(*last_, now);
  const Millis passed = now.boot - last.boot;
  const Millis moved = (now.wall - last.wall) - passed;
  const Millis slept = passed - (now.awake - last.awake);
  if (std::chrono::abs(moved) > kClockJump) return {Event::WallMoved, moved};
  if (slept > kMissed) return {Event::Slept, slept};
  if (until != BootTime::max() && now.boot - until > kMissed) return {Event::Frozen, now.boot - until};
  return {};
}

}  // namespace sidepool::cloudsql
