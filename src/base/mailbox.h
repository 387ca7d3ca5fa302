// src/base/mailbox.h -- messages from many threads to one. Thread-safe; mutex_ guards all members.
#pragma once
#include <mutex>
#include <utility>
#include <vector>

namespace sidepool {

enum class Posted : unsigned char {
  Wake,    // the box was empty: wake the reader, after post() returned and so outside the lock
  Queued,  // the reader has been woken already and will find this one too
  Closed,  // refused: the message was not moved from and still belongs to the caller
};

// T is move-only as a rule: whoever holds the message owns what is in it. Unbounded: every message stands for
// something that is bounded elsewhere (a server, a client, an order).
template <class T>
class Mailbox {
 public:
  [[nodiscard]] Posted post(T&& message) {
    std::lock_guard lock(mutex_);
    if (closed_) return Posted::Closed;
    queue_.push_back(std::move(message));
    return queue_.size() == 1 ? Posted::Wake : Posted::Queued;
  }
  // Takes everything, in order of posting. `into` is cleared first; its memory is used for the next messages,
  // so passing the same vector each time makes a hop free of allocations. Wake-ups coalesce: always handle
  // all.
  void drain(std::vector<T>& into) {
    into.clear();
    std::lock_guard lock(mutex_);
    queue_.swap(into);
  }
  // From now on post() refuses. What is still inside is returned, for the reader to dispose of.
  std::vector<T> close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    return std::exchange(queue_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<T> queue_;
  bool closed_ = false;
};

}  // namespace sidepool
