// pool/session_again.cpp -- a cycle whose first statement turns out to be outdated on its server, where the
// client has no description of its rows that could be wrong (product.md §5, 0A000). Only the Bind or Describe
// has failed and everything behind it was skipped, so nothing has run and the cycle is sent once more.
#include <algorithm>

#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::TxStatus;

namespace {
// What is kept: the usual Bind, Describe, Execute, Sync and a little more. Of a longer cycle the client gets
// the error.
constexpr std::size_t kKeptBytes = 16384, kKeptMessages = 8;
// Kept between cycles, so that the steady state allocates nothing.
constexpr std::size_t kSpareBytes = 512;
}  // namespace

// The first message of a cycle names this statement. Where the server lacks it, it is parsed anew there.
void Session::begin_keeping(const ClientStatements::Entry& entry) {
  if (running_again_ || tx_ != TxStatus::Idle || !ledger_.only_setup()) return;
  if (server_->statements.look_up(entry.statement->id, entry.oldest()) != ServerStatements::Has::Yes) return;
  keeping_ = true;
}

// A message of the client has passed.
void Session::keep(char type, Bytes whole) {
  if (!keeping_) return;
  auto& x = server_->exchange;
  if (x.kept.size() + whole.size() > kKeptBytes || ++x.kept_messages > kKeptMessages || copy_bound_) {
    return drop_kept();
  }
  x.kept.insert(x.kept.end(), whole.begin(), whole.end());
  if (type == 'S') keeping_ = false;  // what follows this cycle must not run before it
  if (type == 'Q' || type == 'F') drop_kept();
}

void Session::drop_kept() noexcept {
  if (!server_ || (!keeping_ && server_->exchange.kept.empty())) return;
  auto& x = server_->exchange;
  keeping_ = false;
  x.kept_messages = 0;
  x.kept.clear();
  if (x.kept.capacity() > kSpareBytes) Buffer{}.swap(x.kept);
}

void Session::forget_cycle() noexcept {
  running_again_ = false;
  if (!server_) return;
  drop_kept();
  server_->exchange.again.clear();
  server_->exchange.put_off.clear();
}

// The request at the head has failed because its plan is outdated; it may be the comparison that a Bind waits
// for. True: the client is not told, its cycle is sent again when the server has read up to a Sync.
bool Session::send_again(Actions& out) {
  auto& x = server_->exchange;
  if (keeping_ && x.kept.empty() && stalled_) {  // that Bind
    x.kept.swap(client_part_);
    stalled_ = false;
  }
  if (x.kept.empty() || client_gone_ || copy_bound_) return false;
  x.again.swap(x.kept);
  drop_kept();
  skip_to_sync();
  if (ledger_.empty()) {  // the client has sent none yet; its own comes with the cycle
    skipping_ = hold_for_ready_ = cycle_open_ = false;
    ++cycle_;
    out.compose(Do::ToServer, [](Buffer& own) { protocol::sync(own); });
    expect(Request::Sync, Reply::Swallow);
  } else {
    ledger_.front().reply = Reply::Swallow;
  }
  return true;
}

// Something has been answered.
void Session::run_again(Actions& out) {
  if (state_ != State::Active || server_->exchange.again.empty()) return;
  if (!running_again_ && !ledger_.empty()) return;
  running_again_ = true;
  while (state_ == State::Active && !server_->exchange.again.empty() && !stalled_ && !sync_held_) {
    auto& again = server_->exchange.again;
    const auto size = std::size_t{1} + protocol::load_be32(again.data() + 1);
    const Buffer message(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(size));
    again.erase(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(size));
    const char type = static_cast<char>(message[0]);
    if (!skipping_ || type == 'S') on_message(type, message, out);
  }
  if (!server_ || server_->exchange.again.empty()) running_again_ = false;
}

// A Bind of a statement of which the client has an old description. If it asks for a new one in the next
// message it is served; product.md says so outside a transaction block. False: it has to fail.
bool Session::put_off(Bytes bind) {
  if (tx_ != TxStatus::Idle || !may_invent()) return false;
  server_->exchange.put_off.assign(bind.begin(), bind.end());
  return true;
}

// `whole`: the next message, empty if it has not come to its end.
void Session::end_putting_off(char type, Bytes whole, Actions& out) {
  const Buffer bind = std::exchange(server_->exchange.put_off, {});
  const auto target = protocol::TargetView::decode(whole.subspan(std::min<std::size_t>(5, whole.size())));
  const auto head = protocol::BindHead::decode(Bytes{bind}.subspan(5));
  const bool described = type == 'D' && target && target->kind == 'P' && target->name == head->portal;
  outdated_ = described ? Outdated::Described : Outdated::Fails;
  on_bind(bind, true, static_cast<std::uint32_t>(bind.size() - 5), out);
  outdated_ = Outdated::Unknown;
}

}  // namespace sidepool::pool
