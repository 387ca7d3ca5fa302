// pool/broker.h -- decides who gets which server of one upstream. No I/O, no clock: callers pass `now`, and
// carry out the returned orders after the call.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pool/broker_types.h"
#include "pool/health.h"
#include "pool/ids.h"

namespace sidepool::pool {

class BrokerCore;

// One Broker per upstream, shared by all workers: every public method takes the one lock, and nothing is
// called from under it. So the number of servers is exact over all pools of the upstream, and closing one
// pool's idle server for another pool's client is one decision.
//
// Life of a server, by its id (given out here before the dial, never used again):
//
//   OpenOne ──► opening ──opened()──► decided as by release()
//                  └──open_failed()──► closing or free
//   Park ──► idle ──UseIdle──► out ──release()──► Park | HandTo (stays out) | Reset (stays out) | Close
//              ├──Recall──► recalled ──release()──► the same
//              ├──CloseIdle──► closing
//              └──idle_lost()──► closing or free          (also when recalled, or when CloseIdle is on its
//              way)
//   Close, CloseIdle ──► closing ──closed()──► free
//
// A slot is taken before the dial and is free only when the peer has closed: opening, idle, out and closing
// servers all count. Each server belongs to one party: the worker that has it idle, the session or mailbox
// that has it out. An idle server's worker never gets it by surprise: UseIdle is only ever an answer to that
// worker, Recall and CloseIdle come by its mailbox, and it may tell idle_lost() at any time before it has
// acted on them.
//
// Waiting: one queue in order of tickets over all workers. Whatever server turns up first (opened, released,
// recalled) goes to the head of the queue of its startup key; a failed dial strands nobody. The only
// overtaking: the locality window (release()), and a client that finds an idle server of its startup key on
// its own worker when every waiting client of that key already has a recalled server coming. A slot that
// becomes free goes to the oldest client or login that can use it.
//
// Cost: O(1), or O(log pools) when somebody waits; no allocation once it has seen its peak of servers,
// clients and startup keys.
//
// Times may come from several clocks' readings of slightly different age: a `now` before an earlier one
// counts as the earlier one. Errors of a caller (a server id that is not in the state the call requires)
// assert; without asserts the call changes nothing.
class Broker {
 public:
  // `number`: tells the brokers of a process apart in ServerId (below 4096). `workers`: how many WorkerIds
  // there are, numbered from 0.
  Broker(std::uint16_t number, std::uint16_t workers, BrokerLimits limits);
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // ---- Pools and limits.

  // With a min_size, poll() afterwards (adopt() does as well).
  PoolId add_pool(const PoolLimits& limits);
  // Lower limits close idle servers at once, the others when they are released or opened.
  void set_limits(PoolId pool, const PoolLimits& limits, Time now, Orders& orders);
  void set_limits(BrokerLimits limits, Time now, Orders& orders);
  // Every server opened until now (or opening) is closed when it is idle, at once or at its release: after a
  // change of credentials, hosts or TLS. Spacing of closings does not apply.
  void retire_servers(PoolId pool, Time now, Orders& orders);
  // No client is accepted any more (acquire() is Refused), nothing is opened, servers close when idle.
  // Clients that wait already are still served by servers that are out; the caller may fail_waiters().
  // Waiting logins of this pool get LookAgain.
  void drain_pool(PoolId pool, Time now, Orders& orders);
  // False, and nothing happens, unless the pool has no slot, no waiter and no waiting login.
  bool remove_pool(PoolId pool);

  // ---- Clients.

  // A client (on worker session.worker) needs a server. Of idle servers on its worker: one that was left in
  // state key.state, else the most recent one (round_robin: the longest idle one). A server on this worker
  // with other state is preferred to one with the right state on another worker: moving costs a wake-up (45
  // to 56 us, architecture.md section 7), replaying state in the same write as the request about a third of
  // that.
  Acquire acquire(PoolId pool, SessionId session, StateKey key, Time now, Orders& orders);
  // The client no longer wants to wait; also for queued logins. False: a server or slot (HandTo, GrantSlot,
  // LookAgain) is on its way or was delivered; the session's worker gives it back on arrival.
  bool cancel(Ticket ticket, Time now, Orders& orders);
  // Takes all clients (not logins) out of the queue, for an error to each.
  std::vector<Waiter> fail_waiters(PoolId pool, Time now, Orders& orders);

  // ---- Servers.

  // The OpenOne order succeeded on `worker`, which now has the server; then as release() of a clean server.
  Release opened(ServerId server, WorkerId worker, std::uint64_t state, Time now, Orders& orders);
  // The OpenOne order failed. Starts or lengthens the pool's back-off: nothing is opened until then, poll()
  // goes on. `peer_closed`: nothing is left of the connection; otherwise closed() follows. If error.kind is
  // Refused or RefusedSettings, those who wait are taken out of the queue and returned, for the error to
  // each. Where a server with a startup key of its own has RefusedSettings, that is only who waits with the
  // same key; then the pool is as good as it was.
  std::vector<Waiter> open_failed(ServerId server, OpenError error, bool peer_closed, Time now,
                                  std::uint64_t random, Orders& orders);
  // `worker` has this server (out or recalled) and no session needs it any more. `state`: how it was left.
  //
  // Goes to the waiting client at the head of its startup key's queue. While that one has waited less than
  // locality_window, a client on `worker` may be served instead of it: no wake-up of another thread, and the
  // overtaking is bounded by time. The server is closed if it is unfit, too old (at least lifetime / size
  // between two such closings of a pool, unless the last password was refused), or over a limit; or if its
  // slot is owed to somebody else, see BrokerLimits::patience.
  Release release(ServerId server, WorkerId worker, Condition condition, std::uint64_t state, Time now,
                  Orders& orders);
  // The worker of an idle server (or a recalled or evicted one whose order it has not acted on) has found it
  // closed by the peer, or unfit, and has taken it out of its idle watch. `peer_closed` as in open_failed().
  void idle_lost(ServerId server, bool peer_closed, Time now, Orders& orders);
  // A closing server is gone: the peer has closed, or server_close_timeout has passed.
  void closed(ServerId server, Time now, Orders& orders);
  // A client keeps this server (which is out) beyond a transaction; counted until unpin() or release().
  void pin(ServerId server);
  void unpin(ServerId server);

  // ---- Logins that need a slot before there is a pool, or beside it (product.md section 4).

  // Takes a slot of the same bounds. Queued: GrantSlot or LookAgain comes later, or cancel() returns it;
  // never refused, but those of a better rank go first. The login of a session that holds a slot ends in
  // adopt() or login_ended(), always.
  LoginSlot acquire_login_slot(SessionId session, LoginFor what, Time now, Orders& orders,
                               LoginRank rank = LoginRank::Unknown);
  // The login succeeded: the server is out, in `pool`, and belongs to the session that logged in; release()
  // it as any other. Ends the pool's back-off. First logins of the same identity that still wait get
  // LookAgain. False (nothing changed): the pool is full or draining, which a FirstLogin can find;
  // login_ended() it.
  bool adopt(ServerId server, PoolId pool, std::uint64_t startup, Time now, Orders& orders);
  // The login failed or was given up. `peer_closed` as in open_failed(). Says nothing about the pool's
  // health: a stranger's wrong password must not stop others.
  void login_ended(ServerId server, bool peer_closed, Time now, Orders& orders);
  // The login has its slot, and its client is asked for a password. While that takes longer than
  // BrokerLimits::typing it makes way (YieldLogin) for whoever needs its turn, its slot or its share of
  // max_opening: a client that never answers holds up nobody, and the bound and "one at a time" stay exact.
  void login_waits(ServerId server, Time now, Orders& orders);
  // The client has answered. False: too late, the turn is lost (YieldLogin was given or is on its way);
  // login_ended() it and ask for a slot again.
  bool login_resumed(ServerId server, Time now);

  // ---- Time.

  // Issues what has become due: opening again after back-off, min_size, idle time-outs, lifetimes, Notify.
  // Sets orders.wake to the next time.
  void poll(Time now, Orders& orders);
  // When poll() is due; may be early (a poll that finds nothing to do), never late.
  std::optional<Time> next_deadline() const;

  // ---- Introspection.

  PoolCounts counts(PoolId pool, Time now) const;
  BrokerCounts counts() const;
  // The last failure of a dial, if there was one since the last success.
  std::optional<OpenError> open_error(PoolId pool) const;
  // For tests: an empty string, or the first invariant that does not hold. O(everything).
  std::string check(Time now) const;

 private:
  mutable std::mutex mutex_;
  std::unique_ptr<BrokerCore> core_;  // guarded by mutex_
};

}  // namespace sidepool::pool
