// pool/session_client.cpp -- messages of the client: which need a server, what passes, what the ledger
// expects.
#include <algorithm>

#include "pool/session_parts.h"
#include "protocol/letters.h"

namespace sidepool::pool {

using protocol::Slice;
using protocol::TxStatus;

namespace {

constexpr protocol::Letters kKnown("QPBDCEFSHXdcf"), kSmall("CDEHSXcf");

bool known_message(char type) noexcept { return kKnown.has(type); }

// PostgreSQL takes no more for these (PQ_SMALL_MESSAGE_LIMIT in SocketBackend; its length counts itself).
bool too_long(char type, std::uint32_t body) noexcept {
  constexpr std::uint32_t kSmallMessage = 10000;
  return kSmall.has(type) && body > kSmallMessage - 4;
}

std::string unknown_type(char type) {
  return "invalid frontend message type " + std::to_string(static_cast<unsigned char>(type));
}

}  // namespace

void Session::on_client(Bytes& in, Actions& out) {
  out.borrow(in);
  for (bool more = true; more && out.room();) {
    switch (state_) {
      case State::Idle:
        more = start_cycle(in, out);
        break;
      case State::Active:
        more = relay_client(in, out);
        break;
      case State::Refusing:
      case State::RefusedTransaction: {
        const auto before = in.size();
        refuse_input(in, out);
        more = in.size() != before;
        break;
      }
      case State::Login:
      case State::Waiting:
      case State::Preparing:
      case State::Draining:
      case State::Closed:
        more = false;
        break;
    }
  }
  out.borrow({});
}

// Without a server: answers what needs none, asks for one otherwise. True: bytes were consumed.
bool Session::start_cycle(Bytes& in, Actions& out) {
  if (passing_ == Passing::Drop) return relay_client(in, out);
  if (in.size() < 5) return false;
  const char type = static_cast<char>(in[0]);
  const auto length = protocol::load_be32(in.data() + 1);
  if (!known_message(type)) return malformed(unknown_type(type), out), false;
  if (length < 4 || length - 4 > options_->max_message || too_long(type, length - 4)) {
    return bad_length(type, length, out), false;
  }
  const bool whole = in.size() - 1 >= length;
  switch (type) {
    case 'X':
    case 'd':
    case 'c':
    case 'f':
    case 'H':
      return relay_client(in, out);
    case 'S':
      if (length != 4) break;
      in = in.subspan(1 + length);
      out.compose(Do::ToClient, [](Buffer& own) { protocol::ready_for_query(own, TxStatus::Idle); });
      return true;
    case 'C':
      if (!whole) return false;
      if (const auto t = protocol::TargetView::decode(in.subspan(5, length - 4)); t) {
        if (t->kind == 'S' && !t->name.empty()) statements().remove_now(t->name.substr(0, 63));
        if (t->kind == 'S' && t->name.empty()) forget_unnamed();
        in = in.subspan(1 + length);
        out.compose(Do::ToClient, [](Buffer& own) { protocol::close_complete(own); });
        return true;
      }
      break;
    default:
      break;
  }
  acquire(out);
  return false;
}

bool Session::relay_client(Bytes& in, Actions& out) {
  if (state_ == State::Active && !takes_client_input()) return false;
  const auto s = client_.next(in);
  if (!s) {
    if (client_.bad()) bad_length(client_.bad_type(), client_.bad_length(), out);
    return false;
  }
  if (s->first) {
    begin_message(*s, out);
  } else {
    continue_message(*s, out);
  }
  flush_if_full(out);
  return state_ == State::Active || state_ == State::Idle;
}

void Session::begin_message(const Slice& s, Actions& out) {
  if (s.type == 'X') {
    passing_ = Passing::None;
    return on_client_gone(out);
  }
  if (!known_message(s.type)) {
    if (state_ != State::Active || ledger_.empty()) return malformed(unknown_type(s.type), out);
    return spoil(s.bytes.first(1), out);
  }
  if (too_long(s.type, s.body_size)) return bad_length(s.type, s.body_size + 4, out);
  // The server reads nothing but Sync now; without a server only late COPY messages and Flush get here.
  const bool ignored = state_ == State::Idle || (skipping_ && s.type != 'S');
  if (ignored) {
    passing_ = s.last ? Passing::None : Passing::Drop;
    return;
  }
  if (s.last) {
    passing_ = Passing::None;
    return on_message(s.type, s.bytes, out);
  }
  if (in_copy(s.type)) {
    passing_ = s.type == 'S' || s.type == 'H' ? Passing::Drop : Passing::Forward;
    return eat(s.type, s.bytes, out);
  }
  begin_long_message(s, out);
}

// PostgreSQL sends its replies at a Sync or when its buffer is full; nothing more is taken from the client
// until some have come.
void Session::flush_if_full(Actions& out) {
  if (state_ != State::Active || !ledger_.full() || !cycle_open_ || skipping_) return;
  out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
}

// One whole message, header included. What cannot be decided before an earlier reply is kept.
void Session::on_message(char type, Bytes whole, Actions& out) {
  if (in_copy(type)) return eat(type, whole, out);
  if (!server_->exchange.put_off.empty()) end_putting_off(type, whole, out);
  if (!keeping_) drop_kept();  // it is behind the cycle that is kept
  bool decided = true;
  part_body_ = static_cast<std::uint32_t>(whole.size() - 5);
  switch (type) {
    case 'Q':
      decided = on_query(whole, out);
      break;
    case 'P':
      decided = on_parse(whole, out);
      break;
    case 'B':
      decided = on_bind(whole, true, part_body_, out);
      break;
    case 'D':
      decided = on_describe(whole, out);
      break;
    case 'C':
      decided = on_close(whole, out);
      break;
    case 'S':
      on_sync(whole, out);
      break;
    case 'c':
    case 'f':
      on_copy_end(whole, out);
      break;
    case 'E':
      on_execute(whole);
      ++events_.queries;
      pass(whole, out);
      break;
    case 'F':
      decided = on_function_call(whole, out);
      break;
    default:  // CopyData, Flush
      if (type == 'd') note_copy_data();
      pass(whole, out);
      break;
  }
  if (decided) return keep(type, whole);
  stalled_ = true;
  if (whole.data() != client_part_.data()) client_part_.assign(whole.begin(), whole.end());
}

// Sends bytes of the client on.
void Session::pass(Bytes bytes, Actions& out) {
  wrote_ = true;
  out.pass(Do::ToServer, bytes);
}

// False: undecided.
bool Session::on_function_call(Bytes whole, Actions& out) {
  if (behind_alone(out)) return false;
  const auto traits = judge_call(whole.subspan(5));
  if (const auto pins = refused(traits)) return refuse_call(pins, out);
  use(traits);
  note_call();
  hold_behind();
  expect(Request::FunctionCall);
  pass(whole, out);
  return true;
}

void Session::expect(Request request, Reply reply) { ledger_.push({request, reply}); }

void Session::on_execute(Bytes whole) {
  open_cycle();
  alone_flushed_ = false;
  reset_ran_ = resets_ != 0;
  auto& x = server_->exchange;
  const bool deallocates =
      !x.deallocates_bound.empty() && protocol::Reader(whole.subspan(5)).cstr() == x.deallocates_portal;
  if (!deallocates) return expect(Request::Execute);
  const auto name = std::exchange(x.deallocates_bound, {});
  const auto id = std::exchange(x.stands_for_bound, StatementId::None);
  server_->statements.remove(id);
  const auto* e = statements().find(name);
  const bool the_same = e && (own_names_ || e->statement->id == id);
  ledger_.push(
      {Request::Execute, Reply::Forward, false, id, the_same ? statements().remove(name, cycle_) : nullptr});
}

// False: undecided until what is outstanding has been answered.
bool Session::on_query(Bytes whole, Actions& out) {
  if (behind_alone(out) || (switched_for_query_ && !ledger_.empty())) return false;
  if (drops_unnamed_if_run()) {
    out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
    return false;
  }
  switched_for_query_ = false;
  const auto result = scan(protocol::as_text(whole.subspan(5)));
  if (result.lone_deallocate == protocol::LoneDeallocate::Name && rewrites()) {
    const auto name = result.deallocate_name();
    if (statements().undecided(name, cycle_)) return false;
    if (tx_ != TxStatus::Failed && statements().find(name)) return on_lone_deallocate(name, out);
  }
  // Deallocated under its own name.
  const bool lone = result.lone_deallocate == protocol::LoneDeallocate::Name;
  if (lone && own_names_ && ledger_.empty() && tx_ != TxStatus::Failed) {
    statements().remove_now(result.deallocate_name());
  }
  const auto traits = judge_text(result);
  if (const auto pins = refused(traits)) return refuse_query(pins, out);
  if (!give_own_names(traits, out) || wait_for_names(out)) return false;
  if (resets_too_soon(traits) || must_not_end_setup(traits)) return false;
  use(traits);
  note_query();
  expect(Request::Query);
  pass(whole, out);
  return true;
}

// Behind an error in its cycle the server skips a Query, and the client's unnamed statement stays.
bool Session::drops_unnamed_if_run() const noexcept {
  return cycle_open_ && !ledger_.empty() && unnamed_ && unnamed_->kind != Unnamed::None;
}

void Session::note_query() {
  note_call();
  hold_behind();
  forget_unnamed();
  server_->unnamed_sequence = 0;  // exec_simple_query drops it
}

// A FunctionCall, and what it has in common with a Query; hold_behind() follows when all of it has passed.
void Session::note_call() {
  copy_bound_ = false;
  cycle_open_ = false;  // it ends the transaction that extended messages before it have begun
  ++cycle_;
  ++events_.queries;
}

void Session::on_sync(Bytes whole, Actions& out) {
  // Behind an Execute that may turn to COPY-in it is open whether the server answers this Sync: in COPY-in it
  // reads it without a word. So the reply is asked for by a Flush, which earns nothing either way, and the
  // Sync goes out only if the server is not in COPY-in then.
  if (copy_bound_ && !copying_ && ledger_.find(Request::Execute) != ledger_.size()) {
    sync_held_ = true;
    out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
    return;
  }
  send_sync(whole, out);
}

void Session::send_sync(Bytes whole, Actions& out) {
  sync_held_ = false;
  skipping_ = false;  // the server reads on behind it
  copy_bound_ = false;
  cycle_open_ = false;
  hold_behind();
  ++cycle_;
  expect(Request::Sync);
  pass(whole, out);
}

// What came before is answered first; then PostgreSQL reads this and closes.
void Session::spoil(Bytes bytes, Actions& out) {
  passing_ = Passing::Drop;
  spoiled_ = server_unfit_ = true;
  pass(bytes, out);
}

void Session::bad_length(char type, std::uint32_t length, Actions& out) {
  if (state_ != State::Active || ledger_.empty()) {
    const bool ours = length > 4 && length - 4 > options_->max_message && length - 4 <= protocol::kMaxBody;
    return malformed(ours ? "invalid message length: longer than max_message" : kBadLength, out);
  }
  const std::array<std::uint8_t, 5> header{static_cast<std::uint8_t>(type)};  // a length of zero
  spoil(header, out);
}

// PostgreSQL ends the session over bytes it cannot follow (SocketBackend).
void Session::malformed(std::string_view what, Actions& out) {
  server_unfit_ = true;
  fatal({"FATAL", "08P01", what, {}, {}}, out);
}

}  // namespace sidepool::pool
