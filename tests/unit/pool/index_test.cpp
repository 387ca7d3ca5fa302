// tests/unit/pool/index_test.cpp -- the broker's lists and heap against the standard library's.
#include <gtest/gtest.h>

#include <list>
#include <map>
#include <random>

#include "pool/index_heap.h"
#include "pool/index_list.h"

namespace sidepool::pool {
namespace {

struct Item {
  Link link;
  Index pos = kNone;
};

TEST(IndexList, BehavesLikeAList) {
  Slab<Item> slab;
  for (int i = 0; i < 20; ++i) slab.take();
  IndexList<Item, &Item::link> list;
  std::list<Index> model;
  std::mt19937 random(1);
  for (int step = 0; step < 5000; ++step) {
    const Index i = random() % 20;
    const auto at = std::find(model.begin(), model.end(), i);
    if (at == model.end()) {
      model.push_back(i);
      list.push_back(slab, i);
    } else {
      model.erase(at);
      list.erase(slab, i);
    }
    ASSERT_EQ(list.size(), model.size());
    Index next = list.front();
    for (const Index expected : model) {
      ASSERT_EQ(next, expected);
      next = slab[next].link.next;
    }
    ASSERT_EQ(next, kNone);
    ASSERT_EQ(list.back(), model.empty() ? kNone : model.back());
  }
}

TEST(IndexHeap, KeepsTheLeastOnTopThroughChanges) {
  Slab<Item> slab;
  for (int i = 0; i < 50; ++i) slab.take();
  IndexHeap<Item, &Item::pos, int> heap;
  std::map<Index, int> model;
  std::mt19937 random(2);
  for (int step = 0; step < 20000; ++step) {
    const Index i = random() % 50;
    if (random() % 3 == 0) {
      heap.erase(slab, i);
      model.erase(i);
    } else {
      const int key = static_cast<int>(random() % 1000);
      heap.set(slab, i, key);
      model[i] = key;
    }
    ASSERT_EQ(heap.size(), model.size());
    ASSERT_EQ(heap.contains(slab, i), model.contains(i));
    if (model.empty()) continue;
    int least = model.begin()->second;
    for (const auto& [item, key] : model) {
      least = std::min(least, key);
      ASSERT_EQ(heap.key(slab, item), key);
    }
    ASSERT_EQ(heap.top_key(), least);
    ASSERT_EQ(model.at(heap.top()), least);
  }
}

TEST(Slab, UsesRecordsAgainAndKeepsReferences) {
  Slab<Item> slab;
  const Index a = slab.take();
  Item* const first = &slab[a];
  for (int i = 0; i < 1000; ++i) slab.take();
  EXPECT_EQ(&slab[a], first);
  slab.give_back(a);
  EXPECT_EQ(slab.used(), 1000u);
  EXPECT_EQ(slab.take(), a);
}

}  // namespace
}  // namespace sidepool::pool
