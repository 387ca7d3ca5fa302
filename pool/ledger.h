// pool/ledger.h -- the replies that a server owes, in order, and what becomes of each.
//
// The ledger follows PostgreSQL, not a count (product.md §5): an error in the extended protocol makes the
// server skip everything up to the next Sync; in COPY-in it reads Sync and Flush without answering; a simple
// Query or a FunctionCall always earns its ReadyForQuery. (PostgreSQL manual, "Message Flow"; postgres.c,
// PostgresMain.)
#pragma once
#include <cassert>
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

// The replies that one server owes to the session that has it. They lie with the server; of a session that
// has none nothing is owed.
class Ledger {
 public:
  // A queue in one vector: entries before `head` are done.
  struct Replies {
    std::vector<Expected> queue;
    std::size_t head = 0;
    std::size_t deciding = 0;  // of those that are not done
  };
  // Beyond this many the session takes no more from its client. PostgreSQL sends its output when 8 KiB are
  // full and no reply is shorter than 5 bytes, so with more than 1,639 outstanding some replies are always on
  // their way and waiting for them cannot block for ever.
  static constexpr std::size_t kFull = 8192;

  // A server has been lent. REQUIRES: it owes nothing.
  void open(Replies& owed) noexcept {
    assert(owed.head == owed.queue.size());
    owed_ = &owed;
  }
  // The server is no longer the session's; whatever it still owes is nobody's.
  void close() noexcept {
    if (!owed_) return;
    if (!empty()) *owed_ = {};
    owed_ = nullptr;
  }

  bool empty() const noexcept { return !owed_ || owed_->head == owed_->queue.size(); }
  std::size_t size() const noexcept { return owed_ ? owed_->queue.size() - owed_->head : 0; }
  bool full() const noexcept { return size() >= kFull; }
  // REQUIRES of the rest: a server has been lent; of those that name an entry: there is one.
  Expected& front() noexcept { return owed_->queue[owed_->head]; }
  Expected& at(std::size_t i) noexcept { return owed_->queue[owed_->head + i]; }
  const Expected& at(std::size_t i) const noexcept { return owed_->queue[owed_->head + i]; }

  void push(Expected e) {
    owed_->deciding += e.decides() ? 1 : 0;
    owed_->queue.push_back(std::move(e));
  }
  void pop() {
    auto& [queue, head, deciding] = *owed_;
    deciding -= queue[head].decides() ? 1 : 0;
    ++head;
    if (head == queue.size()) {
      head = 0;
      queue.clear();
      if (queue.capacity() > kKeep) std::vector<Expected>{}.swap(queue);
    } else if (head > kKeep && head > queue.size() / 2) {
      queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(head));
      head = 0;
    }
  }
  void erase(std::size_t i) {
    owed_->deciding -= at(i).decides() ? 1 : 0;
    owed_->queue.erase(owed_->queue.begin() + static_cast<std::ptrdiff_t>(owed_->head + i));
  }

  // Nothing of the client's is outstanding.
  bool only_setup() const noexcept {
    for (std::size_t i = 0; i < size(); ++i) {
      if (!at(i).setup) return false;
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
    const auto n = size();
    std::size_t i = from;
    while (i < n && at(i).request != r) ++i;
    return i;
  }

  // An entry of an earlier cycle (there is a Sync behind it) decides what `concerns` asks about. Within one
  // cycle nothing is open: if the entry fails, what follows is skipped too.
  template <class Concerns>
  bool undecided(Concerns&& concerns) const noexcept {
    if (!owed_ || owed_->deciding == 0) return false;
    bool sync = false;
    for (std::size_t i = size(); i-- > 0;) {
      sync |= at(i).request == Request::Sync;
      if (sync && at(i).decides() && concerns(at(i))) return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t kKeep = 64;
  Replies* owed_ = nullptr;
};

}  // namespace sidepool::pool
