// tests/unit/io/listener_test.cpp -- real listeners on loopback and on unix sockets.
#include "src/io/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "src/base/log.h"
#include "tests/support/loops.h"

namespace sidepool::io {
namespace {

namespace fs = std::filesystem;
using test::make_loop;
using test::run_until;

struct Guests {
  std::vector<Fd> fds;
  std::vector<std::string> peers;
  Listener* pause_after_one = nullptr;
  static void accept(void* self, Fd fd, const SocketAddress& peer) noexcept {
    auto* g = static_cast<Guests*>(self);
    g->fds.push_back(std::move(fd));
    g->peers.push_back(peer.text());
    if (g->pause_after_one) g->pause_after_one->pause();
  }
};

// Blocking connect, so the connection is in the backlog when it returns.
Fd visit(const SocketAddress& to) {
  Fd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), to.raw(), to.size()), 0) << errno;
  return fd;
}

class ListenerTest : public testing::Test {
 protected:
  ListenerTest() {
    std::string pattern = (fs::temp_directory_path() / "listenXXXXXX").string();
    dir_ = ::mkdtemp(pattern.data());
  }
  ~ListenerTest() override { fs::remove_all(dir_); }
  std::unique_ptr<Listener> listen(const SocketAddress& a, ListenOptions o = {}) {
    auto l = Listener::open(*loop_, a, o);
    EXPECT_TRUE(l) << (l ? "" : l.error().what);
    return l ? std::move(*l) : nullptr;
  }
  SocketAddress path(const std::string& name) { return *SocketAddress::from_path((dir_ / name).string()); }

  std::unique_ptr<Loop> loop_ = make_loop();
  fs::path dir_;
};

TEST_F(ListenerTest, AcceptsAndNamesThePeer) {
  auto l = listen(*SocketAddress::from_ip("127.0.0.1", 0));
  EXPECT_NE(l->address().port(), 0);
  EXPECT_EQ(l->reach(), Reach::Loopback);
  Guests guests;
  ASSERT_TRUE(l->start(&guests, &Guests::accept));
  std::vector<Fd> visitors;
  for (int i = 0; i < 150; ++i) visitors.push_back(visit(l->address()));  // more than two batches
  run_until(*loop_, [&] { return guests.fds.size() == 150; });
  EXPECT_TRUE(guests.peers[0].starts_with("127.0.0.1:"));
  int nodelay = 0;
  socklen_t size = sizeof nodelay;
  ASSERT_EQ(::getsockopt(guests.fds[0].get(), IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), 0);
  EXPECT_NE(nodelay, 0);
  const int flags = ::fcntl(guests.fds[0].get(), F_GETFL);
  EXPECT_NE(flags & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(guests.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(ListenerTest, KeepAliveHoldsForConnectionsFromThenOn) {
  auto l = listen(*SocketAddress::from_ip("127.0.0.1", 0));
  Guests guests;
  ASSERT_TRUE(l->start(&guests, &Guests::accept));
  const auto idle_of_next = [&] {
    const auto n = guests.fds.size();
    const Fd visitor = visit(l->address());
    run_until(*loop_, [&] { return guests.fds.size() == n + 1; });
    int on = 0, idle = 0;
    socklen_t size = sizeof on;
    EXPECT_EQ(::getsockopt(guests.fds[n].get(), SOL_SOCKET, SO_KEEPALIVE, &on, &size), 0);
    EXPECT_EQ(::getsockopt(guests.fds[n].get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size), 0);
    return on == 0 ? 0 : idle;
  };
  EXPECT_EQ(idle_of_next(), 0);
  l->set_keepalive({.idle = std::chrono::seconds(11)});
  EXPECT_EQ(idle_of_next(), 11);
  l->set_keepalive({.probe = false});
  EXPECT_EQ(idle_of_next(), 0);
}

TEST_F(ListenerTest, ReachIsTheListenersNotThePeers) {
  EXPECT_EQ(listen(*SocketAddress::from_ip("0.0.0.0", 0))->reach(), Reach::Network);
  EXPECT_EQ(listen(path("s"))->reach(), Reach::UnixSocket);
}

TEST_F(ListenerTest, APortThatIsTakenIsAnError) {
  auto l = listen(*SocketAddress::from_ip("127.0.0.1", 0));
  const auto second = Listener::open(*loop_, l->address(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().sys, EADDRINUSE);
  EXPECT_NE(second.error().what.find(l->address().text()), std::string::npos);
}

TEST_F(ListenerTest, TheCallbackMayPause) {
  auto l = listen(*SocketAddress::from_ip("127.0.0.1", 0));
  Guests guests;
  guests.pause_after_one = l.get();
  ASSERT_TRUE(l->start(&guests, &Guests::accept));
  Fd a = visit(l->address()), b = visit(l->address());
  run_until(*loop_, [&] { return guests.fds.size() == 1; });
  loop_->turn(false);
  EXPECT_EQ(guests.fds.size(), 1u);
  guests.pause_after_one = nullptr;
  ASSERT_TRUE(l->start(&guests, &Guests::accept));  // the other one waited in the backlog
  run_until(*loop_, [&] { return guests.fds.size() == 2; });
}

TEST_F(ListenerTest, UnixSocketIsMadeForAllAndRemovedOnClose) {
  const auto where = *SocketAddress::from_path((dir_ / "p:r:i" / ".s.PGSQL.5432").string());
  EXPECT_FALSE(Listener::open(*loop_, where, {}));  // the directory is missing
  auto l = listen(where, {.make_directory = true});
  struct stat st {};
  ASSERT_EQ(::stat(where.host().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0777u);
  Guests guests;
  ASSERT_TRUE(l->start(&guests, &Guests::accept));
  Fd v = visit(where);
  run_until(*loop_, [&] { return guests.fds.size() == 1; });
  EXPECT_EQ(guests.peers[0], "@");
  EXPECT_EQ(peer_process(guests.fds[0].get())->uid, ::getuid());
  l.reset();
  EXPECT_FALSE(fs::exists(where.host()));
  EXPECT_TRUE(fs::exists(dir_ / "p:r:i"));
}

TEST_F(ListenerTest, AParentThatIsMissingIsAnErrorThatNamesTheDirectory) {
  const auto l = Listener::open(*loop_, *SocketAddress::from_path((dir_ / "no" / "such" / "s").string()),
                                {.make_directory = true});
  ASSERT_FALSE(l);
  EXPECT_NE(l.error().what.find((dir_ / "no" / "such").string()), std::string::npos);
}

TEST_F(ListenerTest, ALeftoverIsReplacedALiveOneIsNot) {
  const auto where = path("s");
  {
    Fd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(dead.get(), where.raw(), where.size()), 0);
    ASSERT_EQ(::listen(dead.get(), 1), 0);
  }
  ASSERT_TRUE(fs::exists(where.host()));
  auto l = listen(where);
  const auto second = Listener::open(*loop_, where, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().sys, EADDRINUSE);
  EXPECT_TRUE(fs::exists(where.host()));  // the live one was left alone
}

TEST_F(ListenerTest, AnotherKindOfFileIsNeverRemoved) {
  std::ofstream(dir_ / "s") << "precious";
  EXPECT_FALSE(Listener::open(*loop_, path("s"), {}));
  EXPECT_TRUE(fs::is_regular_file(dir_ / "s"));
}

TEST_F(ListenerTest, ASocketThatSomebodyElsePutThereStays) {
  const auto where = path("s");
  auto l = listen(where);
  fs::remove(where.host());
  Fd other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(other.get(), where.raw(), where.size()), 0);
  l.reset();
  EXPECT_TRUE(fs::exists(where.host()));
}

TEST_F(ListenerTest, OutOfDescriptorsOneIsToldWhyAndTheLoopDoesNotSpin) {
  static const std::string kRefusal = "E: too many open files";
  auto l = listen(*SocketAddress::from_ip("127.0.0.1", 0),
                  {.refusal = {reinterpret_cast<const std::uint8_t*>(kRefusal.data()), kRefusal.size()}});
  Guests guests;
  ASSERT_TRUE(l->start(&guests, &Guests::accept));
  Fd told = visit(l->address());
  Fd waits = visit(l->address());
  // UBSan's first look at a type needs a descriptor (a pipe): what the log line will use is shown to it now.
  const std::array<log::Field, 2> fields{log::Field("listener", "x"),
                                         log::Field("suppressed", std::uint64_t{0})};
  EXPECT_FALSE(log::render_plain(wall_now(), "x", fields).empty());
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{static_cast<rlim_t>(waits.get()) + 1,
                    before.rlim_max};  // no number above the last is left
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::vector<Fd> gaps;
  for (;;) {  // and none below
    Fd filler(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!filler) break;
    gaps.push_back(std::move(filler));
  }
  run_until(*loop_, [&] { return l->turned_away() == 1; });
  const auto turns = loop_->turns();
  run_until(*loop_, [&] { return l->turned_away() == 2; });  // after its rest
  EXPECT_LT(loop_->turns() - turns, 20u);
  EXPECT_TRUE(guests.fds.empty());
  ::setrlimit(RLIMIT_NOFILE, &before);
  gaps.clear();
  std::array<char, 64> text{};
  ASSERT_EQ(::recv(told.get(), text.data(), text.size(), 0), static_cast<ssize_t>(kRefusal.size()));
  EXPECT_EQ(std::string(text.data()), kRefusal);
  Fd later = visit(l->address());
  run_until(*loop_, [&] { return guests.fds.size() == 1; });
}

TEST(ListenRemedy, ByErrno) {
  const auto names = [](int sys, std::string_view what) {
    return listen_remedy(sys).find(what) != std::string_view::npos;
  };
  EXPECT_TRUE(names(EADDRINUSE, "--port"));
  EXPECT_TRUE(names(EADDRNOTAVAIL, "--address"));
  EXPECT_TRUE(names(EACCES, "1023"));
  EXPECT_TRUE(names(ENOENT, "directory"));
  EXPECT_TRUE(names(EEXIST, "Remove"));
  EXPECT_EQ(listen_remedy(EIO), "");
}

}  // namespace
}  // namespace sidepool::io
