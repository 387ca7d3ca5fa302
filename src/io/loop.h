// src/io/loop.h -- one libuv loop: its time, its timers, work put off to the next turn, and a wake-up from
// outside.
#pragma once
#include <uv.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "src/base/clock.h"
#include "src/base/intrusive.h"
#include "src/base/result.h"
#include "src/base/timer_wheel.h"
#include "src/io/handle.h"

namespace sidepool::io {

// Something to do on the next turn of the loop, as a member of the object it is for (owner_of<> finds it).
// Destroying the node takes the work back.
class Deferred {
 public:
  using Callback = void (*)(Deferred&) noexcept;
  explicit Deferred(Callback cb) noexcept : callback_(cb) {}
  bool pending() const noexcept { return link_.linked(); }
  void cancel() noexcept { link_.unlink(); }

 private:
  friend class Loop;
  ListNode link_;
  Callback callback_;
};

// Belongs to the thread that runs it; only wake(), turns() and request_stop() may be called from others,
// which must have finished before the loop is destroyed. Everything that uses the loop (watches, timers,
// deferred work, resolutions) must be gone before it is destroyed: the destructor asserts that no handle is
// left.
class Loop {
 public:
  // Fails when the process is out of file descriptors.
  static Result<std::unique_ptr<Loop>> create();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(), request_stop() or, in between, for ever. May be called again afterwards.
  void run() noexcept;
  // One turn: waits for events if `wait` and nothing is due, handles them. For tests and for the end of a
  // worker.
  void turn(bool wait) noexcept;
  // Makes run() return at the end of this turn.
  void stop() noexcept { uv_stop(&loop_); }
  // stop() from any thread or signal handler.
  void request_stop() noexcept;

  uv_loop_t* uv() noexcept { return &loop_; }
  // Read once a turn; steady_clock's time line, in whole milliseconds.
  Time now() const noexcept { return Time(std::chrono::milliseconds(uv_now(&loop_))); }

  void arm(TimerNode& node, Time deadline) noexcept {
    wheel_.arm(node, deadline);
    timers_moved_ = true;
  }
  void arm_after(TimerNode& node, Duration after) noexcept { arm(node, now() + after); }
  // Calls the node's callback on the next turn, before which the loop looks at its fds but does not sleep.
  // Work put off from inside such a callback runs the turn after, so nobody starves the others. Nothing
  // happens if pending.
  void defer(Deferred& work) noexcept;

  // Any thread: has the callback of on_wake() called soon. Wake-ups coalesce.
  void wake() noexcept { uv_async_send(async_.get()); }
  using WakeCallback = void (*)(void* owner) noexcept;
  void on_wake(void* owner, WakeCallback cb) noexcept { wake_owner_ = owner, wake_cb_ = cb; }

  // Any thread: turns so far, for the liveness check (wake it first; a loop that sleeps makes no turns).
  std::uint64_t turns() const noexcept { return turns_.load(std::memory_order_relaxed); }

 private:
  Loop();
  int init() noexcept;
  void before_poll() noexcept;
  void run_deferred() noexcept;

  uv_loop_t loop_{};
  bool ready_ = false;
  Handle<uv_async_t> async_;
  Handle<uv_timer_t> timer_;
  Handle<uv_prepare_t> prepare_;
  Handle<uv_idle_t> idle_;
  TimerWheel wheel_;
  std::uint64_t timer_at_ = 0;  // uv_now() for which timer_ is set, 0 if it is not
  // Since timer_ was set a node was armed or the wheel turned. A node that was disarmed does not count: then
  // timer_ may fire with nothing to do.
  bool timers_moved_ = false;
  ListNode deferred_;
  void* wake_owner_ = nullptr;
  WakeCallback wake_cb_ = nullptr;
  std::atomic<bool> stop_requested_{false};
  std::atomic<std::uint64_t> turns_{0};
};

}  // namespace sidepool::io
