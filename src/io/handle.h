// src/io/handle.h -- libuv handles as owned values.
#pragma once
#include <uv.h>

#include <utility>

namespace sidepool::io {

// Owns one libuv handle. uv_close() finishes on a later loop turn, so from close() on the memory belongs to
// libuv; the owner may die at once and no callback reaches it any more (callbacks must check `data` for
// null). Used on the loop's thread only.
template <class H>
class Handle {
 public:
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { close(); }

  // Memory for a uv_*_init() call, with `owner` as its data. A handle that is open is closed first.
  H* open(void* owner) {
    close();
    h_ = new H{};
    h_->data = owner;
    return h_;
  }
  H* get() const noexcept { return h_; }
  explicit operator bool() const noexcept { return h_ != nullptr; }
  void close() noexcept {
    H* h = std::exchange(h_, nullptr);
    if (!h) return;
    h->data = nullptr;
    // `type` is set by uv__handle_init(), so it is still 0 if init was never called or failed before that.
    if (h->type == UV_UNKNOWN_HANDLE) {
      delete h;
      return;
    }
    uv_close(reinterpret_cast<uv_handle_t*>(h), [](uv_handle_t* p) { delete reinterpret_cast<H*>(p); });
  }
  // For an init that failed: libuv holds nothing, so the memory goes back at once.
  void discard() noexcept { delete std::exchange(h_, nullptr); }

 private:
  H* h_ = nullptr;
};

}  // namespace sidepool::io
