// pool/session_copy.cpp -- COPY-in: what passes in it, and what was sent before it was known to be there.
#include "pool/session_parts.h"

namespace sidepool::pool {

// In COPY-in the server reads Sync and Flush without a word: they need not be sent. It takes anything else
// but COPY messages for an error. Whether the COPY fails before or after it has read that cannot be known,
// and if the data has failed before a Sync, that Sync earns an answer.
bool Session::in_copy(char type) const noexcept {
  return copying_ && type != 'd' && type != 'c' && type != 'f' &&
         ledger_.find(Request::CopyEnd) == ledger_.size();
}

void Session::eat(char type, Bytes bytes, Actions& out) {
  copy_unclear_ |= type != 'H';
  if (type == 'S' || type == 'H') return;
  pass(bytes, out);
}

// For the COPY that is under way, or for one of which the server has not spoken yet.
void Session::note_copy_data() {
  if (copying_ && ledger_.find(Request::CopyEnd) == ledger_.size()) return;
  for (std::size_t i = ledger_.size(); i-- > 0;) {
    const auto r = ledger_.at(i).request;
    if (r != Request::Query && r != Request::Execute) continue;
    ledger_.at(i).early_data = true;
    return;
  }
}

// With nothing outstanding there is no COPY that it could end, and the server would ignore it.
void Session::on_copy_end(Bytes whole, Actions& out) {
  if (ledger_.empty()) return;
  expect(Request::CopyEnd);
  pass(whole, out);
}

// CopyInResponse: from here to CopyDone or CopyFail the server reads COPY messages only.
void Session::on_copy_in(Actions& out) {
  copying_ = true;
  copy_unclear_ = false;
  const bool early_data = ledger_.front().early_data;
  const auto end = ledger_.find(Request::CopyEnd);
  // Unless the end of the COPY lies before it, the server would have read it without a word.
  if (end == ledger_.size() && std::exchange(sync_held_, false)) copy_unclear_ = early_data;
  // Sent before this message could be known. A Sync before any data gets no answer.
  for (std::size_t i = end; i-- > 1;) {
    if (ledger_.at(i).request != Request::Sync) return lose_order(out);  // an error in the middle of a COPY
    copy_unclear_ |= early_data;
    ledger_.erase(i);
  }
  retry_stalled(out);
}

// The COPY at the head has ended; its CopyDone or CopyFail has been read.
void Session::end_copy() {
  if (!std::exchange(copying_, false)) return;
  const auto end = ledger_.find(Request::CopyEnd);
  if (end != ledger_.size()) ledger_.erase(end);
}

// CopyDone and CopyFail outside COPY-in: the server ignores them.
void Session::drop_stray_copy_ends() {
  while (!copying_ && !ledger_.empty() && ledger_.front().request == Request::CopyEnd) ledger_.pop();
}

}  // namespace sidepool::pool
