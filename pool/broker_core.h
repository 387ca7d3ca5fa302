// pool/broker_core.h -- the broker without its lock: see pool/broker.h for what each call promises.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pool/broker_records.h"

namespace sidepool::pool {

// Idle servers by startup group, worker and state. Looks at a few only: a hit is a preference, not a promise.
class StateIndex {
 public:
  void add(Slab<ServerRecord>& servers, Index s);
  void erase(Slab<ServerRecord>& servers, Index s);
  // The most recent match, or with `oldest` the least recent one found; kNone.
  Index find(const Slab<ServerRecord>& servers, Index group, WorkerId worker, std::uint64_t state,
             bool oldest) const;

 private:
  using Chain = IndexList<ServerRecord, &ServerRecord::by_state>;
  std::size_t bucket(Index group, WorkerId worker, std::uint64_t state) const;
  void grow(Slab<ServerRecord>& servers);
  std::vector<Chain> chains_ = std::vector<Chain>(64);
  std::size_t size_ = 0;
};

class BrokerCore {
 public:
  BrokerCore(std::uint16_t number, std::uint16_t workers, BrokerLimits limits);

  PoolId add_pool(const PoolLimits& limits);
  void set_limits(PoolId pool, const PoolLimits& limits, Time now, Orders& orders);
  void set_limits(BrokerLimits limits, Time now, Orders& orders);
  void retire_servers(PoolId pool, Time now, Orders& orders);
  void drain_pool(PoolId pool, Time now, Orders& orders);
  bool remove_pool(PoolId pool);

  Acquire acquire(PoolId pool, SessionId session, StateKey key, Time now, Orders& orders);
  bool cancel(Ticket ticket, Time now, Orders& orders);
  std::vector<Waiter> fail_waiters(PoolId pool, Time now, Orders& orders);

  Release opened(ServerId server, WorkerId worker, std::uint64_t state, Time now, Orders& orders);
  std::vector<Waiter> open_failed(ServerId server, OpenError error, bool peer_closed, Time now,
                                  std::uint64_t random, Orders& orders);
  Release release(ServerId server, WorkerId worker, Condition condition, std::uint64_t state, Time now,
                  Orders& orders);
  void idle_lost(ServerId server, bool peer_closed, Time now, Orders& orders);
  void closed(ServerId server, Time now, Orders& orders);
  void pin(ServerId server);
  void unpin(ServerId server);

  LoginSlot acquire_login_slot(SessionId session, LoginFor what, Time now, Orders& orders, LoginRank rank);
  bool adopt(ServerId server, PoolId pool, std::uint64_t startup, Time now, Orders& orders);
  void login_ended(ServerId server, bool peer_closed, Time now, Orders& orders);
  void login_waits(ServerId server, Time now, Orders& orders);
  bool login_resumed(ServerId server, Time now);

  void poll(Time now, Orders& orders);
  std::optional<Time> next_deadline() const;

  PoolCounts counts(PoolId pool, Time now) const;
  BrokerCounts counts() const;
  std::optional<OpenError> open_error(PoolId pool) const;
  std::string check(Time now) const;

 private:
  using State = ServerRecord::State;

  // Ids and time (broker_core.cpp).
  ServerId server_id(Index s) const;
  PoolId pool_id(Index p) const;
  Index find_server(ServerId id) const;  // kNone: stale
  Index find_pool(PoolId id) const;
  void advance(Time now);

  // Groups and waiters (broker_clients.cpp).
  Index group_of(Index p, std::uint64_t startup);
  Index new_group(Index p, std::uint64_t startup);
  void drop_group_if_unused(Index g);
  GroupRecord::Local& local(Index g, WorkerId worker);
  Index new_waiter(Index p, SessionId session);
  void remove_client(Index w);
  void fail_group(Index g, std::vector<Waiter>& failed);
  void fail_pool(Index p, Index kept, std::vector<Waiter>& failed);
  Index next_waiter(Index g, WorkerId worker);
  Index idle_for(Index g, WorkerId worker, std::uint64_t state);

  // Servers (broker_servers.cpp).
  Index reserve(Index p, State state);
  void unpark(Index s);
  void park(Index s, WorkerId worker, std::uint64_t kept);
  void join_age(Index s);
  void leave_out(Index s);
  void begin_closing(Index s);
  void free_slot(Index s);
  void end(Index s, bool peer_closed);
  void close_idle(Index s, CloseReason reason, Orders& orders);
  bool must_close(const ServerRecord& server, Condition condition);
  bool slot_owed(Index p, Index g, bool has_waiter) const;
  bool owed_in_pool(Index p, Index g, bool has_waiter) const;
  bool owed_in_broker(Index p, Index g, bool has_waiter) const;
  bool outranks(Index w, Index g) const;
  Release place(Index s, WorkerId worker, Condition condition, std::uint64_t kept, Orders& orders);
  Release settle(Index s, WorkerId worker, std::uint64_t kept, Orders& orders);
  Release retire(Index s, Orders& orders);

  // Who gets a free slot (broker_dispatch.cpp).
  bool may_open(const PoolRecord& pool) const;
  std::uint32_t client_demand(const PoolRecord& pool) const;
  bool trial_ready(const PoolRecord& pool) const;
  std::uint32_t own_demand(const PoolRecord& pool) const;
  std::uint32_t login_cap() const;
  std::uint32_t max_opening() const;
  std::uint32_t usable_want(std::uint32_t clients) const;
  bool has_slot() const;
  void refresh_group(Index g);
  void refresh_pool(Index p);
  void refresh_line(Index l);
  void refresh_logins(Index p, bool room);
  void update(Index g, Orders& orders);       // after anything that touched a group
  void update_pool(Index p, Orders& orders);  // after anything that touched only the pool
  void make_room(Index p, Orders& orders);
  void dispatch(Orders& orders);
  void open_one(Index p, Index g, Orders& orders);
  void grant_login(Index l, Orders& orders);
  void fill_min(Orders& orders);

  // Logins (broker_logins.cpp).
  Index line_of(const LoginFor& what);
  void drop_line_if_unused(Index l);
  void look_again(Index l, Index p, Orders& orders);
  void finish_login(Index s);
  bool in_the_way(const ServerRecord& login) const;
  void make_way(Orders& orders);
  Time typing_due() const;

  // Time (broker_timers.cpp).
  Duration age_spacing(const PoolRecord& pool) const;
  Time earliest_due(const PoolRecord& pool) const;
  void announce(Time due, Orders& orders);
  void arm(Index p, Orders& orders);
  void run_due(Index p, Orders& orders);
  void close_timed_out(Index p, Orders& orders);
  void close_aged(Index p, Orders& orders);

  // Invariants (broker_check.cpp).
  std::string check_pool(Index p) const;
  std::string check_group(Index g) const;
  std::string check_totals() const;
  std::string check_progress() const;

  struct GroupKey {
    Index pool;
    std::uint64_t startup;
    friend bool operator==(const GroupKey&, const GroupKey&) = default;
  };
  struct GroupKeyHash {
    std::size_t operator()(const GroupKey& key) const;
  };

  const std::uint16_t number_;
  const std::uint16_t workers_;
  BrokerLimits limits_;
  Time now_ = Time::min();                  // the latest a caller has told
  Time announced_ = Time::max();            // the next poll() somebody was told to make
  std::uint64_t last_order_ = 0;            // of tickets
  std::uint32_t slots_ = 0, closing_ = 0;   // all servers; those of them that close
  std::uint32_t opening_ = 0, logins_ = 0;  // all logins in flight; those of them that belong to clients
  std::uint32_t yielding_ = 0;              // of those, the ones that were told to make way
  std::uint32_t client_want_ = 0,
                login_want_ = 0;  // slots that could be used at once within the pools' sizes
  Slab<ServerRecord> servers_;
  Slab<WaitRecord> waits_;
  Slab<GroupRecord> groups_;
  Slab<PoolRecord> pools_;
  Slab<LineRecord> lines_;
  StateIndex by_state_;
  std::unordered_map<GroupKey, Index, GroupKeyHash> groups_by_key_;  // startup keys other than 0
  std::unordered_map<std::uint64_t, Index> first_lines_;             // by identity
  IndexList<ServerRecord, &ServerRecord::by_broker> idle_;           // longest idle first
  IndexList<ServerRecord, &ServerRecord::by_typing> typing_;         // asked longest ago first
  IndexList<PoolRecord, &PoolRecord::by_underfill> underfilled_;
  IndexHeap<PoolRecord, &PoolRecord::hungry_pos, std::uint64_t>
      hungry_;  // by the oldest client without a server
  IndexHeap<LineRecord, &LineRecord::ready_pos, std::uint64_t> ready_;  // logins that could use a slot
  IndexHeap<PoolRecord, &PoolRecord::due_pos, Time> due_;
};

}  // namespace sidepool::pool
