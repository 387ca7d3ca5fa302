// pool/session_long.cpp -- messages of the client that come in pieces, and one that has to wait for a reply.
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::Slice;

namespace {

// An unnamed Parse beyond this is not kept; the client keeps its server instead until it has replaced it.
constexpr std::uint32_t kKeptUnnamed = 1U << 20;
// A text beyond this is not held back until it has been scanned; what is to be refused costs its server then.
constexpr std::uint32_t kHeldBack = 1U << 20;
// The two names of a Bind have to come within this.
constexpr std::size_t kBindNames = 16384;

}  // namespace

// A message of which only the beginning is there.
void Session::begin_long_message(const Slice& s, Actions& out) {
  part_body_ = s.body_size;
  const bool small = s.body_size <= kFreeText && s.type != 'd';
  if (!small) {
    if (!server_->exchange.put_off.empty()) end_putting_off(s.type, {}, out);
    drop_kept();
  }
  switch (s.type) {
    case 'Q':
      if (s.body_size > kFreeText && !holds_query_back(s.body_size)) {
        begin_scan('Q');
        return scan_piece(s.bytes, s.body(), false, out);
      }
      passing_ = Passing::Collect;
      break;
    case 'P':
      if (s.body_size > kFreeText && !s.body().empty()) {
        return begin_long_parse(s.bytes.first(5), s.body(), s.body_size, false, out);
      }
      passing_ = Passing::Collect;
      break;
    case 'B':
      passing_ = small ? Passing::Collect : Passing::CollectHead;
      break;
    case 'F':
      if (!small) return begin_long_call(s, out);
      passing_ = Passing::Collect;
      break;
    case 'D':
    case 'E':
    case 'H':
    case 'C':
    case 'S':
    case 'c':
    case 'f':
      passing_ = Passing::Collect;
      break;
    default:  // CopyData: nothing in it is looked at
      passing_ = Passing::Forward;
      note_copy_data();
      return pass(s.bytes, out);
  }
  client_part_.assign(s.bytes.begin(), s.bytes.end());
}

void Session::begin_long_call(const Slice& s, Actions& out) {
  passing_ = Passing::Forward;
  const auto traits = judge_call(s.body());
  if (const auto pins = refused(traits)) {
    passing_ = Passing::Drop;
    refuse_call(pins, out);
    return;
  }
  use(traits);
  note_call();
  expect(Request::FunctionCall);
  pass(s.bytes, out);
}

// The first bytes of the body tell whether it has a name. What is to be kept counts against the store's
// memory while it comes in.
void Session::begin_long_parse(Bytes header, Bytes body, std::uint32_t size, bool last, Actions& out) {
  const bool keeps = rewrites() || own_names_;
  const bool named = body.front() != 0 && keeps;
  const bool held_back = policy() != Pinning::Auto && size <= kHeldBack;
  const bool collected = keeps ? named || size <= kKeptUnnamed : held_back;
  if (collected && store_->reserve(size)) {
    part_reserved_ = size;
    passing_ = Passing::Collect;
    client_part_.assign(header.begin(), header.end());
    client_part_.insert(client_part_.end(), body.begin(), body.end());
    return;
  }
  if (named) {
    passing_ = Passing::Drop;
    ++events_.parses;
    open_cycle();
    return fail_instead("53200", "out of memory for texts of prepared statements (statement_memory)", out);
  }
  begin_scan('P');
  pass(header, out);
  scan_piece(body, body, last, out);
}

// A Query beyond kFreeText is scanned as it passes, unless it may have to be refused or the server may skip
// it. Nor can the names on the server be changed any more when a text has been sent in part that turns out to
// see them.
bool Session::holds_query_back(std::uint32_t size) {
  const bool may_see_names = rewrites() && statements_ && statements_->size() != 0;
  if (policy() == Pinning::Auto && !may_see_names && !drops_unnamed_if_run()) return false;
  if (size > kHeldBack || !store_->reserve(size)) return false;
  part_reserved_ = size;
  return true;
}

void Session::begin_scan(char type) {
  passing_ = Passing::Scan;
  text_ = std::make_unique<TextScan>(type, standard_strings_, encoding_);
  text_->alone = tx_ == protocol::TxStatus::Idle && !cycle_open_ && !keeps_server() && ledger_.only_setup();
  if (type == 'Q') {
    forget_unnamed();
    server_->unnamed_sequence = 0;
    expect(Request::Query);
    return;
  }
  open_cycle();
  expect(Request::Parse);
}

// The last bytes of a text pass when it has been judged.
void Session::scan_piece(Bytes piece, Bytes text, bool last, Actions& out) {
  if (!text.empty()) text_->feed(text);
  if (!last) return pass(piece, out);
  end_scan(piece, out);
}

void Session::end_scan(Bytes last, Actions& out) {
  passing_ = Passing::None;
  const auto text = std::move(text_);
  if (skipping_) return pass(last, out);  // an earlier error has come meanwhile: the server does not read it
  const auto scanned = doubt(text->scanner.finish());
  // A PREPARE makes a name of its own; the others are about names that are not there.
  const bool needs_names =
      sees_names(scanned) && (scanned.effects.has(protocol::Effect::PreparedStatementsView) ||
                              (statements_ && statements_->size() != 0));
  auto traits = judge_text(scanned);
  if (!text->name.empty()) traits.pins |= static_cast<std::uint32_t>(Pin::Prepare);  // on this server only
  auto pins = refused(traits);
  if (needs_names) pins |= static_cast<std::uint32_t>(Pin::OwnNames);
  if (pins != 0) return refuse_scanned(*text, pins, out);
  pass(last, out);
  if (text->type == 'Q') {
    ++events_.queries;
    use(traits);
    copy_bound_ = false;
    cycle_open_ = false;
    ++cycle_;
    return hold_behind();
  }
  ++events_.parses;
  if (!text->name.empty()) return use(traits);
  forget_unnamed();
  unnamed().traits = traits;
  if (options_->mode == Mode::Session) return;
  unnamed().kind = Unnamed::OnServerOnly;
  server_->unnamed_session = id_;
  server_->unnamed_sequence = ++unnamed().sequence;
  if (ledger_.empty()) return;
  // It cannot have been answered before its last byte is sent.
  const auto mine_at = ledger_.size() - 1;
  Expected mine = std::move(ledger_.at(mine_at));
  ledger_.erase(mine_at);
  mine.unnamed = unnamed().sequence;
  ledger_.push(std::move(mine));
}

void Session::end_piecemeal(char type) noexcept {
  passing_ = Passing::None;
  if (type == 'F') hold_behind();
}

void Session::continue_message(const Slice& s, Actions& out) {
  switch (passing_) {
    case Passing::None:
    case Passing::Forward:
      if (s.last) end_piecemeal(s.type);
      return pass(s.bytes, out);
    case Passing::Drop:
      if (s.last) end_piecemeal(s.type);
      return;
    case Passing::Scan:
      return scan_piece(s.bytes, s.bytes, s.last, out);
    case Passing::Collect:
      return collect(s, out);
    case Passing::CollectHead:
      return collect_head(s, out);
  }
}

void Session::collect(const Slice& s, Actions& out) {
  if (s.type == 'P' && client_part_.size() == 5 && s.body_size > kFreeText && !skipping_) {
    const Buffer header = std::exchange(client_part_, {});
    begin_long_parse(header, s.bytes, s.body_size, s.last, out);
    if (!s.last) return;
    if (passing_ == Passing::Drop) passing_ = Passing::None;
    if (passing_ == Passing::None) return;
  } else {
    client_part_.insert(client_part_.end(), s.bytes.begin(), s.bytes.end());
  }
  if (!s.last) return;
  passing_ = Passing::None;
  store_->give_back(std::exchange(part_reserved_, 0));
  if (!skipping_ || s.type == 'S') on_message(s.type, client_part_, out);
  if (!stalled_) Buffer{}.swap(client_part_);
}

void Session::collect_head(const Slice& s, Actions& out) {
  client_part_.insert(client_part_.end(), s.bytes.begin(), s.bytes.end());
  if (skipping_) {
    passing_ = s.last ? Passing::None : Passing::Drop;
    return Buffer{}.swap(client_part_);
  }
  if (!s.last && !protocol::BindHead::decode(Bytes{client_part_}.subspan(5))) {
    if (client_part_.size() > kBindNames) malformed("the names in a Bind message are too long", out);
    return;
  }
  if (s.last) {
    passing_ = Passing::None;
    on_message('B', client_part_, out);
    if (!stalled_) Buffer{}.swap(client_part_);
    return;
  }
  passing_ = Passing::Forward;
  bind_part(out);
}

// client_part_ holds a Bind up to its names at least; what follows passes as it comes.
void Session::bind_part(Actions& out) {
  Buffer part;
  part.swap(client_part_);
  if (in_copy('B')) return eat('B', part, out);
  stalled_ = !on_bind(part, false, part_body_, out);
  if (stalled_) client_part_.swap(part);
}

// A reply has come that may decide the kept message.
void Session::retry_stalled(Actions& out) {
  if (!stalled_ || state_ != State::Active) return;
  stalled_ = false;
  if (skipping_) {  // the server will not read it
    if (passing_ == Passing::Forward) passing_ = Passing::Drop;
    if (std::exchange(switched_for_query_, false)) end_unsent_query(out);
    return Buffer{}.swap(client_part_);
  }
  if (passing_ == Passing::Forward) return bind_part(out);
  Buffer kept;
  kept.swap(client_part_);
  on_message(static_cast<char>(kept[0]), kept, out);
}

}  // namespace sidepool::pool
