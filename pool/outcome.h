// pool/outcome.h -- how a transaction ended, as far as its replies tell: what its statements have done to the
// session is undone, or stays.
#pragma once
#include <cstdint>
#include <string_view>

namespace sidepool::pool {

// Told of every reply to a request of the client, in order; forgets with reset() when a transaction is over.
class TransactionOutcome {
 public:
  void failed() noexcept { last_ = Last::Undone; }
  // `tag`: of the CommandComplete; empty for what has none. `outside_block`: a request of the extended
  // protocol that was sent while no block was open. A ROLLBACK ends one transaction, and what is behind it in
  // the same text or cycle begins the next.
  void succeeded(std::string_view tag, bool outside_block) noexcept {
    last_ = tag == "ROLLBACK" ? Last::Undone : Last::Done;
    if (tag == "COMMIT" || tag == "PREPARE TRANSACTION") commit_seen_ = may_have_committed_ = true;
    if (tag == "BEGIN" || tag == "START TRANSACTION") block_begun_ = true;
    // In a cycle without a block, VACUUM and its like commit what came before them.
    if (outside_block && !block_begun_) may_have_committed_ = true;
  }
  // It ends with an error or a ROLLBACK, and nothing has succeeded since.
  bool undone() const noexcept { return last_ == Last::Undone && !commit_seen_; }
  // The same, and nothing of it can have been committed before.
  bool left_nothing() const noexcept { return undone() && !may_have_committed_; }
  void reset() noexcept { *this = {}; }

 private:
  enum class Last : std::uint8_t { None, Done, Undone };
  Last last_ = Last::None;
  bool commit_seen_ = false;         // by its tag
  bool may_have_committed_ = false;  // something before the end
  bool block_begun_ = false;         // its BEGIN has been answered
};

}  // namespace sidepool::pool
