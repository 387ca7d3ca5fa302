// src/worker/failed_peers.cpp -- see failed_peers.h.
#include "src/worker/failed_peers.h"

#include <netinet/in.h>

#include <cstring>

namespace sidepool::worker {

namespace {

constexpr std::uint64_t kV4 = std::uint64_t{1} << 32;

// An IPv4 address, or the network half of an IPv6 one, of which a single host has as many as it likes. 0:
// neither.
std::uint64_t key_of(const io::SocketAddress& peer) {
  std::uint64_t key = 0;
  if (peer.family() == AF_INET) {
    key = kV4 | reinterpret_cast<const sockaddr_in*>(peer.raw())->sin_addr.s_addr;
  } else if (peer.family() == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6*>(peer.raw())->sin6_addr;
    if (!IN6_IS_ADDR_V4MAPPED(&address)) {
      std::memcpy(&key, address.s6_addr, sizeof key);
    } else {
      std::uint32_t v4 = 0;
      std::memcpy(&v4, address.s6_addr + 12, sizeof v4);
      key = kV4 | v4;
    }
  }
  return key;
}

}  // namespace

void FailedPeers::failed(const io::SocketAddress& peer, Time now) {
  const auto key = key_of(peer);
  const std::lock_guard lock(mutex_);
  if (key != 0) table_[place(key)] = {key, now};
}

void FailedPeers::succeeded(const io::SocketAddress& peer) {
  const auto key = key_of(peer);
  const std::lock_guard lock(mutex_);
  auto& entry = table_[place(key)];
  if (entry.key == key) entry = {};
}

bool FailedPeers::recently(const io::SocketAddress& peer, Time now) const {
  const auto key = key_of(peer);
  const std::lock_guard lock(mutex_);
  const auto& entry = table_[place(key)];
  return key != 0 && entry.key == key && now - entry.at < kMemory;
}

}  // namespace sidepool::worker
