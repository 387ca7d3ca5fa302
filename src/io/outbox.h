// src/io/outbox.h -- bytes that a peer did not take yet, in chunks from the worker's pool. One thread.
#pragma once
#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "src/io/io_result.h"

namespace sidepool::io {

// Chunks of 512 B, 4 KiB and 16 KiB. Freed chunks are kept up to `keep_bytes` per size, the rest goes back to
// the heap, so one burst does not hold memory for ever. Must outlive every Outbox that uses it.
class ChunkPool {
 public:
  struct Chunk {
    Chunk* next;
    std::uint16_t begin, end, capacity;
    std::uint8_t size_class;
    std::uint8_t* data() noexcept { return reinterpret_cast<std::uint8_t*>(this + 1); }
    const std::uint8_t* data() const noexcept { return reinterpret_cast<const std::uint8_t*>(this + 1); }
    std::size_t size() const noexcept { return static_cast<std::size_t>(end - begin); }
    std::size_t room() const noexcept { return static_cast<std::size_t>(capacity - end); }
  };

  explicit ChunkPool(std::size_t keep_bytes = 256 * 1024) noexcept : keep_bytes_(keep_bytes) {}
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  ~ChunkPool() {
    assert(lent_ == 0);
    for (Chunk* c : free_)
      while (c) release_memory(std::exchange(c, c->next));
  }

  // The smallest chunk that holds `want` bytes, at most the largest size.
  Chunk* get(std::size_t want) {
    const std::uint8_t k = want <= room_in(0) ? 0 : want <= room_in(1) ? 1 : 2;
    Chunk* c = free_[k];
    if (c) {
      free_[k] = c->next;
      kept_[k] -= kSizes[k];
    } else {
      c = static_cast<Chunk*>(::operator new(kSizes[k]));
    }
    *c = Chunk{nullptr, 0, 0, static_cast<std::uint16_t>(room_in(k)), k};
    ++lent_;
    return c;
  }
  void put(Chunk* c) noexcept {
    const auto k = c->size_class;
    --lent_;
    if (kept_[k] + kSizes[k] > keep_bytes_) return release_memory(c);
    kept_[k] += kSizes[k];
    c->next = free_[k];
    free_[k] = c;
  }
  std::size_t lent() const noexcept { return lent_; }

 private:
  static constexpr std::array<std::size_t, 3> kSizes{512, 4096, 16384};
  static constexpr std::size_t room_in(std::size_t k) noexcept { return kSizes[k] - sizeof(Chunk); }
  static void release_memory(Chunk* c) noexcept { ::operator delete(c); }

  const std::size_t keep_bytes_;
  std::array<Chunk*, 3> free_{};
  std::array<std::size_t, 3> kept_{};
  std::size_t lent_ = 0;
};

// First in, first out. Holds no memory while it is empty. It has no bound of its own: the owner stops reading
// from the other side as soon as the box is not empty, so at most one read more than that is ever kept.
class Outbox {
 public:
  Outbox() noexcept = default;  // of no use before rehome()
  explicit Outbox(ChunkPool& pool) noexcept : pool_(&pool) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  ~Outbox() { clear(); }

  bool empty() const noexcept { return !last_; }

  void append(ConstBytes bytes) {
    while (!bytes.empty()) {
      if (!last_ || last_->room() == 0) {
        ChunkPool::Chunk* c = pool_->get(bytes.size());
        c->next = last_ ? std::exchange(last_->next, c) : c;
        last_ = c;
      }
      const auto n = std::min(bytes.size(), last_->room());
      std::memcpy(last_->data() + last_->end, bytes.data(), n);
      last_->end = static_cast<std::uint16_t>(last_->end + n);
      bytes = bytes.subspan(n);
    }
  }
  // The oldest bytes that lie together; valid until the next call that changes the box. Empty if the box is.
  ConstBytes front() const noexcept {
    if (!last_) return {};
    const auto* first = last_->next;
    return {first->data() + first->begin, first->size()};
  }
  // REQUIRES: there are so many.
  void consume(std::size_t n) noexcept {
    while (last_) {
      auto* first = last_->next;
      if (n < first->size()) {
        first->begin = static_cast<std::uint16_t>(first->begin + n);
        return;
      }
      n -= first->size();
      drop_first();
    }
    assert(n == 0);
  }
  void clear() noexcept {
    while (last_) drop_first();
  }

  // Writes to `stream` until the box is empty and the stream has nothing left inside (Done), or must wait, or
  // fails. `n` of the result is what left the box.
  template <class Stream>
  IoResult flush(Stream& stream) {
    std::size_t total = 0;
    for (;;) {
      const auto r = stream.write(front());
      consume(r.n);
      total += r.n;
      if (r.status != Io::Done || empty()) return {r.status, total};
    }
  }
  // A server that changes its worker takes memory from the new one's pool. REQUIRES: empty.
  void rehome(ChunkPool& pool) noexcept {
    assert(empty());
    pool_ = &pool;
  }

 private:
  void drop_first() noexcept {
    auto* first = last_->next;
    if (first == last_) {
      last_ = nullptr;
    } else {
      last_->next = first->next;
    }
    pool_->put(first);
  }

  ChunkPool* pool_ = nullptr;
  ChunkPool::Chunk* last_ = nullptr;  // whose `next` is the first one: a ring
};

}  // namespace sidepool::io
