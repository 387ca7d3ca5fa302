// tests/unit/base/containers_test.cpp -- intrusive lists, slabs, mailboxes.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>

#include "src/base/intrusive.h"
#include "src/base/mailbox.h"
#include "src/base/slab.h"

namespace sidepool {
namespace {

struct Item {
  explicit Item(int n) : number(n) {}
  int number;
  ListNode ready, idle;
};

TEST(List, KeepsOrderAndLetsItemsLeaveByThemselves) {
  List<&Item::idle> list;
  auto a = std::make_unique<Item>(1), b = std::make_unique<Item>(2), c = std::make_unique<Item>(3);
  list.push_back(*a), list.push_back(*b), list.push_front(*c);
  EXPECT_EQ(list.front()->number, 3);
  b.reset();
  std::vector<int> seen;
  list.for_each([&](Item& i) {
    seen.push_back(i.number);
    list.remove(i);
  });
  EXPECT_EQ(seen, (std::vector<int>{3, 1}));
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.pop_front(), nullptr);
}

TEST(List, TakeAllMovesEverything) {
  List<&Item::ready> from, to;
  Item a(1), b(2);
  from.push_back(a), from.push_back(b);
  to.take_all(from);
  EXPECT_TRUE(from.empty());
  EXPECT_EQ(to.pop_front(), &a);
  EXPECT_EQ(to.pop_front(), &b);
  to.take_all(from);
  EXPECT_TRUE(to.empty());
}

struct Thing {
  Thing(Slab<Thing, 4>::Key k, int* alive) : key(k), alive_count(alive) { ++*alive_count; }
  ~Thing() { --*alive_count; }
  Slab<Thing, 4>::Key key;
  int* alive_count;
};

TEST(Slab, AStaleKeyFindsNothing) {
  int alive = 0;
  Slab<Thing, 4> slab;
  Thing* first = slab.emplace(&alive);
  const auto old = first->key;
  EXPECT_EQ(slab.find(old), first);
  slab.erase(old);
  EXPECT_EQ(slab.find(old), nullptr);
  Thing* second = slab.emplace(&alive);
  EXPECT_EQ(second->key.slot, old.slot);
  EXPECT_NE(second->key.generation, old.generation);
  EXPECT_EQ(slab.find(old), nullptr);
  EXPECT_EQ(slab.find_slot(old.slot), second);
  EXPECT_EQ(slab.find({1000, 1}), nullptr);
  EXPECT_EQ(slab.find_slot(3), nullptr);
}

TEST(Slab, GrowsWithoutMovingAndStopsAtItsBound) {
  int alive = 0;
  {
    Slab<Thing, 4> slab(10);
    std::vector<Thing*> all;
    for (std::uint32_t i = 0; i < 10; ++i) {
      all.push_back(slab.emplace(&alive));
      ASSERT_NE(all.back(), nullptr);
      EXPECT_EQ(all.back()->key.slot, i);
    }
    EXPECT_EQ(slab.emplace(&alive), nullptr);
    for (Thing* t : all) EXPECT_EQ(slab.find(t->key), t);
    slab.for_each([&](auto key, Thing&) {
      if (key.slot % 2) slab.erase(key);
    });
    EXPECT_EQ(slab.size(), 5u);
    EXPECT_EQ(alive, 5);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Mailbox, RefusesAfterCloseAndLeavesTheMessageWithTheCaller) {
  Mailbox<std::unique_ptr<int>> box;
  EXPECT_EQ(box.post(std::make_unique<int>(1)), Posted::Wake);
  EXPECT_EQ(box.post(std::make_unique<int>(2)), Posted::Queued);
  std::vector<std::unique_ptr<int>> got;
  box.drain(got);
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(*got[1], 2);
  EXPECT_EQ(box.post(std::make_unique<int>(3)), Posted::Wake);
  const auto left = box.close();
  ASSERT_EQ(left.size(), 1u);
  auto message = std::make_unique<int>(4);
  EXPECT_EQ(box.post(std::move(message)), Posted::Closed);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(*message, 4);
}

TEST(Mailbox, ManyWritersLoseNothingAndKeepTheirOrder) {
  struct Message {
    int writer, number;
  };
  Mailbox<Message> box;
  constexpr int kWriters = 4, kEach = 5000;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w)
    writers.emplace_back([&box, w] {
      for (int i = 0; i < kEach; ++i) (void)box.post({w, i});
    });
  std::vector<int> next(kWriters, 0);
  int total = 0;
  for (std::vector<Message> got; total < kWriters * kEach;) {
    box.drain(got);
    if (got.empty()) std::this_thread::yield();
    for (const auto& m : got) {
      ASSERT_EQ(m.number, next[static_cast<std::size_t>(m.writer)]++);
      ++total;
    }
  }
  for (auto& t : writers) t.join();
}

}  // namespace
}  // namespace sidepool
