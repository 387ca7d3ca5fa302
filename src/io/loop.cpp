// src/io/loop.cpp -- the loop's own handles: async (wake-up), timer (wheel), prepare (sets the timer), idle
// (deferred work).
#include "src/io/loop.h"

#include <cassert>
#include <cstdlib>
#include <utility>

namespace sidepool::io {

Loop::Loop() : wheel_(Time(std::chrono::milliseconds(uv_hrtime() / 1000000))) {}

Result<std::unique_ptr<Loop>> Loop::create() {
  std::unique_ptr<Loop> loop(new Loop);
  if (const int rc = loop->init(); rc != 0)
    return fail(Errc::Io, std::string("cannot create an event loop: ") + uv_strerror(rc), -rc);
  return loop;
}

int Loop::init() noexcept {
  if (const int rc = uv_loop_init(&loop_); rc != 0) return rc;
  ready_ = true;
  const int rc = uv_async_init(&loop_, async_.open(this), [](uv_async_t* h) {
    auto* self = static_cast<Loop*>(h->data);
    if (!self) return;
    if (self->stop_requested_.exchange(false, std::memory_order_acquire)) self->stop();
    if (self->wake_cb_) self->wake_cb_(self->wake_owner_);
  });
  if (rc != 0) {
    async_.discard();
    return rc;
  }
  uv_timer_init(&loop_, timer_.open(this));
  uv_idle_init(&loop_, idle_.open(this));
  uv_prepare_init(&loop_, prepare_.open(this));
  uv_prepare_start(prepare_.get(), [](uv_prepare_t* h) {
    if (h->data) static_cast<Loop*>(h->data)->before_poll();
  });
  return 0;
}

Loop::~Loop() {
  if (!ready_) return;
  assert(!deferred_.linked());
  async_.close(), timer_.close(), prepare_.close(), idle_.close();
  // Closing takes one turn; handles that somebody left open would make the loop wait, so it is never asked
  // to.
  for (int i = 0; i < 8 && uv_loop_alive(&loop_); ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  [[maybe_unused]] const int rc = uv_loop_close(&loop_);
  assert(rc == 0 && "a handle outlived its loop");
}

void Loop::run() noexcept { uv_run(&loop_, UV_RUN_DEFAULT); }

void Loop::turn(bool wait) noexcept { uv_run(&loop_, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT); }

void Loop::request_stop() noexcept {
  stop_requested_.store(true, std::memory_order_release);
  wake();
}

void Loop::defer(Deferred& work) noexcept {
  if (work.pending()) return;
  work.link_.link_before(deferred_);
  // An active idle handle is what keeps libuv from sleeping in epoll_wait.
  uv_idle_start(idle_.get(), [](uv_idle_t* h) {
    if (h->data) static_cast<Loop*>(h->data)->run_deferred();
  });
}

void Loop::run_deferred() noexcept {
  ListNode batch;
  batch.take_all(deferred_);
  while (batch.linked()) {
    auto& work = owner_of<&Deferred::link_>(*batch.next());
    work.cancel();
    work.callback_(work);
  }
  if (!deferred_.linked()) uv_idle_stop(idle_.get());
}

void Loop::before_poll() noexcept {
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (!std::exchange(timers_moved_, false)) return;
  const auto next = wheel_.next();
  if (!next) {
    if (timer_at_ != 0) uv_timer_stop(timer_.get());
    timer_at_ = 0;
    return;
  }
  const auto since_epoch = std::chrono::ceil<std::chrono::milliseconds>(next->time_since_epoch()).count();
  const auto at = static_cast<std::uint64_t>(since_epoch);
  if (at == timer_at_ && uv_is_active(reinterpret_cast<uv_handle_t*>(timer_.get()))) return;
  timer_at_ = at;
  const auto now = uv_now(&loop_);
  uv_timer_start(
      timer_.get(),
      [](uv_timer_t* h) {
        auto* self = static_cast<Loop*>(h->data);
        if (!self) return;
        self->timer_at_ = 0;
        self->timers_moved_ = true;
        self->wheel_.advance(self->now());
      },
      at > now ? at - now : 0, 0);
}

}  // namespace sidepool::io
