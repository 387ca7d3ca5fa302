// tests/unit/pool/broker_threads_test.cpp -- real threads with mailboxes around one broker; also run under
// TSan.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <variant>
#include <vector>

#include "pool/broker.h"

namespace sidepool::pool {
namespace {

constexpr std::uint16_t kWorkers = 4;
constexpr std::uint32_t kSessions = 6;        // per worker
constexpr std::uint32_t kTransactions = 400;  // per session
constexpr std::uint32_t kMaxServers = 4;

struct Start {
  std::uint32_t slot;
};
struct Handed {
  ServerId server;
  SessionId session;
};
using Mail = std::variant<Order, Handed, Start>;

class Mailbox {
 public:
  void post(Mail mail) {
    {
      std::lock_guard lock(mutex_);
      mails_.push_back(std::move(mail));
    }
    arrived_.notify_one();
  }
  void stop() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    arrived_.notify_one();
  }
  // False: stopped and empty. No mail within the deadline: an empty list, so that the worker polls.
  bool take(std::deque<Mail>& mails, Time deadline) {
    std::unique_lock lock(mutex_);
    arrived_.wait_until(lock, deadline, [&] { return stopped_ || !mails_.empty(); });
    mails.swap(mails_);
    return !mails.empty() || !stopped_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Mail> mails_;
  bool stopped_ = false;
};

// What all threads share: who has a server, how many connections there are.
struct World {
  Broker broker{1, kWorkers, BrokerLimits{kMaxServers, 2, std::chrono::milliseconds(2)}};
  std::array<PoolId, 2> pools{};
  std::array<Mailbox, kWorkers> boxes;
  std::mutex mutex;
  std::map<ServerId, int> owners;  // worker + 1, or 0 in a mailbox
  std::atomic<std::uint32_t> done{0}, connections{0}, most{0}, faults{0};

  void move(ServerId server, int from, int to) {
    std::lock_guard lock(mutex);
    if (owners[server] != from) ++faults;
    owners[server] = to;
  }
};

class Worker {
 public:
  Worker(World& world, std::uint16_t number) : world_(world), me_(WorkerId{number}), random_(number) {}

  void run() {
    for (std::uint32_t i = 0; i < kSessions; ++i) world_.boxes[number()].post(Start{i});
    std::deque<Mail> mails;
    Time wake = Time::max();
    while (world_.boxes[number()].take(mails, std::min(wake, clock() + std::chrono::seconds(1)))) {
      for (const Mail& mail : mails) std::visit([this](const auto& one) { on(one); }, mail);
      mails.clear();
      wake = std::min(wake, std::exchange(wake_, Time::max()));
      if (clock() < wake) continue;
      world_.broker.poll(clock(), orders_);
      flush();
      wake = std::exchange(wake_, Time::max());
    }
  }

 private:
  static Time clock() { return std::chrono::steady_clock::now(); }
  std::size_t number() const { return static_cast<std::size_t>(me_); }
  int self() const { return static_cast<int>(number()) + 1; }

  void on(const Start& start) {
    const SessionId session{me_, start.slot, 1};
    const PoolId pool = world_.pools[start.slot % 2];
    const StateKey key{start.slot % 3 == 0 ? 1u : 0u, random_() % 3};
    const Acquire answer = world_.broker.acquire(pool, session, key, clock(), orders_);
    if (const auto* use = std::get_if<UseIdle>(&answer))
      transact(use->server, session);
    else if (std::holds_alternative<Refused>(answer))
      ++world_.faults;
    flush();
  }
  void on(const Handed& handed) {
    world_.move(handed.server, 0, self());
    transact(handed.server, handed.session);
  }
  void on(const Order& order) {
    if (const auto* recall = std::get_if<Recall>(&order)) {
      if (mine(recall->server)) release(recall->server, Condition::Clean);
    } else if (const auto* close = std::get_if<CloseIdle>(&order)) {
      if (mine(close->server)) drop(close->server);
    } else if (const auto* open = std::get_if<OpenOne>(&order)) {
      dial(*open);
    }
  }

  bool mine(ServerId server) {
    std::lock_guard lock(world_.mutex);
    const auto at = world_.owners.find(server);
    return at != world_.owners.end() && at->second == self();
  }
  void transact(ServerId server, SessionId session) {
    if (!mine(server)) ++world_.faults;
    const std::uint32_t end = random_() % 100;
    if (end < 5) world_.broker.pin(server);
    release(server, end < 90 ? Condition::Clean : end < 97 ? Condition::NeedsReset : Condition::Broken);
    if (const auto count = ++counts_[session.slot]; count < kTransactions)
      world_.boxes[number()].post(Start{session.slot});
    else if (++world_.done == kWorkers * kSessions)
      for (Mailbox& box : world_.boxes) box.stop();
  }
  void release(ServerId server, Condition condition) {
    decided(server, world_.broker.release(server, me_, condition, random_() % 3, clock(), orders_));
  }
  void decided(ServerId server, const Release& answer) {
    if (const auto* hand = std::get_if<HandTo>(&answer)) {
      world_.move(server, self(), 0);
      world_.boxes[static_cast<std::size_t>(hand->waiter.session.worker)].post(
          Handed{server, hand->waiter.session});
    } else if (std::holds_alternative<Reset>(answer)) {
      flush();
      release(server, Condition::Clean);
    } else if (std::holds_alternative<Close>(answer)) {
      drop(server);
    }
    flush();
  }
  void drop(ServerId server) {
    world_.move(server, self(), -1);
    --world_.connections;
    world_.broker.closed(server, clock(), orders_);
    flush();
  }
  void dial(const OpenOne& open) {
    const std::uint32_t count = ++world_.connections;
    for (std::uint32_t most = world_.most; count > most && !world_.most.compare_exchange_weak(most, count);) {
    }
    if (random_() % 20 == 0) {
      --world_.connections;
      world_.broker.open_failed(open.server, OpenError{}, true, clock(), random_() % 1000, orders_);
      flush();
      return;
    }
    world_.move(open.server, 0, self());
    decided(open.server, world_.broker.opened(open.server, me_, 0, clock(), orders_));
  }
  void flush() {
    if (orders_.wake) wake_ = std::min(wake_, *orders_.wake);
    for (const Order& order : orders_.list) {
      WorkerId to = me_;
      if (const auto* recall = std::get_if<Recall>(&order)) to = recall->from;
      if (const auto* close = std::get_if<CloseIdle>(&order)) to = close->from;
      world_.boxes[static_cast<std::size_t>(to)].post(order);
    }
    orders_.clear();
  }

  World& world_;
  const WorkerId me_;
  std::mt19937 random_;
  Orders orders_;
  Time wake_ = Time::max();
  std::array<std::uint32_t, kSessions> counts_{};
};

// Every session finishes all its transactions, each server has one owner, and there are never more
// connections than the limit, although all workers dial, break, recall and evict at once.
TEST(BrokerThreads, OwnershipAndBoundHoldUnderLoad) {
  World world;
  PoolLimits limits;
  limits.size = 3;
  limits.min_size = 1;
  for (PoolId& pool : world.pools) pool = world.broker.add_pool(limits);
  std::vector<std::thread> threads;
  for (std::uint16_t i = 0; i < kWorkers; ++i) threads.emplace_back([&world, i] { Worker(world, i).run(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(world.done, kWorkers * kSessions);
  EXPECT_EQ(world.faults, 0u);
  EXPECT_LE(world.most, kMaxServers);
  for (const PoolId pool : world.pools)
    EXPECT_EQ(world.broker.counts(pool, std::chrono::steady_clock::now()).waiting, 0u);
  EXPECT_EQ(world.broker.check(std::chrono::steady_clock::now()), "");
}

}  // namespace
}  // namespace sidepool::pool
