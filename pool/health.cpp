// pool/health.cpp -- back-off of dials, and what a refused login means for those who wait.
#include "pool/health.h"

#include <algorithm>
#include <utility>

namespace sidepool::pool {

OpenFailure classify_login_error(std::string_view sqlstate) {
  if (sqlstate == "57P03" || sqlstate == "57P01" || sqlstate == "57P02" || sqlstate.substr(0, 2) == "53")
    return OpenFailure::NotReady;
  if (sqlstate == "28P01") return OpenFailure::BadCredential;
  return OpenFailure::Refused;
}

void DialHealth::failed(OpenError error, Time dialled, Time now, std::uint64_t random) {
  error_ = std::move(error);
  if (failures_ != 0 && dialled < last_failure_) return;
  last_failure_ = now;
  constexpr std::uint32_t kMaxShift = 20;  // beyond the cap for any sensible base, and no overflow
  const Duration ceiling = std::min(kCap, kBase * (std::int64_t{1} << std::min(failures_, kMaxShift)));
  const auto spread = static_cast<std::uint64_t>(ceiling.count());
  next_attempt_ = now + Duration(static_cast<Duration::rep>(random % spread) + 1);
  ++failures_;
}

void DialHealth::succeeded() { failures_ = 0; }

}  // namespace sidepool::pool
