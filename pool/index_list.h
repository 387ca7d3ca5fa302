// pool/index_list.h -- records in a slab, named by index, and doubly linked lists through them.
#pragma once
#include <cassert>
#include <cstdint>
#include <memory>
#include <vector>

namespace sidepool::pool {

using Index = std::uint32_t;
inline constexpr Index kNone = ~Index{0};

// Records are reused, never moved and never freed: references stay valid, and once the peak has been seen
// nothing is allocated. take() returns a record as its last user left it.
template <class T>
class Slab {
 public:
  Index take() {
    if (!free_.empty()) {
      const Index i = free_.back();
      free_.pop_back();
      return i;
    }
    if (size_ % kBlock == 0) blocks_.push_back(std::make_unique<T[]>(kBlock));
    ++size_;
    if (free_.capacity() < size_) free_.reserve(std::size_t{size_} * 2);
    return size_ - 1;
  }
  void give_back(Index i) { free_.push_back(i); }
  T& operator[](Index i) { return blocks_[i / kBlock][i % kBlock]; }
  const T& operator[](Index i) const { return blocks_[i / kBlock][i % kBlock]; }
  Index size() const { return size_; }
  Index used() const { return size_ - static_cast<Index>(free_.size()); }

 private:
  static constexpr Index kBlock = 32;  // a power of two: a std::deque divides by the size of a record
  std::vector<std::unique_ptr<T[]>> blocks_;
  Index size_ = 0;
  std::vector<Index> free_;
};

struct Link {
  Index prev = kNone;
  Index next = kNone;
};

// A list through the member kLink of the records of one slab. A record is in at most one list per link; the
// list does not know which, so the caller must.
template <class T, Link T::*kLink>
class IndexList {
 public:
  bool empty() const { return size_ == 0; }
  std::uint32_t size() const { return size_; }
  Index front() const { return head_; }
  Index back() const { return tail_; }

  void push_back(Slab<T>& slab, Index i) {
    slab[i].*kLink = Link{tail_, kNone};
    (tail_ == kNone ? head_ : (slab[tail_].*kLink).next) = i;
    tail_ = i;
    ++size_;
  }
  // REQUIRES: i is in this list.
  void erase(Slab<T>& slab, Index i) {
    assert(size_ != 0);
    const Link link = slab[i].*kLink;
    (link.prev == kNone ? head_ : (slab[link.prev].*kLink).next) = link.next;
    (link.next == kNone ? tail_ : (slab[link.next].*kLink).prev) = link.prev;
    slab[i].*kLink = Link{};
    --size_;
  }

 private:
  Index head_ = kNone;
  Index tail_ = kNone;
  std::uint32_t size_ = 0;
};

}  // namespace sidepool::pool
