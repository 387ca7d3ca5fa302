// src/base/random.h -- unpredictable bytes from the kernel.
#pragma once
#include <cstdint>
#include <span>

namespace sidepool {

// Fills `out` from getrandom(2); any thread. A system that has no entropy source at all ends the process:
// going on with predictable nonces and cancel keys would let strangers in.
void fill_random(std::span<std::uint8_t> out) noexcept;

// A number in [0, 1) for jitter.
double random_unit() noexcept;

}  // namespace sidepool
