// src/base/slab.h -- objects at stable addresses, found again by slot and generation. One thread.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace sidepool {

// Slots are small numbers and used again; the generation of a slot changes with every use, so a stale
// (slot, generation) finds nothing instead of a stranger. Memory of freed slots is kept for reuse.
template <class T, std::uint32_t kChunk = 64>
class Slab {
 public:
  struct Key {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;  // 0 is never given out
    friend bool operator==(const Key&, const Key&) = default;
  };
  explicit Slab(std::uint32_t max_slots = 0x7fffffff) noexcept : max_(max_slots) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() {
    for_each([this](Key k, T&) { erase(k); });
  }

  // Constructs a T from (Key, args...) so that it knows its own name. Null when max_slots are in use.
  template <class... Args>
  T* emplace(Args&&... args) {
    if (free_.empty() && !grow()) return nullptr;
    const std::uint32_t slot = free_.back();
    Entry& e = at(slot);
    T* t = ::new (static_cast<void*>(e.memory)) T(Key{slot, e.generation}, std::forward<Args>(args)...);
    free_.pop_back();
    e.live = true;
    ++size_;
    return t;
  }
  T* find(Key k) noexcept {
    if (k.slot >= slots_) return nullptr;
    Entry& e = at(k.slot);
    return e.live && e.generation == k.generation ? e.object() : nullptr;
  }
  // Whatever lives in the slot now, for cancel keys, which carry no generation. Null if it is free.
  T* find_slot(std::uint32_t slot) noexcept {
    return slot < slots_ && at(slot).live ? at(slot).object() : nullptr;
  }
  // Destroys the object. REQUIRES: find(k) is not null.
  void erase(Key k) noexcept {
    assert(find(k) != nullptr);
    Entry& e = at(k.slot);
    e.live = false;  // first, so that nobody finds an object that is being destroyed
    if (++e.generation == 0) e.generation = 1;
    e.object()->~T();
    --size_;
    free_.push_back(k.slot);  // has room: grow() reserved it
  }
  std::uint32_t size() const noexcept { return size_; }
  // Calls f(Key, T&) for each; f may erase the object it is given, and no other.
  template <class F>
  void for_each(F&& f) {
    for (std::uint32_t s = 0; s < slots_; ++s)
      if (Entry& e = at(s); e.live) f(Key{s, e.generation}, *e.object());
  }

 private:
  struct Entry {
    alignas(T) unsigned char memory[sizeof(T)];
    std::uint32_t generation = 1;
    bool live = false;
    T* object() noexcept { return std::launder(reinterpret_cast<T*>(memory)); }
  };
  Entry& at(std::uint32_t slot) noexcept { return chunks_[slot / kChunk][slot % kChunk]; }
  bool grow() {
    if (slots_ >= max_) return false;
    const auto add = std::min(kChunk, max_ - slots_);
    free_.reserve(slots_ + add);
    chunks_.push_back(std::make_unique<Entry[]>(kChunk));
    for (std::uint32_t i = add; i > 0; --i) free_.push_back(slots_ + i - 1);  // low slots first
    slots_ += add;
    return true;
  }

  const std::uint32_t max_;
  std::uint32_t slots_ = 0, size_ = 0;
  std::vector<std::unique_ptr<Entry[]>> chunks_;
  std::vector<std::uint32_t> free_;
};

}  // namespace sidepool
