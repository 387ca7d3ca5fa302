// src/base/memory_reserve.h -- memory kept back for the time when there is no more.
//
// An exception in the middle of a decision would leave a client, a server or the bound in no state at all. So
// `new` does not fail while the reserve lasts: what is under way is finished, and new work is refused until
// the reserve is whole again.
#pragma once

namespace sidepool {

// Once, from main: makes the reserve and installs the handler of `new` (std::set_new_handler).
void keep_memory_reserve() noexcept;
// Whether some of the reserve has been given out: do not begin anything. Any thread.
bool memory_is_short() noexcept;
// Tries to make the reserve whole again. One thread, now and then.
void refill_memory_reserve() noexcept;

}  // namespace sidepool
