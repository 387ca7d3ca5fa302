// src/base/rfc3339.h -- dates on the wire (RFC 3339 §5.6).
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "src/base/clock.h"

namespace sidepool {

// "2024-06-01T12:00:00Z", with any fraction of a second (kept to the microsecond) and any offset. A leap
// second counts as the second after it. nullopt: not such a date, a day that does not exist, or anything
// behind it.
std::optional<WallTime> parse_rfc3339(std::string_view text) noexcept;
// "2024-06-01T12:00:00Z", whole seconds.
std::string format_rfc3339(WallTime when);
// The same in the process's time zone, "2024-06-01T14:00:00+02:00".
std::string format_rfc3339_local(WallTime when);

}  // namespace sidepool
