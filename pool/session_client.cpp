// pool/session_client.cpp -- messages of the client: which need a server, what passes, what the ledger
// expects.
#include <algorithm>

#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::Slice;
using protocol::TxStatus;
using protocol::TxVerb;

namespace {

// A Query up to this size is looked at whole, since it may be a lone DEALLOCATE; longer ones are scanned as
// they pass.
constexpr std::uint32_t kWholeQuery = 512;
// An unnamed Parse beyond this is not kept; the client keeps its server instead until it has replaced it.
constexpr std::uint32_t kKeptUnnamed = 1U << 20;

bool known_message(char type) noexcept {
  return std::string_view("QPBDCEFSHXdcfp").find(type) != std::string_view::npos;
}

}  // namespace

void Session::on_client(Bytes& in, Actions& out) {
  input_ = in;
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
  input_ = {};
}

// Without a server: answers what needs none, asks for one otherwise. True: bytes were consumed.
bool Session::start_cycle(Bytes& in, Actions& out) {
  if (passing_ == Passing::Drop) return relay_client(in, out);
  if (in.size() < 5) return false;
  const char type = static_cast<char>(in[0]);
  const auto length = protocol::load_be32(in.data() + 1);
  if (!known_message(type) || length < 4 || length - 4 > options_->max_message) {
    malformed(known_message(type) ? "invalid message length" : "invalid frontend message type", out);
    return false;
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
      if (!whole) return false;
      in = in.subspan(1 + length);
      out.compose(Do::ToClient, [](Buffer& own) { protocol::ready_for_query(own, TxStatus::Idle); });
      return true;
    case 'C':
      if (!whole) return false;
      if (const auto t = protocol::TargetView::decode(in.subspan(5, length - 4)); t) {
        if (t->kind == 'S' && !t->name.empty()) statements().remove_now(t->name);
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
  if (state_ == State::Active && (stalled_ || sync_held_ || hold_for_ready_ || ledger_.full())) return false;
  const auto s = client_.next(in);
  if (!s) {
    if (client_.bad()) malformed("invalid message length", out);
    return false;
  }
  if (s->first) {
    begin_message(*s, out);
  } else {
    continue_message(*s, out);
  }
  return state_ == State::Active || state_ == State::Idle;
}

void Session::begin_message(const Slice& s, Actions& out) {
  if (s.type == 'X') {
    passing_ = Passing::None;
    return on_client_gone(out);
  }
  if (!known_message(s.type) || s.type == 'p') return malformed("invalid frontend message type", out);
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
  begin_long_message(s, out);
}

// A message of which only the beginning is there.
void Session::begin_long_message(const Slice& s, Actions& out) {
  part_body_ = s.body_size;
  const bool unnamed = !s.body().empty() && s.body().front() == 0;
  switch (s.type) {
    case 'Q':
      passing_ = s.body_size <= kWholeQuery ? Passing::Collect : Passing::Scan;
      break;
    case 'P':
      passing_ = unnamed && s.body_size > kKeptUnnamed ? Passing::Scan : Passing::Collect;
      break;
    case 'B':
      passing_ = Passing::CollectHead;
      break;
    case 'D':
    case 'C':
    case 'S':
    case 'c':
    case 'f':
      passing_ = Passing::Collect;
      break;
    default:  // CopyData, Execute, FunctionCall, Flush: nothing in them is looked at
      passing_ = Passing::Forward;
      if (s.type == 'E') expect(Request::Execute), open_cycle();
      if (s.type == 'F') expect(Request::FunctionCall);
      if (s.type == 'H') open_cycle();
      return pass(s.bytes, out);
  }
  if (passing_ == Passing::Scan) {
    text_ = std::make_unique<TextScan>(s.type, standard_strings_, encoding_);
    if (!s.body().empty()) text_->feed(s.body());
    forget_unnamed();
    server_->unnamed_sequence = 0;
    expect(s.type == 'Q' ? Request::Query : Request::Parse);
    if (s.type == 'P') open_cycle();
    return pass(s.bytes, out);
  }
  client_part_.assign(s.bytes.begin(), s.bytes.end());
}

void Session::continue_message(const Slice& s, Actions& out) {
  switch (passing_) {
    case Passing::None:
    case Passing::Forward:
      if (s.last) passing_ = Passing::None;
      return pass(s.bytes, out);
    case Passing::Drop:
      if (s.last) passing_ = Passing::None;
      return;
    case Passing::Scan: {
      text_->feed(s.bytes);
      pass(s.bytes, out);
      if (!s.last) return;
      passing_ = Passing::None;
      const auto traits = judge_text(text_->scanner.finish());
      if (text_->type == 'Q') {
        ++events_.queries;
        use(traits);
      } else {
        ++events_.parses;
        unnamed_kind_ = Unnamed::OnServerOnly;
        unnamed_traits_ = traits;
        server_->unnamed_session = id_;
        server_->unnamed_sequence = ++unnamed_sequence_;
      }
      text_.reset();
      return;
    }
    case Passing::Collect:
      client_part_.insert(client_part_.end(), s.bytes.begin(), s.bytes.end());
      if (!s.last) return;
      passing_ = Passing::None;
      on_message(s.type, client_part_, out);
      if (!stalled_) Buffer{}.swap(client_part_);
      return;
    case Passing::CollectHead:
      client_part_.insert(client_part_.end(), s.bytes.begin(), s.bytes.end());
      if (!s.last && !protocol::BindHead::decode(Bytes{client_part_}.subspan(5))) return;
      passing_ = s.last ? Passing::None : Passing::Forward;
      stalled_ = !on_bind(client_part_, s.last, part_body_, out);
      if (!stalled_) Buffer{}.swap(client_part_);
      return;
  }
}

// One whole message, header included. What cannot be decided before an earlier reply is kept.
void Session::on_message(char type, Bytes whole, Actions& out) {
  if (eaten_by_copy(type)) return pass(whole, out);
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
      expect(Request::Execute);
      open_cycle();
      ++events_.queries;
      pass(whole, out);
      break;
    case 'F':
      expect(Request::FunctionCall);
      ++events_.queries;
      pass(whole, out);
      break;
    case 'H':
      open_cycle();
      pass(whole, out);
      break;
    default:  // CopyData
      pass(whole, out);
      break;
  }
  if (decided) return;
  stalled_ = true;
  if (whole.data() != client_part_.data()) client_part_.assign(whole.begin(), whole.end());
}

// A reply has come that may decide the kept message.
void Session::retry_stalled(Actions& out) {
  if (!stalled_ || state_ != State::Active) return;
  stalled_ = false;
  if (skipping_) {  // the server will not read it
    if (passing_ == Passing::Forward) passing_ = Passing::Drop;
    client_part_.clear();
    return;
  }
  Buffer kept;
  kept.swap(client_part_);
  const bool partial_bind = passing_ == Passing::Forward;
  if (partial_bind) {
    stalled_ = !on_bind(kept, false, part_body_, out);
    if (stalled_) client_part_.swap(kept);
  } else {
    on_message(static_cast<char>(kept[0]), kept, out);
  }
}

// Sends bytes of the client on. Borrowed where they lie in the input of this call, copied otherwise.
void Session::pass(Bytes bytes, Actions& out) {
  wrote_ = true;
  const bool in_input =
      bytes.data() >= input_.data() && bytes.data() + bytes.size() <= input_.data() + input_.size();
  if (in_input) {
    out.send(Do::ToServer, bytes);
  } else {
    out.copy(Do::ToServer, bytes);
  }
}

void Session::expect(Request request, Reply reply) { ledger_.push({request, reply}); }

protocol::ScanResult Session::scan(std::string_view text) const noexcept {
  protocol::SqlScanner scanner(standard_strings_, encoding_);
  scanner.feed(protocol::as_bytes(text));
  return scanner.finish();
}

Traits Session::judge_text(const protocol::ScanResult& scan) const { return judge(scan, told_, startup_); }

// A text that the server is about to run.
void Session::use(const Traits& t) noexcept {
  suspect_ |= t.pins;
  local_settings_ |= t.local;
  resets_ |= t.resets;
  if (t.tx == TxVerb::Ends || t.tx == TxVerb::Unknown) committing_ = true;
  if (t.tx == TxVerb::Begins) committing_ = false;
  if (t.copy) copy_bound_ = true;
}

// False: undecided until what is outstanding has been answered.
bool Session::on_query(Bytes whole, Actions& out) {
  const auto result = scan(protocol::as_text(whole.subspan(5)));
  if (result.lone_deallocate == protocol::LoneDeallocate::Name && rewrites() && tx_ != TxStatus::Failed &&
      statements().find(result.deallocate_name())) {
    return on_lone_deallocate(result.deallocate_name(), out);
  }
  use(judge_text(result));
  copy_bound_ = false;
  if (resets_ != 0) hold_for_ready_ = true;
  forget_unnamed();
  server_->unnamed_sequence = 0;  // exec_simple_query drops it
  ++cycle_;
  ++events_.queries;
  expect(Request::Query);
  pass(whole, out);
  return true;
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
  copy_bound_ = false;
  cycle_open_ = false;
  if (resets_ != 0) hold_for_ready_ = true;
  ++cycle_;
  expect(Request::Sync);
  pass(whole, out);
}

// In COPY-in the server reads Sync and Flush without a word and takes anything but COPY messages for an
// error.
bool Session::eaten_by_copy(char type) noexcept {
  if (!copying_ || type == 'd' || type == 'c' || type == 'f') return false;
  if (ledger_.find(Request::CopyEnd) != ledger_.size()) return false;
  copy_unclear_ = true;  // only if the COPY now fails: before or after this message?
  return true;
}

void Session::on_copy_end(Bytes whole, Actions& out) {
  expect(Request::CopyEnd);
  pass(whole, out);
}

// PostgreSQL ends the session over bytes it cannot follow (SocketBackend).
void Session::malformed(std::string_view what, Actions& out) {
  server_unfit_ = true;
  fatal({"FATAL", "08P01", what, {}, {}}, out);
}

}  // namespace sidepool::pool
