// pool/actions.h -- what a session wants done, in order. Bounded: when it is full the session stops early and
// is simply called again, so one call does a bounded amount of work and allocates nothing in the steady
// state.
#pragma once
#include <array>
#include <cstdint>
#include <span>

#include "protocol/bytes.h"

namespace sidepool::pool {

using protocol::Buffer;
using protocol::Bytes;

enum class Do : std::uint8_t {
  ToServer,       // write `bytes`
  ToClient,       // write `bytes`
  AcquireServer,  // ask the broker for a server; answer with on_granted or on_refused
  ReleaseServer,  // the server is free again; its ServerState says in what condition
  CloseServer,    // the server is unfit for anybody: cancel what runs, close it
  CutServer,      // the same, and it holds half a message: no further byte, which it would take for the rest
  CloseClient,    // after everything before it has been written
  CancelServer,   // send a CancelRequest for what the server runs now
  LoginDone,      // the startup parameters are known to be good: send the welcome
};

struct Action {
  Do what;
  Bytes bytes{};  // for the two writes; valid until the input or the Actions object changes
};

class Actions {
 public:
  // Enough places are left for any single step of a session.
  bool room() const noexcept { return n_ + kPerStep <= list_.size() && own_.size() < kOwnSoftLimit; }
  bool empty() const noexcept { return n_ == 0; }

  void add(Do what) noexcept { list_[n_++] = {what, {}, 0, 0, false}; }

  // What the call under way was given: pass() borrows it where it lies, and copies everything else. Empty
  // behind the call.
  void borrow(Bytes input) noexcept { input_ = input; }
  void pass(Do to, Bytes b) {
    const bool in_input = b.data() >= input_.data() && b.data() + b.size() <= input_.data() + input_.size();
    if (in_input) {
      send(to, b);
    } else {
      copy(to, b);
    }
  }

  // Borrowed bytes; neighbours in the input become one write.
  void send(Do to, Bytes b) noexcept {
    if (b.empty()) return;
    if (n_ > 0 && list_[n_ - 1].what == to && !list_[n_ - 1].own) {
      Bytes& p = list_[n_ - 1].bytes;
      if (p.data() + p.size() == b.data()) {
        p = {p.data(), p.size() + b.size()};
        return;
      }
    }
    list_[n_++] = {to, b, 0, 0, false};
  }

  // Bytes that `write` appends to our own buffer; neighbours become one write.
  template <class Write>
  void compose(Do to, Write&& write) {
    const auto at = own_.size();
    write(own_);
    if (own_.size() == at) return;
    if (n_ > 0 && list_[n_ - 1].own && list_[n_ - 1].what == to && list_[n_ - 1].end == at) {
      list_[n_ - 1].end = own_.size();
      return;
    }
    list_[n_++] = {to, {}, at, own_.size(), true};
  }
  void copy(Do to, Bytes b) {
    compose(to, [b](Buffer& own) { own.insert(own.end(), b.begin(), b.end()); });
  }

  std::size_t size() const noexcept { return n_; }
  Action operator[](std::size_t i) const noexcept {
    const auto& e = list_[i];
    return {e.what, e.own ? Bytes{own_}.subspan(e.begin, e.end - e.begin) : e.bytes};
  }
  void clear() noexcept {
    n_ = 0;
    own_.clear();
    if (own_.capacity() > kOwnKeep) Buffer{}.swap(own_);  // after one very long statement
  }

 private:
  static constexpr std::size_t kOwnSoftLimit = 16384, kOwnKeep = 65536;
  struct Entry {
    Do what;
    Bytes bytes;
    std::size_t begin, end;
    bool own;
  };
  static constexpr std::size_t kPerStep = 16;
  std::array<Entry, 48> list_{};
  std::size_t n_ = 0;
  Bytes input_;
  Buffer own_;
};

}  // namespace sidepool::pool
