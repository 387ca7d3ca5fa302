// src/worker/failed_peers.h -- from where logins were refused a moment ago.
#pragma once
#include <array>
#include <cstdint>
#include <mutex>

#include "src/base/clock.h"
#include "src/io/socket.h"

namespace sidepool::worker {

// Only orders waiting logins (pool::LoginRank), so it may be coarse: IPv6 neighbours are one peer, and peers
// that fall on the same place of the table forget each other. Thread-safe.
class FailedPeers {
 public:
  void failed(const io::SocketAddress& peer, Time now);
  void succeeded(const io::SocketAddress& peer);
  // Never for unix sockets, which all look alike.
  bool recently(const io::SocketAddress& peer, Time now) const;

 private:
  static constexpr Duration kMemory = std::chrono::seconds(60);
  struct Entry {
    std::uint64_t key = 0;  // 0: none
    Time at{};
  };
  std::size_t place(std::uint64_t key) const { return key % table_.size(); }

  mutable std::mutex mutex_;
  std::array<Entry, 509> table_{};  // guarded by mutex_; a prime, so that networks spread
};

}  // namespace sidepool::worker
