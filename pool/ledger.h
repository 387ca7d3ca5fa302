// pool/ledger.h -- the replies that a server owes, in order, and what becomes of each.
//
// The ledger follows PostgreSQL, not a count (product.md §5): an error in the extended protocol makes the
// server skip everything up to the next Sync; in COPY-in it reads Sync and Flush without answering; a simple
// Query or a FunctionCall always earns its ReadyForQuery. (PostgreSQL manual, "Message Flow"; postgres.c,
// PostgresMain.)
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "pool/statements.h"
#include "protocol/bytes.h"

namespace sidepool::pool {

enum class Request : std::uint8_t {
  Query,
  FunctionCall,
  Parse,
  Bind,
  DescribeStatement,
  DescribePortal,
  Close,
  Execute,
  Sync,
  CopyEnd,  // CopyDone or CopyFail: earns nothing, marks where a COPY ends
};

enum class Reply : std::uint8_t {
  Forward,  // the client's own request
  Swallow,  // ours; an error to it is the client's error unless it is `setup`
  Invent,   // the server was not asked; `made` is sent when its turn comes
  Replace,  // ours, meant to fail: `made` is sent in place of the error that the server gives
};

struct Expected {
  Request request;
  Reply reply = Reply::Forward;
  bool setup = false;  // clean-up, replay or switch of names, before the client's own bytes
  // One of ours on this server that this Parse makes, or that this Close or Execute (of DEALLOCATE) drops.
  StatementId statement = StatementId::None;
  std::unique_ptr<ClientStatements::Change> change{};  // of the client's names
  std::unique_ptr<protocol::Buffer> made{};
  // Of a Parse, and of a Describe: the number of the client's text that is, or gets, the unnamed statement.
  std::uint32_t unnamed = 0;
  bool renames = false;     // belongs to a switch to the client's own names
  bool early_data = false;  // CopyData has passed before it was known whether this is a COPY-in

  // What the server has afterwards is known only with the reply.
  bool decides() const noexcept {
    return (statement != StatementId::None &&
            (request == Request::Parse || request == Request::Close || request == Request::Execute)) ||
           (unnamed != 0 && request == Request::Parse);
  }
};

// A queue in one vector: entries before head_ are done.
class Ledger {
 public:
  // Beyond this many the session takes no more from its client. PostgreSQL sends its output when 8 KiB are
  // full and no reply is shorter than 5 bytes, so with more than 1,639 outstanding some replies are always on
  // their way and waiting for them cannot block for ever.
  static constexpr std::size_t kFull = 8192;

  bool empty() const noexcept { return head_ == queue_.size(); }
  std::size_t size() const noexcept { return queue_.size() - head_; }
  bool full() const noexcept { return size() >= kFull; }
  Expected& front() noexcept { return queue_[head_]; }
  Expected& at(std::size_t i) noexcept { return queue_[head_ + i]; }
  const Expected& at(std::size_t i) const noexcept { return queue_[head_ + i]; }

  void push(Expected e) {
    deciding_ += e.decides() ? 1 : 0;
    queue_.push_back(std::move(e));
  }
  void pop() {
    deciding_ -= queue_[head_].decides() ? 1 : 0;
    ++head_;
    if (empty()) {
      head_ = 0;
      queue_.clear();
      if (queue_.capacity() > kKeep) std::vector<Expected>{}.swap(queue_);
    } else if (head_ > kKeep && head_ > queue_.size() / 2) {
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  void erase(std::size_t i) {
    deciding_ -= at(i).decides() ? 1 : 0;
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(head_ + i));
  }
  void clear() noexcept {
    head_ = deciding_ = 0;
    std::vector<Expected>{}.swap(queue_);
  }

  // Nothing of the client's is outstanding.
  bool only_setup() const noexcept {
    for (std::size_t i = head_; i < queue_.size(); ++i) {
      if (!queue_[i].setup) return false;
    }
    return true;
  }

  // Behind the request at the head there is another one that may run something.
  bool runs_behind_front() const noexcept {
    return find(Request::Query, 1) != size() || find(Request::Execute, 1) != size() ||
           find(Request::FunctionCall, 1) != size();
  }

  // The index of the first entry from `from` on with this request; size() if there is none.
  std::size_t find(Request r, std::size_t from = 0) const noexcept {
    std::size_t i = from;
    while (i < size() && queue_[head_ + i].request != r) ++i;
    return i;
  }

  // An entry of an earlier cycle (there is a Sync behind it) decides what `concerns` asks about. Within one
  // cycle nothing is open: if the entry fails, what follows is skipped too.
  template <class Concerns>
  bool undecided(Concerns&& concerns) const noexcept {
    if (deciding_ == 0) return false;
    bool sync = false;
    for (std::size_t i = queue_.size(); i-- > head_;) {
      sync |= queue_[i].request == Request::Sync;
      if (sync && queue_[i].decides() && concerns(queue_[i])) return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t kKeep = 64;
  std::vector<Expected> queue_;
  std::size_t head_ = 0;
  std::size_t deciding_ = 0;
};

}  // namespace sidepool::pool
