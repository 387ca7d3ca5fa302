// pool/health.cpp -- back-off of dials, and what a refused login means for those who wait.
#include "pool/health.h"

#include <algorithm>
#include <array>
#include <utility>

namespace sidepool::pool {

OpenFailure classify_login_error(std::string_view sqlstate) {
  if (sqlstate == "57P03" || sqlstate == "57P01" || sqlstate == "57P02" || sqlstate.substr(0, 2) == "53")
    return OpenFailure::NotReady;
  if (sqlstate == "28P01") return OpenFailure::BadCredential;
  constexpr std::array<std::string_view, 4> kOfSettings{"42501", "42602", "42704", "55P02"};
  if (sqlstate.substr(0, 2) == "22" || std::count(kOfSettings.begin(), kOfSettings.end(), sqlstate) != 0)
    return OpenFailure::RefusedSettings;
  return OpenFailure::Refused;
}

void DialHealth::failed(OpenError error, Time dialled, Time now, std::uint64_t random,
                        const Backoff& backoff) {
  error_ = std::move(error);
  if (failures_ != 0 && dialled < last_failure_) return;
  last_failure_ = now;
  Duration ceiling = backoff.first;  // doubled step by step, because a product could overflow
  for (std::uint32_t n = 0; n < failures_ && ceiling < backoff.longest; ++n) ceiling += ceiling;
  ceiling = std::min(ceiling, backoff.longest);
  const auto spread = static_cast<std::uint64_t>(std::max<Duration::rep>(ceiling.count(), 1));
  next_attempt_ = now + Duration(static_cast<Duration::rep>(random % spread) + 1);
  ++failures_;
}

void DialHealth::succeeded() { failures_ = 0; }

void DialHealth::shorten(Time now, const Backoff& backoff) {
  next_attempt_ = std::min(next_attempt_, now + backoff.longest);
}

}  // namespace sidepool::pool
