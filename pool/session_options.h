// pool/session_options.h -- what a session is told about its pool, and what it tells about itself.
#pragma once
#include <cstddef>
#include <cstdint>

#include "pool/traits.h"
#include "protocol/frame.h"

namespace sidepool::pool {

enum class Mode : std::uint8_t { Session, Transaction, Statement };
enum class Isolation : std::uint8_t { Reset, Tracked };

// Of a pool; shared by its sessions and must outlive them.
struct SessionOptions {
  Mode mode = Mode::Transaction;
  Isolation isolation = Isolation::Reset;
  Pinning pinning = Pinning::Auto;
  std::uint32_t max_message = protocol::kMaxBody;  // of a client
  std::size_t max_client_statements = 1000;
  std::size_t max_server_statements = 200;  // 0: names of statements pass untouched
};

// What a client is doing, for time-outs and metrics.
enum class Phase : std::uint8_t {
  Idle,               // no server, nothing asked
  Waiting,            // for a server
  Running,            // a request is outstanding
  IdleInTransaction,  // holds a server, nothing outstanding, a transaction block or an unfinished cycle is
                      // open
  Holding,            // holds a server outside a transaction: pinned, session mode, half a message, a cancel
  Draining,           // the client has left, its server is brought to rest
  Closed,
};

// What happened in the calls since the last take_events(), for counters.
struct SessionEvents {
  std::uint32_t queries = 0;       // Query, FunctionCall and Execute requests
  std::uint32_t answers = 0;       // requests that the server is done with, one by one in a cycle
  std::uint32_t transactions = 0;  // ReadyForQuery with status idle
  std::uint32_t errors = 0;        // ErrorResponses given to the client
  std::uint32_t resets = 0;        // clean-ups of a server
  std::uint32_t replays = 0;       // of settings
  std::uint32_t parses = 0;        // Parse requests of the client
  std::uint32_t reparses = 0;      // Parse requests of ours, of a statement that a server did not have
  std::uint32_t pins = 0;          // new ones: bits of Pin

  bool none() const noexcept {
    return (queries | answers | transactions | errors | resets | replays | parses | reparses | pins) == 0;
  }
};

}  // namespace sidepool::pool
