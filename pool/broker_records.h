// pool/broker_records.h -- the broker's own records of servers, waiters, startup keys, pools and login lines.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "pool/broker_types.h"
#include "pool/health.h"
#include "pool/index_heap.h"
#include "pool/index_list.h"

namespace sidepool::pool {

struct ServerRecord {
  enum class State : std::uint8_t { Free, Login, Opening, Idle, Recalled, Out, Closing };
  // Of a login: its client is asked for a password; it has been told to make way.
  enum class Typing : std::uint8_t { No, Yes, Yielding };
  State state = State::Free;
  Typing typing = Typing::No;
  bool pinned = false;
  bool aged = false;             // it is in PoolRecord::age
  std::uint32_t generation = 1;  // of its id
  std::uint32_t epoch = 0;       // PoolRecord::epoch at its dial
  Index pool = kNone;            // none: a first login
  Index group = kNone;           // none: a login, or closing
  Index line = kNone;            // of a login
  SessionId session;             // of a login
  WorkerId home{};               // where it is idle
  std::uint64_t kept = 0;        // StateKey::state it was left in
  Time since{};                  // dialled, idle, or (a login) its client is asked since
  Time opened{};
  Link by_worker, by_group, by_pool, by_broker, by_state;  // when idle
  Link by_age;                                             // from opened until closing
  Link by_typing;                                          // while Typing::Yes
};

struct WaitRecord {
  bool waiting = false;
  Waiter waiter;
  std::uint64_t order = 0;  // the ticket without its slot: compares by arrival
  Index pool = kNone;
  Index group = kNone;  // of a client
  Index line = kNone;   // of a login
  LoginRank rank{};     // of a login
  Link in_queue;        // of its group or line
  Link by_worker, by_pool;
};

using IdleByWorker = IndexList<ServerRecord, &ServerRecord::by_worker>;
using WaitQueue = IndexList<WaitRecord, &WaitRecord::in_queue>;
using WaitByWorker = IndexList<WaitRecord, &WaitRecord::by_worker>;

// The servers and waiting clients of one pool with one startup key.
struct GroupRecord {
  struct Local {
    IdleByWorker idle;
    WaitByWorker waiting;
  };
  Index pool = kNone;
  std::uint64_t startup = 0;
  std::uint32_t servers = 0;   // opening, idle, recalled, out
  std::uint32_t opening = 0;   // each of them serves one waiting client, or parks
  std::uint32_t recalled = 0;  // so does each of these
  std::uint32_t unmet = 0;     // waiting clients beyond opening + recalled, as of the last refresh
  // The first `covered` clients of the queue have a server coming; the next one is first_unmet (kNone: all
  // have). So the group's claim on a free slot is as old as that client, not as old as its head.
  std::uint32_t covered = 0;
  Index first_unmet = kNone;
  IndexList<ServerRecord, &ServerRecord::by_group> idle;
  WaitQueue waiting;
  std::vector<Local> local;  // by worker
  Index hungry_pos = kNone;
};

// As one list, in which those of a better rank come first.
class LoginQueue {
 public:
  bool empty() const { return size() == 0; }
  std::uint32_t size() const {
    std::uint32_t sum = 0;
    for (const auto& queue : by_rank_) sum += queue.size();
    return sum;
  }
  Index front() const {
    for (const auto& queue : by_rank_)
      if (!queue.empty()) return queue.front();
    return kNone;
  }
  void push_back(Slab<WaitRecord>& waits, Index w) { queue_of(waits, w).push_back(waits, w); }
  void erase(Slab<WaitRecord>& waits, Index w) { queue_of(waits, w).erase(waits, w); }

 private:
  WaitQueue& queue_of(const Slab<WaitRecord>& waits, Index w) {
    return by_rank_[static_cast<std::size_t>(waits[w].rank)];
  }
  std::array<WaitQueue, kLoginRanks> by_rank_;
};

// Logins waiting for a slot: of one identity, or the trial or pass-through logins of one pool.
struct LineRecord {
  enum class Kind : std::uint8_t { First, Trial, Own };
  Kind kind = Kind::First;
  Index pool = kNone;
  std::uint64_t identity = 0;
  std::uint32_t busy = 0;      // logins in flight; at most one unless Own
  std::uint32_t yielding = 0;  // of those, the ones that were told to make way
  std::uint32_t want = 0;      // what a First line adds to BrokerCore::login_want_
  LoginQueue waiting;
  Index ready_pos = kNone;
};

struct PoolRecord {
  bool live = false;
  bool draining = false;
  bool underfilled = false;  // it is in BrokerCore::underfilled_
  std::uint32_t generation = 1;
  std::uint32_t epoch = 0;  // servers of an earlier one are closed when idle
  PoolLimits limits;
  DialHealth health;
  std::uint32_t slots = 0, out = 0, pinned = 0, opening = 0, logins = 0, recalled = 0, closing = 0;
  std::uint32_t unmet = 0;                        // sum over its groups
  std::uint32_t client_want = 0, login_want = 0;  // its parts of the broker's sums
  Index operator_group = kNone;                   // startup key 0; lives as long as the pool
  Index trial = kNone, own = kNone;               // its lines
  IndexHeap<GroupRecord, &GroupRecord::hungry_pos, std::uint64_t>
      hungry;                                            // unmet groups by their oldest client
  IndexList<ServerRecord, &ServerRecord::by_pool> idle;  // longest idle first
  IndexList<ServerRecord, &ServerRecord::by_age> age;    // oldest first
  IndexList<WaitRecord, &WaitRecord::by_pool> waiting;   // clients, all groups
  Index notify = kNone;                                  // first client not yet notified
  Time age_close_allowed{};                              // spacing of closings for age
  Time age_check{};  // all too old were out: they are closed at release, look again then
  Index hungry_pos = kNone, due_pos = kNone;
  Link by_underfill;
};

}  // namespace sidepool::pool
