// src/worker/pool_entry.h -- what all workers share of one pool, and who holds it.
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "pool/ids.h"
#include "pool/settings.h"
#include "src/metrics/registry.h"
#include "src/worker/remembered.h"
#include "src/worker/startup_sets.h"

namespace sidepool::worker {

class PoolRef;
class Upstream;

// The servers of one (upstream, database, user). Made after the first successful login. Its upstream keeps it
// until another pool needs the room (max_pools) and nobody else holds it: no client, login, server or opener.
class PoolEntry {
 public:
  PoolEntry(Upstream& upstream, std::string database, std::string user);

  Upstream& upstream;
  const std::string database, user;
  pool::PoolId id{};
  metrics::PoolMetrics* metrics = nullptr;
  Remembered remembered;
  StartupSets startups;

  // What the servers report after login. One object for equal sets, so that comparing pointers nearly always
  // answers. Any thread.
  pool::Settings reported() const;
  // The canonical object for what a new server reports; becomes reported().
  pool::Settings note_reported(pool::SettingSet values);

 private:
  friend class PoolRef;
  std::atomic<std::uint32_t> holders_{0};
  mutable std::mutex mutex_;
  pool::Settings reported_;
};

// One holder of a pool; the last one deletes it. As large as a pointer, which std::shared_ptr is not: every
// client has one. Copies are independent of each other; any thread.
class PoolRef {
 public:
  PoolRef() = default;
  explicit PoolRef(PoolEntry* entry) noexcept : entry_(entry) {
    if (entry_) entry_->holders_.fetch_add(1, std::memory_order_relaxed);
  }
  PoolRef(const PoolRef& other) noexcept : PoolRef(other.entry_) {}
  PoolRef(PoolRef&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  PoolRef& operator=(PoolRef other) noexcept {
    std::swap(entry_, other.entry_);
    return *this;
  }
  ~PoolRef() {
    if (entry_ && entry_->holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete entry_;
  }

  explicit operator bool() const noexcept { return entry_ != nullptr; }
  PoolEntry* operator->() const noexcept { return entry_; }
  PoolEntry& operator*() const noexcept { return *entry_; }
  PoolEntry* get() const noexcept { return entry_; }
  // Whether this is the only holder. It stays so only while nobody can copy this one.
  bool alone() const noexcept { return entry_ && entry_->holders_.load(std::memory_order_acquire) == 1; }

 private:
  PoolEntry* entry_ = nullptr;
};

}  // namespace sidepool::worker
