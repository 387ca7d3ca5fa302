// pool/ids.h -- names of things that cross threads: numbers with a generation, never pointers.
#pragma once
#include <chrono>
#include <cstdint>

namespace sidepool::pool {

using Time = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

enum class WorkerId : std::uint16_t {};
enum class ServerId : std::uint64_t {};  // never reused in a process
enum class PoolId : std::uint64_t {};    // never reused in a process; 0: none

// A client's session. A slot is used again by later clients; the generation tells them apart.
struct SessionId {
  WorkerId worker{};
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  friend bool operator==(const SessionId&, const SessionId&) = default;
};

// Order of arrival in a wait queue; never reused.
enum class Ticket : std::uint64_t { None = 0 };

}  // namespace sidepool::pool
