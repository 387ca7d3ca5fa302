// pool/broker_types.h -- what callers and the broker say to each other: limits, decisions, orders, counts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pool/health.h"
#include "pool/ids.h"

namespace sidepool::pool {

// What a client needs of a server. Both numbers are made by the caller (keyed hashes of settings, or interned
// numbers); 0 is "the operator's parameters" and "no particular state".
struct StateKey {
  // Servers opened with this set of startup parameters form a sub-pool inside the pool's bound: a client only
  // ever gets a server with an equal `startup`, because startup parameters are what every RESET returns to.
  std::uint64_t startup = 0;
  // The session state a server has (after release) or a client wants (at acquire). A preference only: the
  // caller compares the real state and replays or cleans when it differs.
  std::uint64_t state = 0;
  friend bool operator==(const StateKey&, const StateKey&) = default;
};

struct PoolLimits {
  std::uint32_t size = 10;        // servers of this pool: opening, idle, out and closing together; at least 1
  std::uint32_t min_size = 0;     // keep so many open with startup key 0; poll() and closed() refill
  std::uint32_t max_waiting = 0;  // clients in the queue, beyond it acquire() is Refused; 0: no limit
  Duration locality_window = std::chrono::milliseconds(1);  // see Broker::release()
  Duration lifetime = std::chrono::hours(1);                // 0: none
  Duration idle_timeout = std::chrono::minutes(10);         // 0: none
  Duration notify_after{};                                  // a Notify order once a wait; 0: none
  Backoff backoff{};                                        // after logins of the pool's own that failed
  bool round_robin = false;  // of equally good idle servers the longest idle instead of the most recent one
  friend bool operator==(const PoolLimits&, const PoolLimits&) = default;
};

struct BrokerLimits {
  std::uint32_t max_servers = 0;  // of the whole upstream; 0: only the pools' sizes count
  // Logins in flight of the whole upstream, first and trial logins of clients included. Those of clients
  // leave one of them to the pools (when it is above 1).
  std::uint32_t max_opening = 4;
  // An idle server that nobody can use is closed at once for whoever needs its slot. A server whose own queue
  // is not empty is taken away from it only for one who has waited this long: a change of hands between pools
  // or startup keys costs a login.
  Duration patience = std::chrono::seconds(1);
  // A login whose client is asked for a password makes way for others after this long. Programs answer within
  // a round trip, and for them a turn that is lost costs a connection; people and those who never answer must
  // not hold up anybody.
  Duration typing = std::chrono::milliseconds(250);
};

struct Waiter {
  Ticket ticket{};
  PoolId pool{};  // 0 for the first login of a database and user that have no pool yet
  SessionId session;
  Time since{};
};

// ---- Orders: side effects of a decision, for the caller to carry out after the call. Each names the worker
// that must act; an order for another worker goes through its mailbox, in the order in which orders were
// given.

// Whoever gets the order dials (a slot is reserved, its number is `server`) and logs in with the startup
// parameters of `startup`. It ends in opened() or open_failed(), always.
struct OpenOne {
  PoolId pool{};
  ServerId server{};
  std::uint64_t startup = 0;
};
// For worker `from`: take this idle server out of the idle watch and release() it (Clean, unchanged state).
// If `from` no longer has it, because it called idle_lost(), there is nothing to do: that call has answered.
struct Recall {
  ServerId server{};
  WorkerId from{};
};
enum class CloseReason : std::uint8_t { Evicted, IdleTimeout, Lifetime, OverLimit, Retired };
// For worker `from`: take this idle server out of the idle watch, close it in two steps (Terminate, wait for
// the peer's EOF at most server_close_timeout) and then call closed(). If `from` no longer has it, because it
// called idle_lost(), there is nothing to do: that server's closed() is due or done already.
struct CloseIdle {
  ServerId server{};
  WorkerId from{};
  CloseReason reason{};
};
// For waiter.session.worker: the login this session asked for may start; `server` is its slot. If the session
// is gone, login_ended(server, peer closed).
struct GrantSlot {
  Waiter waiter;
  ServerId server{};
};
// For session.worker: the client of this login is still typing and somebody else needs what the login holds.
// Give the connection up (login_ended()) and let the client type on. If login_resumed() was called meanwhile
// it has said so already.
struct YieldLogin {
  SessionId session;
  ServerId server{};
};
// For waiter.session.worker: the pool exists now (another client's first login succeeded); the session no
// longer waits for a slot and looks again what it needs: nothing, or a trial login.
struct LookAgain {
  Waiter waiter;
  PoolId pool{};
};
// For waiter.session.worker: it has waited notify_after; it goes on waiting.
struct Notify {
  Waiter waiter;
};
using Order = std::variant<OpenOne, Recall, CloseIdle, GrantSlot, YieldLogin, LookAgain, Notify>;

// Collects what calls order; the calls append. Reused by its owner, so it stops allocating soon.
struct Orders {
  std::vector<Order> list;
  // Set when poll() has become due earlier than announced before: whoever gets it calls poll() at that time.
  std::optional<Time> wake;
  void clear() {
    list.clear();
    wake.reset();
  }
};

// ---- Answers.

struct UseIdle {  // idle on this worker: take it out of the idle watch and bind it now
  ServerId server{};
};
struct Queued {  // one HandTo will name this ticket, unless cancel(), open_failed() or fail_waiters() returns
                 // it
  Ticket ticket{};
};
struct Refused {
  enum class Why : std::uint8_t { QueueFull, Draining, NoPool } why{};
};
using Acquire = std::variant<UseIdle, Queued, Refused>;

enum class Condition : std::uint8_t {
  Clean,       // may be parked as it is; what the *next* client needs cleaned is the caller's record
  NeedsReset,  // must be cleaned before it is parked
  Broken,      // unfit: close it. Also when the peer has closed: closed() follows at once then
  Retire,      // fit, but not to be used again (pass-through, credentials changed)
};
struct Park {};  // keep it idle on this worker, watched
struct HandTo {  // bind it to this session, maybe on another worker; NeedsReset: clean in the same write
  Waiter waiter;
};
struct Reset {};  // NeedsReset and nobody waits: clean it now (it stays out), then release() it as Clean
struct Close {};  // close it in two steps; then closed()
using Release = std::variant<Park, HandTo, Reset, Close>;

struct LoginGranted {
  ServerId server{};
};
using LoginSlot = std::variant<LoginGranted, Queued, Refused>;  // Refused: the pool drains or is gone

// A database and user that have no pool yet, as the caller numbers them. Equal names, equal number; two names
// with one number only wait for each other.
enum class Identity : std::uint64_t {};
struct FirstLogin {  // one at a time per identity
  Identity identity{};
};
struct TrialLogin {  // of a password that the pool does not know; one at a time per pool, behind waiting
                     // clients
  PoolId pool{};
};
struct OwnLogin {  // pass-through: a server for one client alone; in turn with the waiting clients
  PoolId pool{};
};
using LoginFor = std::variant<FirstLogin, TrialLogin, OwnLogin>;
// Who goes first in a line of logins; within a rank in order of arrival.
enum class LoginRank : std::uint8_t {
  Likely,   // its password was right the last time
  Unknown,  // nothing is known of it
  Suspect,  // another login from where it comes was refused a moment ago
};
inline constexpr std::size_t kLoginRanks = 3;

// ---- What metrics, the console and error messages are made of.

struct PoolCounts {
  std::uint32_t size = 0;     // the limit
  std::uint32_t slots = 0;    // idle + out + opening + closing
  std::uint32_t idle = 0;     // including those recalled by another worker
  std::uint32_t out = 0;      // bound to a session or on the way to one
  std::uint32_t pinned = 0;   // of those out
  std::uint32_t opening = 0;  // including trial logins
  std::uint32_t closing = 0;
  std::uint32_t waiting = 0;         // clients
  std::uint32_t waiting_logins = 0;  // trial and pass-through logins without a slot yet
  Duration oldest_wait{};            // of a client
  std::uint32_t failures = 0;        // dials that failed in a row
};
struct BrokerCounts {
  std::uint32_t max_servers = 0;
  std::uint32_t slots = 0;
  std::uint32_t opening = 0;
  std::uint32_t closing = 0;
  std::uint32_t waiting_logins = 0;  // first logins without a slot yet
  std::uint32_t pools = 0;
};

}  // namespace sidepool::pool
