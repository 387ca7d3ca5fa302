// pool/index_heap.h -- a binary heap of slab records whose keys change: the smallest key is on top.
#pragma once
#include <cassert>
#include <utility>
#include <vector>

#include "pool/index_list.h"

namespace sidepool::pool {

// kPos is the member in which a record remembers its place in this heap (kNone: not in it). The key is kept
// in the heap, so a record may change what its key was made of and be put right later.
template <class T, Index T::*kPos, class Key>
class IndexHeap {
 public:
  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  // REQUIRES: not empty.
  Index top() const { return entries_.front().item; }
  Key top_key() const { return entries_.front().key; }

  bool contains(const Slab<T>& slab, Index i) const { return slab[i].*kPos != kNone; }
  // REQUIRES: contains(i).
  Key key(const Slab<T>& slab, Index i) const { return entries_[slab[i].*kPos].key; }

  // Puts a record in, or gives it a new key.
  void set(Slab<T>& slab, Index i, Key key) {
    Index pos = slab[i].*kPos;
    if (pos == kNone) {
      pos = static_cast<Index>(entries_.size());
      entries_.push_back({key, i});
      slab[i].*kPos = pos;
    } else if (entries_[pos].key == key) {
      return;
    } else {
      entries_[pos].key = key;
    }
    sift(slab, pos);
  }
  // Nothing happens if the record is not in the heap.
  void erase(Slab<T>& slab, Index i) {
    const Index pos = slab[i].*kPos;
    if (pos == kNone) return;
    slab[i].*kPos = kNone;
    const Entry last = entries_.back();
    entries_.pop_back();
    if (pos == entries_.size()) return;
    entries_[pos] = last;
    slab[last.item].*kPos = pos;
    sift(slab, pos);
  }

 private:
  struct Entry {
    Key key;
    Index item;
  };
  void sift(Slab<T>& slab, Index pos) {
    while (pos != 0 && entries_[pos].key < entries_[(pos - 1) / 2].key)
      pos = exchange(slab, pos, (pos - 1) / 2);
    for (;;) {
      Index least = pos;
      for (Index child = 2 * pos + 1; child <= 2 * pos + 2 && child < entries_.size(); ++child)
        if (entries_[child].key < entries_[least].key) least = child;
      if (least == pos) return;
      pos = exchange(slab, pos, least);
    }
  }
  Index exchange(Slab<T>& slab, Index a, Index b) {
    std::swap(entries_[a], entries_[b]);
    slab[entries_[a].item].*kPos = a;
    slab[entries_[b].item].*kPos = b;
    return b;
  }

  std::vector<Entry> entries_;
};

}  // namespace sidepool::pool
