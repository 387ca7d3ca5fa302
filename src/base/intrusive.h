// src/base/intrusive.h -- doubly linked list whose nodes are members of the listed objects.
#pragma once
#include <bit>
#include <cassert>
#include <cstddef>

namespace sidepool {

// A member that puts its object on at most one list at a time. Leaves the list when destroyed.
class ListNode {
 public:
  ListNode() noexcept = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const noexcept { return next_ != this; }
  // O(1); nothing happens if the node is on no list.
  void unlink() noexcept {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = this;
  }
  // REQUIRES: this node is on no list.
  void link_before(ListNode& at) noexcept {
    assert(!linked());
    prev_ = at.prev_, next_ = &at;
    prev_->next_ = this, at.prev_ = this;
  }
  ListNode* next() const noexcept { return next_; }
  // Takes over all nodes of `other`, which is then empty. REQUIRES: this node is on no list.
  void take_all(ListNode& other) noexcept {
    assert(!linked());
    if (!other.linked()) return;
    prev_ = other.prev_, next_ = other.next_;
    prev_->next_ = this, next_->prev_ = this;
    other.prev_ = other.next_ = &other;
  }

 private:
  ListNode* prev_ = this;
  ListNode* next_ = this;
};

namespace detail {
template <class M>
struct MemberOf;
template <class O, class T>
struct MemberOf<T O::*> {
  using Owner = O;
  using Type = T;
};
}  // namespace detail

// The object whose member `node` is: owner_of<&Client::idle_timer_>(node). A pointer to a data member is the
// member's offset in the Itanium C++ ABI (§2.3), which every compiler of this project follows.
template <auto Member>
typename detail::MemberOf<decltype(Member)>::Owner& owner_of(
    typename detail::MemberOf<decltype(Member)>::Type& node) noexcept {
  using Owner = typename detail::MemberOf<decltype(Member)>::Owner;
  auto member = Member;
  const auto offset = std::bit_cast<std::ptrdiff_t>(member);
  return *reinterpret_cast<Owner*>(reinterpret_cast<std::byte*>(&node) - offset);
}

// FIFO of objects linked through one of their members: List<&Session::ready_>. Owns nothing. An object that
// is destroyed leaves its list by itself, also while the list is walked with pop_front().
template <auto Member>
class List {
 public:
  using T = typename detail::MemberOf<decltype(Member)>::Owner;

  bool empty() const noexcept { return !head_.linked(); }
  // REQUIRES: `t` is on no list.
  void push_back(T& t) noexcept { (t.*Member).link_before(head_); }
  void push_front(T& t) noexcept { (t.*Member).link_before(*head_.next()); }
  static void remove(T& t) noexcept { (t.*Member).unlink(); }
  T* front() noexcept { return empty() ? nullptr : &owner_of<Member>(*head_.next()); }
  T* pop_front() noexcept {
    T* t = front();
    if (t) remove(*t);
    return t;
  }
  // Calls f(T&) for each; f may remove or destroy the object it is given, and no other.
  template <class F>
  void for_each(F&& f) {
    for (ListNode* n = head_.next(); n != &head_;) {
      ListNode* next = n->next();
      f(owner_of<Member>(*n));
      n = next;
    }
  }
  void take_all(List& other) noexcept { head_.take_all(other.head_); }

 private:
  ListNode head_;
};

}  // namespace sidepool
