// tests/sim/broker_world.h -- workers, mailboxes, sessions and servers around one broker, all of them fake.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "pool/broker.h"

namespace sidepool::sim {

using namespace pool;  // NOLINT: the world is made of its types

// A broken invariant.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a server is from outside the broker: exactly one place at any time.
struct FakeServer {
  enum class At { Dialling, Login, Idle, Out, Mail, Closing };
  At at{};
  PoolId pool{};  // 0: a first login
  std::uint64_t startup = 0;
  WorkerId worker{};                       // Dialling, Idle, Closing
  std::size_t user = 0;                    // Out, Login: the session
  bool recalled = false, evicted = false;  // idle, and the order to its worker is on its way
  std::size_t login = 0;                   // Login: which LoginFor
  std::uint64_t identity = 0;              // Login: of a first login
  bool typing = false;                     // Login: its client is asked for a password
  bool pinned = false;
};

struct FakeSession {
  enum class Doing { Nothing, Waiting, Using, WaitingForLogin, LoggingIn };
  SessionId id;
  Doing doing = Doing::Nothing;
  Ticket ticket{};
  ServerId server{};
  PoolId pool{};
  std::uint64_t startup = 0;
};

struct LoginNote {  // what a login asked for
  LoginFor what;
  PoolId pool{};
  std::uint64_t identity = 0;
};

struct Handed {  // a server in a mailbox
  ServerId server{};
  Waiter waiter;
};
using Mail = std::variant<Order, Handed>;

struct QueuedClient {
  Ticket ticket{};
  WorkerId worker{};
  Time since{};
};
struct FakePool {
  PoolLimits limits;
  bool draining = false;
  std::map<std::uint64_t, std::deque<QueuedClient>>
      queues;  // by startup key: the order clients must be served in
};

// One seeded run. step() lets one random thing happen and checks everything; finish() lets all clients be
// served and everything close. Both throw Fault.
class BrokerWorld {
 public:
  explicit BrokerWorld(std::uint64_t seed);
  void step();
  void finish();
  std::uint64_t served() const { return served_; }

 private:
  using At = FakeServer::At;
  using Doing = FakeSession::Doing;

  std::uint32_t roll(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }
  bool chance(std::uint32_t percent) { return roll(100) < percent; }
  PoolLimits random_limits();
  FakeServer& server(ServerId id, At expected, const char* what);
  std::optional<ServerId> some_server(At at);
  PoolId some_pool();

  // Things that happen.
  void start_client(FakeSession& session);
  void start_login(FakeSession& session);
  void use_step(FakeSession& session);
  void stop_waiting(FakeSession& session);
  void end_login(FakeSession& session, bool success);
  void release(ServerId id, WorkerId worker, Condition condition);
  void dialled(ServerId id, bool success);
  void idle_dies(ServerId id);
  void close_done(ServerId id);
  void change_pools();
  void deliver(std::size_t worker);
  void poll();
  void advance();
  void random_event();
  bool calm_event();
  void calm_down();
  bool at_rest() const;
  bool adopt(FakeSession& session, FakeServer& slot);

  // What the broker said.
  void take_orders(WorkerId me);
  void post(WorkerId to, Mail mail) { mail_[static_cast<std::size_t>(to)].push_back(std::move(mail)); }
  void on_order(std::size_t worker, const Order& order);
  void on_grant(ServerId id, Ticket ticket);
  void on_look_again(const LookAgain& order);
  void login_step(FakeSession& session);
  void on_yield(const YieldLogin& order);
  void on_handed(const Handed& handed);
  void on_release(ServerId id, WorkerId worker, Condition condition, const Release& answer);
  void on_open_order(WorkerId me, const OpenOne& open);
  FakeSession* live(const SessionId& id);
  void leave_queue(PoolId pool, std::uint64_t startup, Ticket ticket);
  void begin_close(ServerId id, WorkerId worker);

  // What must hold.
  void check();
  void check_counts();
  void check_fits(ServerId kept);
  void check_bound(PoolId pool, const char* what);
  void check_order(const HandTo& hand, const FakeServer& from, WorkerId worker);
  [[noreturn]] void fault(const std::string& what) { throw Fault(what); }

  std::mt19937_64 random_;
  Time now_{};
  BrokerLimits limits_;
  std::size_t workers_;
  Broker broker_;
  Orders orders_;
  std::optional<Time> wake_;
  std::map<ServerId, FakeServer> servers_;
  std::map<PoolId, FakePool> pools_;
  std::vector<FakeSession> sessions_;
  std::vector<std::deque<Mail>> mail_;
  std::map<Ticket, LoginNote> logins_waiting_;
  std::map<std::uint64_t, PoolId> identities_;  // those whose first login succeeded
  std::set<ServerId> seen_;                     // ids are never used again
  std::uint64_t served_ = 0;
  bool calm_ = false;  // finish(): nothing fails any more
};

}  // namespace sidepool::sim
