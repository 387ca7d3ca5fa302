// src/base/timer_wheel.h -- many timers that rarely fire: a hierarchical wheel, O(1) to arm and to disarm.
// Pure: time is passed in. One wheel per loop, used by that loop's thread only.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <optional>

#include "src/base/clock.h"
#include "src/base/intrusive.h"

namespace sidepool {

// A timer as a member of the object it is for; owner_of<&Client::timer_>(node) finds that object again. 32
// bytes. Destroying the node disarms it. The callback may arm, disarm or destroy any node of the wheel, its
// own included.
//
// Hot paths never touch the wheel: activity stores `last = now`, and the callback, when it finds that there
// was activity, arms the node again for last + time-out.
class TimerNode {
 public:
  using Callback = void (*)(TimerNode&) noexcept;
  explicit TimerNode(Callback cb) noexcept : callback_(cb) {}

  bool armed() const noexcept { return link_.linked(); }
  void disarm() noexcept { link_.unlink(); }

 private:
  friend class TimerWheel;
  ListNode link_;
  std::uint64_t tick_ = 0;
  Callback callback_;
};
static_assert(sizeof(TimerNode) == 32);

class TimerWheel {
 public:
  static constexpr Duration kTick = std::chrono::milliseconds(10);

  explicit TimerWheel(Time start) noexcept : start_(start) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Fires at the first advance() with now >= deadline, never earlier, at most one tick later. A deadline that
  // has passed fires with the next tick, never from inside this call. An armed node moves to its new
  // deadline.
  void arm(TimerNode& node, Time deadline) noexcept {
    node.disarm();
    const auto since = deadline - start_;
    const auto ticks = since <= Duration::zero() ? 0 : (since + kTick - Duration(1)) / kTick;
    node.tick_ = static_cast<std::uint64_t>(ticks);
    if (node.tick_ <= now_) node.tick_ = now_ + 1;
    place(node);
  }

  // Calls the callbacks of all nodes that are due. REQUIRES: not called from a callback.
  void advance(Time now) noexcept {
    if (now < start_) return;
    const auto target = static_cast<std::uint64_t>((now - start_) / kTick);
    while (now_ < target) {
      const auto next = next_event();
      if (!next || *next > target) {
        now_ = target;
        return;
      }
      now_ = *next;
      if ((now_ & 0xffff) == 0) cascade(2);
      if ((now_ & 0xff) == 0) cascade(1);
      fire();
    }
  }

  // When advance() has something to do next, at the latest; nullopt: nothing is armed. May be early by up to
  // one round of an inner wheel, because outer slots are opened before their timers are due.
  std::optional<Time> next() noexcept {
    const auto tick = next_event();
    if (!tick) return std::nullopt;
    return start_ + static_cast<Duration::rep>(*tick) * kTick;
  }

 private:
  static constexpr unsigned kLevels = 3;
  static constexpr std::uint64_t kSpan = std::uint64_t{1} << (8 * kLevels);
  struct Level {
    std::array<ListNode, 256> slots;
    std::array<std::uint64_t, 4> used{};  // a set bit may be stale, a clear one never is
  };

  static TimerNode& node_of(ListNode& link) noexcept { return owner_of<&TimerNode::link_>(link); }

  void place(TimerNode& node) noexcept {
    assert(node.tick_ >= now_);
    // Farther than the wheel reaches: wait in the outermost slot and be placed again when that opens.
    const auto tick = std::min(node.tick_, now_ + kSpan - 1);
    const auto delta = tick - now_;
    const unsigned level = delta < 0x100 ? 0 : delta < 0x10000 ? 1 : 2;
    const auto slot = (tick >> (8 * level)) & 0xff;
    levels_[level].used[slot / 64] |= std::uint64_t{1} << (slot % 64);
    node.link_.link_before(levels_[level].slots[slot]);
  }

  void cascade(unsigned level) noexcept {
    const auto slot = (now_ >> (8 * level)) & 0xff;
    ListNode moved;
    moved.take_all(levels_[level].slots[slot]);
    while (moved.linked()) {
      TimerNode& node = node_of(*moved.next());
      node.disarm();
      place(node);
    }
  }

  void fire() noexcept {
    // The due nodes hang on a list of their own, so a callback may unlink any of them and arm new ones.
    ListNode due;
    due.take_all(levels_[0].slots[now_ & 0xff]);
    while (due.linked()) {
      TimerNode& node = node_of(*due.next());
      node.disarm();
      node.callback_(node);
    }
  }

  // Distance 1..256 from `from` to the next used slot, 0 if there is none. Clears stale bits it meets.
  static unsigned distance(Level& level, unsigned from) noexcept {
    for (unsigned d = 1; d <= 256;) {
      const unsigned slot = (from + d) & 0xff;
      const auto word = level.used[slot / 64] >> (slot % 64);
      if (word == 0) {
        d += 64 - slot % 64;
        continue;
      }
      const auto skip = static_cast<unsigned>(std::countr_zero(word));
      d += skip;
      if (d > 256) break;
      const unsigned found = slot + skip;
      if (level.slots[found].linked()) return d;
      level.used[found / 64] &= ~(std::uint64_t{1} << (found % 64));
      ++d;
    }
    return 0;
  }

  std::optional<std::uint64_t> next_event() noexcept {
    std::optional<std::uint64_t> best;
    for (unsigned l = 0; l < kLevels; ++l) {
      const auto here = now_ >> (8 * l);
      const auto d = distance(levels_[l], static_cast<unsigned>(here & 0xff));
      if (d == 0) continue;
      const auto tick = (here + d) << (8 * l);
      if (!best || tick < *best) best = tick;
    }
    return best;
  }

  const Time start_;
  std::uint64_t now_ = 0;  // ticks since start_ that have been handled
  std::array<Level, kLevels> levels_;
};

}  // namespace sidepool
