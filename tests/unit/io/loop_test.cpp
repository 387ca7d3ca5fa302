// tests/unit/io/loop_test.cpp -- timers, deferred work, wake-ups; and watches on real sockets.
#include "src/io/loop.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <array>
#include <thread>

#include "src/base/mailbox.h"
#include "src/io/watch.h"
#include "tests/support/loops.h"

namespace sidepool::io {
namespace {

using std::chrono::milliseconds;
using test::make_loop;
using test::run_until;
using test::socket_pair;

struct Timer {
  TimerNode node{[](TimerNode& n) noexcept { ++owner_of<&Timer::node>(n).fired; }};
  int fired = 0;
};

TEST(Loop, TimersFireInOrderAndNotEarly) {
  auto loop = make_loop();
  Timer late, soon;
  const Time began = steady_now();
  loop->arm(late.node, began + milliseconds(60));
  loop->arm(soon.node, began + milliseconds(20));
  run_until(*loop, [&] { return soon.fired == 1; });
  // The loop's clock may lag behind steady_clock by the resolution of the kernel's coarse clock (4 ms at
  // most).
  EXPECT_GE(steady_now() - began, milliseconds(15));
  EXPECT_EQ(late.fired, 0);
  run_until(*loop, [&] { return late.fired == 1; });
  EXPECT_GE(steady_now() - began, milliseconds(55));
}

TEST(Loop, ATimerThatIsArmedWhileTheLoopSleepsLongerIsNotMissed) {
  auto loop = make_loop();
  Timer far, near;
  loop->arm_after(far.node, std::chrono::hours(1));
  loop->turn(false);
  loop->arm_after(near.node, milliseconds(10));
  run_until(*loop, [&] { return near.fired == 1; });
}

struct Work {
  Work(Loop& l, int again) : loop(l), left(again) {}
  Deferred node{[](Deferred& d) noexcept { owner_of<&Work::node>(d).run(); }};
  Loop& loop;
  int left;
  int runs = 0;
  void run() noexcept {
    ++runs;
    if (left-- > 0) loop.defer(node);
  }
};

TEST(Loop, DeferredWorkKeepsTheLoopAwakeAndStarvesNobody) {
  auto loop = make_loop();
  auto [a, b] = socket_pair();
  struct Reader {
    Work* work;
    int runs_when_ready = -1;
  };
  Work work(*loop, 1000);
  Reader reader{&work};
  FdWatch watch;
  ASSERT_EQ(watch.start(loop->uv(), a.get(), &reader,
                        [](void* r, int) noexcept {
                          auto* me = static_cast<Reader*>(r);
                          if (me->runs_when_ready < 0) me->runs_when_ready = me->work->runs;
                        }),
            0);
  watch.arm(UV_READABLE);
  ASSERT_EQ(::send(b.get(), "x", 1, 0), 1);
  loop->defer(work.node);
  loop->defer(work.node);  // already pending: nothing
  run_until(*loop, [&] { return work.runs == 1001; });
  EXPECT_GE(reader.runs_when_ready, 0);
  EXPECT_LE(reader.runs_when_ready, 2);  // the socket was served at once, not after the work
  watch.stop();
}

TEST(Loop, DestroyedWorkIsTakenBack) {
  auto loop = make_loop();
  {
    Work gone(*loop, 0);
    loop->defer(gone.node);
  }
  Work stays(*loop, 0);
  loop->defer(stays.node);
  run_until(*loop, [&] { return stays.runs == 1; });
}

TEST(Loop, WakesFromAnotherThreadAndNoMessageIsLost) {
  auto loop = make_loop();
  struct Inbox {
    Mailbox<int> box;
    std::vector<int> got, batch;
  } inbox;
  loop->on_wake(&inbox, [](void* p) noexcept {
    auto* in = static_cast<Inbox*>(p);
    in->box.drain(in->batch);
    in->got.insert(in->got.end(), in->batch.begin(), in->batch.end());
  });
  std::thread sender([&] {
    for (int i = 0; i < 20000; ++i)
      if (inbox.box.post(std::move(i)) == Posted::Wake) loop->wake();
  });
  run_until(*loop, [&] { return inbox.got.size() == 20000; });
  sender.join();
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(inbox.got[static_cast<std::size_t>(i)], i);
}

TEST(Loop, StopsOnRequestAndCountsTurns) {
  auto loop = make_loop();
  std::thread runner([&] { loop->run(); });
  const auto before = loop->turns();
  while (loop->turns() == before) {
    loop->wake();
    std::this_thread::yield();
  }
  loop->request_stop();
  runner.join();
}

// A connected TCP pair on loopback: only TCP has resets.
std::pair<Fd, Fd> tcp_pair() {
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET, a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  EXPECT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
  EXPECT_EQ(::listen(listener.get(), 1), 0);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&a), &size);
  Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
  return {Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)), std::move(client)};
}

void reset(Fd& fd) {
  const linger now{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd.reset();
}

struct Events {
  int all = 0, calls = 0;
  static void on(void* e, int events) noexcept {
    static_cast<Events*>(e)->all |= events;
    ++static_cast<Events*>(e)->calls;
  }
};

TEST(FdWatch, AfterAResetTheUnreadBytesAreStillThere) {
  auto loop = make_loop();
  auto [mine, peer] = tcp_pair();
  ASSERT_EQ(::send(peer.get(), "hello", 5, 0), 5);
  reset(peer);
  Events events;
  FdWatch watch;
  ASSERT_EQ(watch.start(loop->uv(), mine.get(), &events, &Events::on), 0);
  ASSERT_EQ(watch.arm(UV_READABLE), 0);
  run_until(*loop, [&] { return (events.all & UV_DISCONNECT) != 0; });
  EXPECT_EQ(events.all, UV_READABLE | UV_WRITABLE | UV_DISCONNECT);
  EXPECT_EQ(watch.armed(), 0);  // an error disarms
  std::array<char, 16> b;
  EXPECT_EQ(::recv(mine.get(), b.data(), b.size(), 0), 5);
  EXPECT_EQ(::recv(mine.get(), b.data(), b.size(), 0), -1);
  EXPECT_EQ(errno, ECONNRESET);
  watch.stop();
}

TEST(FdWatch, AHangUpIsSeenWhileReadingIsPaused) {
  auto loop = make_loop();
  auto [mine, peer] = socket_pair();
  Events events;
  FdWatch watch;
  ASSERT_EQ(watch.start(loop->uv(), mine.get(), &events, &Events::on), 0);
  watch.arm(UV_DISCONNECT);
  ASSERT_EQ(::send(peer.get(), "data", 4, 0), 4);
  loop->turn(false);
  EXPECT_EQ(events.calls, 0);  // bytes alone do not disturb who paused
  peer.reset();
  run_until(*loop, [&] { return events.calls > 0; });
  EXPECT_NE(events.all & UV_DISCONNECT, 0);
  watch.stop();
}

TEST(FdWatch, TheFdMovesFromLoopToLoop) {
  auto one = make_loop(), two = make_loop();
  auto [mine, peer] = socket_pair();
  Events events;
  FdWatch watch;
  for (io::Loop* loop : {one.get(), two.get(), one.get()}) {
    events = {};
    ASSERT_EQ(watch.start(loop->uv(), mine.get(), &events, &Events::on), 0);
    watch.arm(UV_READABLE);
    ASSERT_EQ(::send(peer.get(), "x", 1, 0), 1);
    run_until(*loop, [&] { return events.calls > 0; });
    char c = 0;
    ASSERT_EQ(::recv(mine.get(), &c, 1, 0), 1);
    watch.stop();
  }
}

TEST(FdWatch, TwoWatchesOnOneNumberAreRefused) {
  auto loop = make_loop();
  auto [mine, peer] = socket_pair();
  Events events;
  FdWatch first, second;
  ASSERT_EQ(first.start(loop->uv(), mine.get(), &events, &Events::on), 0);
  first.arm(UV_READABLE);
  EXPECT_EQ(second.start(loop->uv(), mine.get(), &events, &Events::on), UV_EEXIST);
  EXPECT_FALSE(second.started());
  first.stop();
  EXPECT_EQ(second.start(loop->uv(), mine.get(), &events, &Events::on), 0);
  second.stop();
}

TEST(FdWatch, TheCallbackMayDestroyTheWatch) {
  auto loop = make_loop();
  auto [mine, peer] = socket_pair();
  struct Owner {
    std::unique_ptr<FdWatch> watch = std::make_unique<FdWatch>();
    bool called = false;
  } owner;
  ASSERT_EQ(owner.watch->start(loop->uv(), mine.get(), &owner,
                               [](void* p, int) noexcept {
                                 auto* o = static_cast<Owner*>(p);
                                 o->called = true;
                                 o->watch.reset();
                               }),
            0);
  owner.watch->arm(UV_WRITABLE);
  run_until(*loop, [&] { return owner.called; });
}

}  // namespace
}  // namespace sidepool::io
