// pool/session_error.cpp -- ErrorResponse, and what it makes the server skip.
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::ErrorView;

namespace {
constexpr std::string_view kStalePlan = "cached plan must not change result type";
// The error that CopyFail earns: all data before it has been taken. (In another lc_messages it is not
// recognised, which costs the connection, not the order.)
constexpr std::string_view kCopyFailed = "COPY from stdin failed: ";

// How a request fails that we send to make the server fail (fail_instead, send_failing). Any other error, of
// a failed transaction for example, is what the client's own request would have earned.
std::string_view failure_of(Request r) noexcept { return r == Request::Bind ? "26000" : "42P01"; }
}  // namespace

void Session::on_error(Bytes whole, Actions& out) {
  const auto e = ErrorView::decode(whole.subspan(5));
  if (!e) return lose_order(out);
  pass_silent_head(out);
  const bool setup = !ledger_.empty() && ledger_.front().setup;
  if (e->fatal() || ledger_.empty()) {  // the server closes; on_server_lost() follows
    server_unfit_ = true;
    if (client_gone_ || setup || state_ == State::Preparing || nothing_at_stake()) return;
    got_fatal_ = true;
    ++events_.errors;
    return pass_back(whole, out);
  }
  if (setup) return setup_error(whole);
  outcome_.failed();
  Expected& front = ledger_.front();
  if (copy_unclear_ && copying_ && !e->message.starts_with(kCopyFailed)) {
    if (!client_gone_) pass_back(whole, out);
    return lose_order(out);
  }
  const bool simple = front.request == Request::Query || front.request == Request::FunctionCall ||
                      front.request == Request::Sync;
  if (!simple) return error_of_extended(*e, whole, out);
  // After a failed COPY the server ignores what is left of it; a CopyEnd that was sent lies behind the Query.
  copying_ = false;
  if (front.reply == Reply::Swallow) {  // our ROLLBACK
    server_unfit_ = true;
    return;
  }
  ++events_.errors;
  if (client_gone_) return;
  if (front.reply == Reply::Replace && e->code == failure_of(front.request)) {
    out.copy(Do::ToClient, *front.made);
  } else {
    pass_back(whole, out);
  }
}

void Session::setup_error(Bytes whole) {
  setup_failed_ = true;
  server_->exchange.setup_error.assign(whole.begin() + 5, whole.end());
  const auto r = ledger_.front().request;
  if (r != Request::Query && r != Request::Sync) skip_to_sync();
}

void Session::error_of_extended(const ErrorView& e, Bytes whole, Actions& out) {
  Expected& front = ledger_.front();
  copying_ = false;
  const bool stale = note_stale_plan(e, front);
  if (stale && send_again(out)) return;
  drop_kept();
  if (!client_gone_) {
    ++events_.errors;
    if (front.reply == Reply::Replace && e.code == failure_of(front.request)) {
      out.copy(Do::ToClient, *front.made);
    } else {
      tell_error(whole, front, out);
    }
  }
  skip_to_sync();
  after_reply(out);
  if (state_ == State::Draining) drain(out);  // no ReadyForQuery comes if no Sync was sent
}

// Gives the client an error. Where PostgreSQL names the statement by our name, the client reads its own.
void Session::tell_error(Bytes whole, const Expected& failed, Actions& out) {
  if (failed.statement == StatementId::None || !statements_) return pass_back(whole, out);
  const auto ours = store_->name_of(failed.statement);
  if (protocol::as_text(whole).find(ours) == std::string_view::npos) return pass_back(whole, out);
  // Of several names for one text most likely the one bound last.
  const auto& last_bound = server_->exchange.last_bound;
  const auto* bound = failed.request == Request::Bind ? statements_->find(last_bound) : nullptr;
  const bool last = bound && bound->statement->id == failed.statement;
  auto theirs = last ? std::string_view(last_bound) : statements_->name_of(failed.statement);
  for (std::size_t i = 0; theirs.empty() && i < ledger_.size(); ++i) {  // closed by now, further on
    const auto* change = ledger_.at(i).change.get();
    const auto* before = change ? change->before.statement.get() : nullptr;
    if (before && before->id == failed.statement) theirs = change->name;
  }
  std::string text(protocol::as_text(whole));
  for (auto at = text.find(ours); at != std::string::npos; at = text.find(ours, at + theirs.size())) {
    text.replace(at, ours.size(), theirs);
  }
  Buffer renamed(text.begin(), text.end());
  protocol::store_be32(renamed.data() + 1, static_cast<std::uint32_t>(renamed.size() - 1));
  out.copy(Do::ToClient, renamed);
}

// The plan of a statement returns other columns than before (product.md §5). Or somebody's function has
// dropped what we prepared here, and perhaps not only this. True: the same request may succeed once the text
// has been parsed anew.
bool Session::note_stale_plan(const ErrorView& e, const Expected& failed) {
  if (failed.statement == StatementId::None) return false;
  if (failed.request != Request::Bind && failed.request != Request::DescribeStatement) return false;
  if (e.code == "26000") {
    server_->statements.outdate_all();
    server_->require(CleanUp::Everything);
    return true;
  }
  if (e.code != "0A000" || e.message.find(kStalePlan) == std::string_view::npos) return false;
  if (auto* s = store_->find(failed.statement)) note_change(*s);
  return true;
}

// The server skips everything up to the next Sync, which may not have been sent yet.
void Session::skip_to_sync() {
  checking_shape_ = false;
  server_->exchange.put_off.clear();
  const auto sync = ledger_.find(Request::Sync);
  for (std::size_t i = sync; i-- > 0;) undo(ledger_.at(i));
  for (std::size_t i = 0; i < sync; ++i) ledger_.pop();
  skipping_ = ledger_.empty() && !sync_held_;
  if (skipping_) hold_for_ready_ = false;  // the Sync that the server waits for has to come through
}

// A request that failed or is skipped: what was noted when it passed is taken back.
void Session::undo(Expected& e) {
  if (e.change && statements_) statements_->take_back(*e.change);
  if (e.request == Request::Parse && e.reply != Reply::Invent) {
    if (e.statement == StatementId::Replay) {
      server_->replay_prepared = false;
    } else if (e.statement != StatementId::None) {
      server_->statements.remove(e.statement);
    } else if (e.unnamed != 0) {
      if (server_->unnamed_sequence == e.unnamed) server_->unnamed_sequence = 0;
      if (e.reply == Reply::Forward && unnamed_->sequence == e.unnamed) forget_unnamed();
    }
  }
  if (e.request == Request::DescribeStatement || e.request == Request::DescribePortal) {
    server_->statements.set_known(e.statement, Known::Nothing);
  }
  if (e.renames && !e.setup) own_names_ = false;
  if (e.request == Request::Close && e.statement == StatementId::Replay) {
    server_->replay_prepared = true;
  } else if ((e.request == Request::Close || e.request == Request::Execute) &&
             e.statement != StatementId::None) {
    server_->statements.add(e.statement, 0);  // may still be there: closed before its next use
  }
}

// The order of replies cannot be known any more: the server is closed, never released.
void Session::lose_order(Actions& out) {
  server_unfit_ = true;
  fatal({"FATAL",
         "08006",
         "the connection to the database was closed because its replies could not be followed",
         "A message was sent that the server may or may not have read.",
         {}},
        out);
}

}  // namespace sidepool::pool
