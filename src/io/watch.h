// src/io/watch.h -- says when an fd is ready, on one loop.
#pragma once
#include <uv.h>

#include <cassert>

#include "src/io/handle.h"

namespace sidepool::io {

// Does not own the fd: that is what lets a connection change its worker. Used on the loop's thread only.
class FdWatch {
 public:
  // `events`: UV_READABLE, UV_WRITABLE and UV_DISCONNECT (the peer sent FIN or went away). All of them are
  // level triggered: who is told must act, or arm without that event, or the loop spins. All three at once
  // also mean "the socket has an error": unread bytes may still be queued and only recv() or SO_ERROR knows
  // the errno; the watch is then disarmed until arm() is called again, and who has not read to that end must
  // do so, or never hears of it. The callback may stop or destroy the watch.
  using Callback = void (*)(void* owner, int events) noexcept;

  // 0 or a libuv error (UV_EEXIST: the number is still watched by someone). Watches nothing until arm().
  int start(uv_loop_t* loop, int fd, void* owner, Callback cb) {
    stop();
    owner_ = owner, cb_ = cb;
    const int rc = uv_poll_init_socket(loop, poll_.open(this), fd);
    if (rc != 0) poll_.discard();
    return rc;
  }
  bool started() const noexcept { return static_cast<bool>(poll_); }
  int armed() const noexcept { return armed_; }

  // Two epoll_ctl calls whenever `events` changes (libuv 1.44 always removes first), none otherwise: so this
  // is for back-pressure, not for each message. REQUIRES: started.
  int arm(int events) {
    assert(started());
    if (events == armed_) return 0;
    const int rc = uv_poll_start(poll_.get(), events, &FdWatch::ready);
    armed_ = rc == 0 ? events : 0;
    return rc;
  }
  // The fd has left epoll when this returns and may be closed or watched elsewhere.
  void stop() noexcept {
    poll_.close();
    armed_ = 0;
  }

 private:
  static void ready(uv_poll_t* p, int status, int events) noexcept {
    auto* w = static_cast<FdWatch*>(p->data);
    if (!w) return;
    if (status < 0) {  // libuv 1.44 reports every socket error as UV_EBADF and stops the watch
      w->armed_ = 0;
      events = UV_READABLE | UV_WRITABLE | UV_DISCONNECT;
    }
    w->cb_(w->owner_, events);
  }

  Handle<uv_poll_t> poll_;
  void* owner_ = nullptr;
  Callback cb_ = nullptr;
  int armed_ = 0;
};

}  // namespace sidepool::io
