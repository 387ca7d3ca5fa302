// src/metrics/counters.h -- what a worker counts while it works: plain numbers, no lock, no label.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace sidepool::metrics {

// Written by one thread, read by any. A load and a store, because an atomic addition would cost ten times as
// much and there is nobody to race with.
class Count {
 public:
  void add(std::uint64_t n = 1) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// As Count, for what also goes down. Each thread has a Level of its own; their sum is never negative when all
// is quiet, while a single one may be (a server opened by one worker and closed by another).
class Level {
 public:
  void up(std::int64_t n = 1) noexcept { value_.store(get() + n, std::memory_order_relaxed); }
  void down(std::int64_t n = 1) noexcept { up(-n); }
  std::int64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// A histogram of durations. Bucket i holds what took at most 2^(kFirst + i) microseconds and more than the
// bucket before; what took longer than the last bound is in the count only.
struct Distribution {
  static constexpr unsigned kFirst = 5;        // 32 us: below it the clock's own cost shows
  static constexpr std::size_t kBuckets = 21;  // up to 2^25 us, 33.6 s
  static constexpr double bound_seconds(std::size_t bucket) noexcept {
    return static_cast<double>(std::uint64_t{1} << (kFirst + bucket)) / 1e6;
  }

  std::array<std::uint64_t, kBuckets> buckets{};  // not cumulative
  std::uint64_t count = 0;
  std::uint64_t nanoseconds = 0;

  Distribution& operator+=(const Distribution& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets[i] += other.buckets[i];
    count += other.count;
    nanoseconds += other.nanoseconds;
    return *this;
  }
};

// Written by one thread, read by any; see Distribution. A reader may see an observation in its bucket before
// it is in the count, so it takes the larger of the count and the buckets' sum.
class Latency {
 public:
  void observe(std::chrono::nanoseconds took) noexcept {
    const auto nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0));
    const auto microseconds =
        nanoseconds / 1000 + (nanoseconds % 1000 != 0);  // rounded up: bounds are inclusive
    const unsigned exponent = microseconds <= 1 ? 0 : static_cast<unsigned>(std::bit_width(microseconds - 1));
    const std::size_t bucket = exponent <= Distribution::kFirst ? 0 : exponent - Distribution::kFirst;
    if (bucket < Distribution::kBuckets) buckets_[bucket].add();
    nanoseconds_.add(nanoseconds);
    count_.add();
  }

  Distribution read() const noexcept {
    Distribution d;
    std::uint64_t in_buckets = 0;
    for (std::size_t i = 0; i < Distribution::kBuckets; ++i) in_buckets += d.buckets[i] = buckets_[i].get();
    d.count = std::max(count_.get(), in_buckets);
    d.nanoseconds = nanoseconds_.get();
    return d;
  }

 private:
  std::array<Count, Distribution::kBuckets> buckets_;
  Count count_, nanoseconds_;
};

// Counts by a reason that is a label: for rare events only, any thread. A reason must be a word of our own
// source (an error's `reason`, a pin's), never text of a peer; still at most kMost different ones are kept,
// the rest is counted as "other", and letters outside [a-z0-9_] become '_'.
class ReasonCounts {
 public:
  static constexpr std::size_t kMost = 32;
  static constexpr std::size_t kLongest = 48;

  void add(std::string_view reason, std::uint64_t n = 1);
  std::map<std::string, std::uint64_t> read() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t, std::less<>> counts_;
};

// What one worker counts for one pool. Written by that worker only, each block on cache lines of its own.
struct alignas(64) PoolCounters {
  Level clients_idle, clients_waiting,
      clients_active;  // logged in, by state; a pinned client is idle or active

  Latency wait;         // from the first byte of a request without a server to the grant of one
  Latency transaction;  // from the grant to the ReadyForQuery after which the server is free
  Latency query;        // from a Query or Sync to its ReadyForQuery
  Count queries;        // Query, FunctionCall and Sync messages answered
  Count transactions;
  Count from_clients, to_clients, from_servers, to_servers;  // bytes of the protocol, without TLS

  Count server_logins;  // servers opened and logged in
  Count resets;         // clean-ups between two clients
  Count replays;        // a client's settings sent to another server
  Count prepared;       // Parse messages of clients
  Count reparsed;       // Parse messages of our own, where a server lacked the statement
  Count cancels;        // cancel requests that matched a client
  Count handovers;      // servers that came from another worker

  ReasonCounts errors;          // errors that sidepool itself gave to a client, by kind
  ReasonCounts login_failures;  // servers of this pool that could not be opened
  ReasonCounts pins;            // clients that began to keep their server, by reason
};

}  // namespace sidepool::metrics
