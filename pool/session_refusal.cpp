// pool/session_refusal.cpp -- answers without a server: the cycle that could not get one, and the failed
// transaction that it would have opened (product.md §6, pool full).
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::ErrorFields;
using protocol::TxStatus;
using protocol::TxVerb;

namespace {

constexpr ErrorFields kFailedTransaction{
    "ERROR",
    "25P02",
    "current transaction is aborted, commands ignored until end of transaction block",
    "The statement that would have opened the transaction was refused.",
    {}};
constexpr ErrorFields kCannotTell{"FATAL", "08006", "the session cannot go on after a refused statement",
                                  "What the statement does to the transaction cannot be told.",
                                  "Connect again."};

void ready(Actions& out, TxStatus status) {
  out.compose(Do::ToClient, [status](Buffer& own) { protocol::ready_for_query(own, status); });
}
void failed(Actions& out) {
  out.compose(Do::ToClient, [](Buffer& own) { protocol::error_response(own, kFailedTransaction); });
}

// Something else beside the end of the block, or a new one behind it: what would run cannot be told.
bool more_than_the_end(const protocol::ScanResult& scanned) noexcept {
  using protocol::Effect;
  const bool just_that = scanned.tx == TxVerb::Ends && scanned.statements == 1;
  return scanned.tx != TxVerb::None && !just_that &&
         scanned.effects.has_any(Effect::Commit | Effect::Rollback | Effect::Unsure);
}

bool has_text(char type) noexcept { return type == 'Q' || type == 'P'; }

}  // namespace

// Takes messages off the input until this cycle is answered. Texts are scanned as they pass and not kept.
void Session::refuse_input(Bytes& in, Actions& out) {
  const auto s = client_.next(in);
  if (!s) {
    if (client_.bad()) malformed("invalid message length", out);
    return;
  }
  if (s->first) {
    if (s->type == 'X') return on_client_gone(out);
    if (std::string_view("QPBDCEFSHdcf").find(s->type) == std::string_view::npos) {
      return malformed("invalid frontend message type", out);
    }
    client_part_.clear();
    text_ = has_text(s->type) ? std::make_unique<TextScan>(s->type, standard_strings_, encoding_) : nullptr;
  }
  const auto piece = s->body();
  if (text_) {
    if (!piece.empty()) text_->feed(piece);
  } else if (client_part_.size() < TextScan::kNameKept * 2) {  // the names of a Bind, Describe or Close
    client_part_.insert(client_part_.end(), piece.begin(), piece.end());
  }
  if (!s->last) return;
  const Buffer head = std::exchange(client_part_, {});
  if (state_ == State::Refusing) {
    refused_cycle(s->type, head, out);
  } else {
    failed_transaction(s->type, head, out);
  }
  text_.reset();
}

TxVerb Session::verb_of(std::string_view statement) {
  if (statement.empty()) return refusal_->unnamed;
  statement = statement.substr(0, 63);
  if (statement == refusal_->named) return refusal_->named_verb;
  const auto* e = statements().find(statement);
  return e ? e->statement->scan.tx : TxVerb::None;
}

void Session::refuse_once(Actions& out) {
  if (std::exchange(refusal_->told, true)) return;
  ++events_.errors;
  out.copy(Do::ToClient, refusal_->error);
}

void Session::refused_cycle(char type, Bytes body, Actions& out) {
  const auto note = [this](TxVerb v) {
    if (v != TxVerb::None) refusal_->verb = v;
  };
  switch (type) {
    case 'Q':
      if (refusal_->extended && refusal_->told) return;  // skipped with everything else up to the Sync
      forget_unnamed();
      note(text_->scanner.finish().tx);
      refuse_once(out);
      return end_refused_cycle(out);
    case 'F':
      if (refusal_->extended && refusal_->told) return;
      refuse_once(out);
      return end_refused_cycle(out);
    case 'S':
      return end_refused_cycle(out);
    case 'P': {
      const auto verb = text_->scanner.finish().tx;
      // PostgreSQL drops the old one before it looks at the text; behind an error it reads neither.
      if (text_->name.empty() && !refusal_->told) forget_unnamed();
      if (text_->name.empty()) refusal_->unnamed = verb;
      refusal_->named = text_->name.substr(0, 63);
      refusal_->named_verb = verb;
      break;
    }
    case 'B':
      if (const auto h = protocol::BindHead::decode(body)) note(verb_of(h->statement));
      break;
    case 'd':
    case 'c':
    case 'f':
      return;
    default:
      break;
  }
  refusal_->extended = true;
  refuse_once(out);
}

void Session::end_refused_cycle(Actions& out) {
  switch (refusal_->verb) {
    case TxVerb::None:
    case TxVerb::Ends:
      ready(out, TxStatus::Idle);
      refusal_.reset();
      state_ = State::Idle;
      return;
    case TxVerb::Begins:
      ready(out, TxStatus::Failed);
      refusal_ = std::make_unique<Refusal>();
      state_ = State::RefusedTransaction;
      return;
    case TxVerb::Unknown:
      return fatal(kCannotTell, out);
  }
}

// COMMIT or ROLLBACK of the failed block.
void Session::leave(Refusal& r, Actions& out) {
  out.compose(Do::ToClient, [](Buffer& own) { protocol::command_complete(own, "ROLLBACK"); });
  r.left = true;
}

void Session::ready_in_refusal(Actions& out) {
  ready(out, refusal_->left ? TxStatus::Idle : TxStatus::Failed);
  if (!refusal_->left) return;
  refusal_.reset();
  state_ = State::Idle;
}

// As PostgreSQL in a failed transaction block: nothing but its end is carried out.
void Session::failed_transaction(char type, Bytes body, Actions& out) {
  auto& r = *refusal_;
  const auto skip = [&] {
    ++events_.errors;
    failed(out);
    r.skipping = true;
  };
  if (type == 'S') {
    r.skipping = false;
    return ready_in_refusal(out);
  }
  if (r.skipping || type == 'd' || type == 'c' || type == 'f' || type == 'H') return;
  const auto scanned = text_ ? text_->scanner.finish() : protocol::ScanResult{};
  const bool ends = scanned.tx == TxVerb::Ends;
  if (text_ && more_than_the_end(scanned)) return fatal(kCannotTell, out);
  if (type == 'Q' || (type == 'P' && text_->name.empty())) forget_unnamed();
  switch (type) {
    case 'Q':
      if (ends) {
        leave(r, out);
      } else if (scanned.statements == 0) {
        out.compose(Do::ToClient, [](Buffer& own) { protocol::empty_query_response(own); });
      } else {
        ++events_.errors;
        failed(out);
      }
      return ready_in_refusal(out);
    case 'F':
      ++events_.errors;
      failed(out);
      return ready(out, TxStatus::Failed);
    case 'P':
      if (!ends) return skip();
      if (!text_->name.empty())
        return fatal(kCannotTell, out);  // the name would have to be kept without a server
      r.unnamed = scanned.tx;
      return out.compose(Do::ToClient, [](Buffer& own) { protocol::parse_complete(own); });
    case 'B': {
      const auto h = protocol::BindHead::decode(body);
      if (r.left || !h || verb_of(h->statement) != TxVerb::Ends) return skip();
      r.leaving = true;
      return out.compose(Do::ToClient, [](Buffer& own) { protocol::bind_complete(own); });
    }
    case 'D': {
      const bool statement = !body.empty() && body.front() == 'S';
      return out.compose(Do::ToClient, [statement](Buffer& own) { protocol::no_data(own, statement); });
    }
    case 'E':
      if (!std::exchange(r.leaving, false)) return skip();
      return leave(r, out);
    case 'C': {
      const auto t = protocol::TargetView::decode(body);
      if (t && t->kind == 'S' && !t->name.empty()) statements().remove_now(t->name.substr(0, 63));
      return out.compose(Do::ToClient, [](Buffer& own) { protocol::close_complete(own); });
    }
    default:
      return;
  }
}

}  // namespace sidepool::pool
