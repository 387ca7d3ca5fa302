// tests/unit/io/socket_test.cpp -- addresses as text, and dialling.
#include "src/io/socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "tests/support/loops.h"

namespace sidepool::io {
namespace {

TEST(SocketAddress, Text) {
  EXPECT_EQ(SocketAddress::from_ip("127.0.0.1", 5432)->text(), "127.0.0.1:5432");
  EXPECT_EQ(SocketAddress::from_ip("::1", 5432)->text(), "[::1]:5432");
  EXPECT_EQ(SocketAddress::from_ip("::ffff:10.0.0.1", 1)->text(), "10.0.0.1:1");
  EXPECT_EQ(SocketAddress::from_ip("::ffff:10.0.0.1", 1)->host(), "10.0.0.1");
  EXPECT_EQ(SocketAddress::from_path("/tmp/x/.s.PGSQL.5432")->text(), "/tmp/x/.s.PGSQL.5432");
  EXPECT_EQ(SocketAddress::from_path("@name")->text(), "@name");
  EXPECT_EQ(SocketAddress::from_ip("10.1.2.3", 65535)->port(), 65535);
}

TEST(SocketAddress, WhatIsNotAnAddress) {
  for (const char* bad :
       {"", "localhost", "1.2.3", "1.2.3.4.5", "::g", "1.2.3.4 ", "fe80::1%no-such-interface"})
    EXPECT_FALSE(SocketAddress::from_ip(bad, 1)) << bad;
  EXPECT_FALSE(SocketAddress::from_ip(std::string_view("1.2.3.4\0", 8), 1));
  EXPECT_FALSE(SocketAddress::from_path(""));
  EXPECT_FALSE(SocketAddress::from_path(std::string_view("/a\0b", 4)));
}

TEST(SocketAddress, APathThatIsTooLongIsNamedWithTheLimit) {
  const std::string fits = "/" + std::string(106, 'a'), too_long = "/" + std::string(107, 'a');
  EXPECT_EQ(SocketAddress::from_path(fits)->host(), fits);
  const auto refused = SocketAddress::from_path(too_long);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find(too_long), std::string::npos);
  EXPECT_NE(refused.error().what.find("107"), std::string::npos);
}

TEST(SocketAddress, Loopback) {
  for (const char* yes : {"127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1"})
    EXPECT_TRUE(SocketAddress::from_ip(yes, 1)->is_loopback()) << yes;
  for (const char* no : {"0.0.0.0", "::", "128.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1"})
    EXPECT_FALSE(SocketAddress::from_ip(no, 1)->is_loopback()) << no;
  EXPECT_FALSE(SocketAddress::from_path("/tmp/x")->is_loopback());
}

TEST(Dial, ARefusalIsToldBySocketErrorOrAtOnce) {
  // A port that was free a moment ago: bound without listen(), so nobody else can take it.
  Fd holder(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  auto a = *SocketAddress::from_ip("127.0.0.1", 0);
  ASSERT_EQ(::bind(holder.get(), a.raw(), a.size()), 0);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(holder.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  a = SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&bound), size);
  auto dialled = dial(a);
  if (!dialled) {
    EXPECT_EQ(dialled.error().reason, "refused");
    return;
  }
  ASSERT_FALSE(dialled->connected);
  pollfd p{dialled->fd.get(), POLLOUT, 0};
  ASSERT_EQ(::poll(&p, 1, 10000), 1);
  EXPECT_EQ(socket_error(dialled->fd.get()), ECONNREFUSED);
}

TEST(Dial, AMissingUnixSocketIsToldAtOnceWithItsPath) {
  const auto dialled = dial(*SocketAddress::from_path("/nonexistent/.s.PGSQL.5432"));
  ASSERT_FALSE(dialled);
  EXPECT_EQ(dialled.error().sys, ENOENT);
  EXPECT_EQ(dialled.error().reason, "no_file");
  EXPECT_NE(dialled.error().what.find("/nonexistent/.s.PGSQL.5432"), std::string::npos);
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd, level, name, &value, &size), 0);
  return value;
}

TEST(Tune, SetsWhatIsAskedForAndLeavesTheRest) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  const auto fresh = [] { return Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); };
  const Fd untouched = fresh();
  const auto usual = [&untouched](int name) { return option(untouched.get(), IPPROTO_TCP, name); };

  const Fd plain = fresh();
  tune(plain.get(), nullptr);
  EXPECT_EQ(option(plain.get(), IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(option(plain.get(), SOL_SOCKET, SO_KEEPALIVE), 0);

  const Fd all = fresh();
  const Keepalive every{true, seconds(7), seconds(3), 2, milliseconds(1234)};
  tune(all.get(), &every);
  EXPECT_EQ(option(all.get(), SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(option(all.get(), IPPROTO_TCP, TCP_KEEPIDLE), 7);
  EXPECT_EQ(option(all.get(), IPPROTO_TCP, TCP_KEEPINTVL), 3);
  EXPECT_EQ(option(all.get(), IPPROTO_TCP, TCP_KEEPCNT), 2);
  EXPECT_EQ(option(all.get(), IPPROTO_TCP, TCP_USER_TIMEOUT), 1234);

  const Fd zeros = fresh();
  const Keepalive kernels{true, seconds(0), seconds(0), 0, milliseconds(0)};
  tune(zeros.get(), &kernels);
  EXPECT_EQ(option(zeros.get(), SOL_SOCKET, SO_KEEPALIVE), 1);
  for (const int name : {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT}) {
    EXPECT_EQ(option(zeros.get(), IPPROTO_TCP, name), usual(name)) << name;
  }

  const Fd off = fresh();
  const Keepalive none{false, seconds(7), seconds(3), 2, milliseconds(99)};
  tune(off.get(), &none);
  EXPECT_EQ(option(off.get(), SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(option(off.get(), IPPROTO_TCP, TCP_KEEPIDLE), usual(TCP_KEEPIDLE));
  EXPECT_EQ(option(off.get(), IPPROTO_TCP, TCP_USER_TIMEOUT), 99) << "a limit of its own";
}

TEST(PeerProcess, IsUsOnASocketPairAndUnknownOnTcp) {
  auto [a, b] = test::socket_pair();
  const auto who = peer_process(a.get());
  ASSERT_TRUE(who);
  EXPECT_EQ(who->uid, ::getuid());
  EXPECT_EQ(who->pid, ::getpid());
  Fd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(peer_process(tcp.get()));
}

}  // namespace
}  // namespace sidepool::io
