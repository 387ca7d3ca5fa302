// conf/units.h -- durations ("1m30s") and sizes ("64MiB") as text.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sidepool::conf {

// Go's time.ParseDuration: one or more decimal numbers, each with a unit of ns, us, µs, ms, s, m, h; "0"
// alone needs no unit; a sign in front. Nothing if it is not that, or does not fit in 64 bits of nanoseconds.
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// Whole or fractional seconds, as PgBouncer's users write them; nothing if out of range or not finite.
std::optional<std::chrono::nanoseconds> seconds_of(double seconds);

// The shortest text that parse_duration() reads back as the same value: "1h", "1m30s", "500ms", "0s".
std::string format_duration(std::chrono::nanoseconds duration);

// A whole number with the unit B, KiB, MiB, GiB or TiB.
std::optional<std::uint64_t> parse_size(std::string_view text);
// In the largest unit that divides it: "64MiB", "1073741823B".
std::string format_size(std::uint64_t bytes);

}  // namespace sidepool::conf
