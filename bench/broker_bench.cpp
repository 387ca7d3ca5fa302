// bench/broker_bench.cpp -- what a decision of the broker costs: per transaction, idle and saturated.
#include <benchmark/benchmark.h>

#include <chrono>
#include <vector>

#include "pool/broker.h"

namespace sidepool::pool {
namespace {

constexpr WorkerId kHere{0};
Time now() { return Time{} + std::chrono::hours(1); }

PoolLimits sized(std::uint32_t size) {
  PoolLimits limits;
  limits.size = size;
  return limits;
}

// A pool with all its servers open, each as its first client left it: out, on one worker.
std::vector<ServerId> fill(Broker& broker, PoolId pool, std::uint32_t size, Orders& orders) {
  std::vector<ServerId> servers;
  for (std::uint32_t i = 0; i < size; ++i) {
    orders.clear();
    broker.acquire(pool, SessionId{kHere, i, 1}, {}, now(), orders);
    servers.push_back(std::get<OpenOne>(orders.list.at(0)).server);
    broker.opened(servers.back(), kHere, 0, now(), orders);
  }
  return servers;
}

// One acquire and one release with idle servers at hand; the argument: servers in the pool.
void BM_IdlePair(benchmark::State& state) {
  Broker broker(0, 1, {});
  Orders orders;
  const auto size = static_cast<std::uint32_t>(state.range(0));
  const PoolId pool = broker.add_pool(sized(size));
  for (const ServerId server : fill(broker, pool, size, orders))
    broker.release(server, kHere, Condition::Clean, static_cast<std::uint64_t>(server), now(), orders);
  std::uint64_t key = 0;
  for (auto _ : state) {
    orders.clear();
    const Acquire answer =
        broker.acquire(pool, SessionId{kHere, 1, 1}, StateKey{0, ++key & 15}, now(), orders);
    benchmark::DoNotOptimize(
        broker.release(std::get<UseIdle>(answer).server, kHere, Condition::Clean, key & 15, now(), orders));
  }
}
BENCHMARK(BM_IdlePair)->Arg(1)->Arg(10)->Arg(1000);

// One release that hands over and one client that queues; the arguments: clients waiting, other pools that
// wait for a slot.
void BM_SaturatedPair(benchmark::State& state) {
  BrokerLimits limits;
  limits.max_servers = 10;
  limits.patience = std::chrono::hours(1);
  Broker broker(0, 1, limits);
  Orders orders;
  const PoolId pool = broker.add_pool(sized(10));
  const std::vector<ServerId> servers = fill(broker, pool, 10, orders);
  for (std::uint32_t i = 0; i < state.range(0); ++i)
    broker.acquire(pool, SessionId{kHere, i, 1}, {}, now(), orders);
  for (std::uint32_t i = 0; i < state.range(1); ++i)
    broker.acquire(broker.add_pool(sized(10)), SessionId{kHere, i, 1}, {}, now(), orders);
  for (auto _ : state) {
    orders.clear();
    benchmark::DoNotOptimize(broker.release(servers[0], kHere, Condition::Clean, 0, now(), orders));
    benchmark::DoNotOptimize(broker.acquire(pool, SessionId{kHere, 1, 1}, {}, now(), orders));
  }
}
BENCHMARK(BM_SaturatedPair)->Args({10, 0})->Args({10000, 0})->Args({10000, 1000});

}  // namespace
}  // namespace sidepool::pool

BENCHMARK_MAIN();
