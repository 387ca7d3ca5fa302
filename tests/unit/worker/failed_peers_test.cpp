// tests/unit/worker/failed_peers_test.cpp -- who waits behind others, and for how long.
#include "src/worker/failed_peers.h"

#include <gtest/gtest.h>

namespace sidepool::worker {
namespace {

using std::chrono::seconds;

io::SocketAddress from(const char* ip) { return *io::SocketAddress::from_ip(ip, 1234); }
constexpr Time kNow{seconds(5)};

TEST(FailedPeers, AreRememberedForAMinuteOrUntilTheySucceed) {
  FailedPeers peers;
  EXPECT_FALSE(peers.recently(from("192.0.2.1"), kNow));
  peers.failed(from("192.0.2.1"), kNow);
  EXPECT_TRUE(peers.recently(from("192.0.2.1"), kNow + seconds(59)));
  EXPECT_FALSE(peers.recently(from("192.0.2.1"), kNow + seconds(60)));
  EXPECT_FALSE(peers.recently(from("192.0.2.2"), kNow));
  peers.succeeded(from("192.0.2.2"));
  EXPECT_TRUE(peers.recently(from("::ffff:192.0.2.1"), kNow));
  peers.succeeded(from("192.0.2.1"));
  EXPECT_FALSE(peers.recently(from("192.0.2.1"), kNow));
}

TEST(FailedPeers, Ipv6NeighboursAreOne) {
  FailedPeers peers;
  peers.failed(from("2001:db8:1:2::1"), kNow);
  EXPECT_TRUE(peers.recently(from("2001:db8:1:2:3::4"), kNow));
  EXPECT_FALSE(peers.recently(from("2001:db8:1:3::1"), kNow));
}

TEST(FailedPeers, UnixSocketsAreNever) {
  FailedPeers peers;
  const auto path = *io::SocketAddress::from_path("/tmp/x");
  peers.failed(path, kNow);
  EXPECT_FALSE(peers.recently(path, kNow));
  EXPECT_FALSE(peers.recently(io::SocketAddress{}, kNow));
}

}  // namespace
}  // namespace sidepool::worker
