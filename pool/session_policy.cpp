// pool/session_policy.cpp -- pool.pinning = "refuse" and "off": statements that may not run, and state that
// is lost (product.md §5, Modes).
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::TxStatus;

// In place of a request that may not run: one that fails on the server, so that the transaction, an implicit
// one too, ends up as PostgreSQL's would. A text fails when it is analysed, behind the check for a failed
// transaction block, whose error is the client's then.
void Session::send_failing(Request request, Buffer error, Actions& out) {
  const std::string text = "SELECT FROM " + store_->missing_name();
  out.compose(Do::ToServer, [&](Buffer& own) {
    if (request == Request::Query) return protocol::query(own, text);
    if (request == Request::Bind) return protocol::bind_text(own, "", store_->missing_name(), {});
    protocol::parse(own, "", text, {});
  });
  ledger_.push({request, Reply::Replace, false, StatementId::None, nullptr,
                std::make_unique<Buffer>(std::move(error))});
  wrote_ = true;
}

bool Session::refuse_query(std::uint32_t pins, Actions& out) {
  note_query();
  send_failing(Request::Query, refusal(pins, policy()), out);
  return true;
}

// A Query in its place: what the server has as unnamed statement goes, what the client has there stays.
bool Session::refuse_call(std::uint32_t pins, Actions& out) {
  note_call();
  if (passing_ != Passing::Drop) hold_behind();
  server_->unnamed_sequence = 0;
  send_failing(Request::Query, refusal(pins, policy()), out);
  return true;
}

bool Session::refuse_parse(std::string_view name, std::uint32_t pins, Actions& out) {
  ++events_.parses;
  open_cycle();
  if (name.empty()) forget_unnamed();  // exec_parse_message drops it before it looks at the text
  server_->unnamed_sequence = 0;
  send_failing(Request::Parse, refusal(pins, policy()), out);
  return true;
}

// A statement that was no matter when it was parsed.
bool Session::refuse_bind(std::uint32_t pins, bool whole, Actions& out) {
  if (!whole) passing_ = Passing::Drop;
  open_cycle();
  send_failing(Request::Bind, refusal(pins, policy()), out);
  return true;
}

void Session::refuse_statements(bool too_many, Actions& out) {
  fail_instead("53200",
               too_many ? "too many prepared statements in this session (max_client_statements)"
                        : "out of memory for texts of prepared statements (statement_memory)",
               out);
}

// Only the last bytes of the message have not been sent. A server that never gets them never runs it, and is
// of no more use.
void Session::refuse_scanned(const TextScan& text, std::uint32_t pins, Actions& out) {
  const auto error = refusal(pins, policy());
  passing_ = Passing::Scan;
  if (!text.alone) {  // what came before would be lost with the server
    const auto e = protocol::ErrorView::decode(Bytes{error}.subspan(5));
    return fatal({"FATAL", e->code, e->message, e->detail, e->hint}, out);
  }
  close_server(out);
  passing_ = Passing::None;
  cycle_open_ = false;
  ++events_.errors;
  out.copy(Do::ToClient, error);
  if (text.type == 'Q') {
    ++events_.queries;
    return out.compose(Do::ToClient, [](Buffer& own) { protocol::ready_for_query(own, TxStatus::Idle); });
  }
  ++events_.parses;
  refusal_ = std::make_unique<Refusal>();  // what follows up to the Sync is skipped
  refusal_->skipping = refusal_->left = true;
  state_ = State::RefusedTransaction;
}

void Session::tell_losses(std::uint32_t lost, Actions& out) {
  const auto fresh = lost & ~std::exchange(told_lost_, told_lost_ | lost);
  if (client_gone_) return;
  for (std::size_t bit = 0; bit < kPins; ++bit) {
    if ((fresh >> bit & 1) == 0) continue;
    out.compose(Do::ToClient, [bit](Buffer& own) { put_loss(own, static_cast<Pin>(1U << bit)); });
  }
}

// Under "off" the state of a transaction ends with it: locks and temporary objects must not wait for the next
// user of the server. True: it is being cleaned and goes back afterwards.
bool Session::let_go(Actions& out) {
  if (policy() != Pinning::Off) return false;
  if (unnamed_on_server_only()) {
    forget_unnamed();
    tell_losses(static_cast<std::uint32_t>(Pin::LongText), out);
  }
  if (server_->clean_up != CleanUp::Everything || server_unfit_ || got_fatal_) return false;
  state_ = State::Preparing;
  letting_go_ = true;
  wrote_ = false;
  send_clean_up(out);
  return true;
}

}  // namespace sidepool::pool
