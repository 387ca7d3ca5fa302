// tests/support/loops.h -- running a loop in a test until something has happened.
#pragma once
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <utility>

#include "src/io/fd.h"
#include "src/io/loop.h"

namespace sidepool::test {

inline std::unique_ptr<io::Loop> make_loop() {
  auto loop = io::Loop::create();
  EXPECT_TRUE(loop);
  return std::move(*loop);
}

// Turns the loop until `done()`. A test that waits for something that never comes fails after 30 s.
template <class Done>
void run_until(io::Loop& loop, Done done) {
  struct Guard {
    TimerNode timer{[](TimerNode& n) noexcept { owner_of<&Guard::timer>(n).expired = true; }};
    bool expired = false;
  } guard;
  loop.arm(guard.timer, steady_now() + std::chrono::seconds(30));
  while (!done()) {
    ASSERT_FALSE(guard.expired) << "what the test waits for did not happen";
    loop.turn(true);
  }
}

// Both ends are non-blocking.
inline std::pair<io::Fd, io::Fd> socket_pair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {io::Fd(fds[0]), io::Fd(fds[1])};
}

}  // namespace sidepool::test
