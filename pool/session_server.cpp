// pool/session_server.cpp -- messages of the server: which request they answer and who gets to see them.
#include "pool/session_parts.h"
#include "protocol/letters.h"

namespace sidepool::pool {

using protocol::Slice;
using protocol::TxStatus;

namespace {

// More than the kernels on the way take for a client that does not read.
constexpr std::uint64_t kMostDropped = 8U << 20;
constexpr std::uint32_t kWholeReply = 16U << 20;  // an ErrorResponse beyond this is not PostgreSQL's
constexpr std::array<std::uint8_t, 5> kSync{'S', 0, 0, 0, 4};

// Small messages that are looked at as a whole; all others pass in pieces.
constexpr protocol::Letters kLookedAt("ZESC123nIsA");
bool looked_at(char type) noexcept { return kLookedAt.has(type); }

// Messages that answer no request.
bool unasked(char type) noexcept { return type == 'S' || type == 'N' || type == 'A' || type == 'K'; }

// Whether a message of this type can be (part of) the answer to the request.
bool answers(char type, Request r) noexcept {
  static constexpr protocol::Letters kToQuery("TDCIGHWdcZE"), kToExecute("DCIsGHWdcE");
  switch (r) {
    case Request::Query:
      return kToQuery.has(type);
    case Request::Execute:
      return kToExecute.has(type);
    case Request::FunctionCall:
      return type == 'V' || type == 'Z' || type == 'E';
    case Request::Sync:
      return type == 'Z' || type == 'E';
    case Request::Parse:
      return type == '1' || type == 'E';
    case Request::Bind:
      return type == '2' || type == 'E';
    case Request::Close:
      return type == '3' || type == 'E';
    case Request::DescribeStatement:
      return type == 't' || type == 'T' || type == 'n' || type == 'E';
    case Request::DescribePortal:
      return type == 'T' || type == 'n' || type == 't' || type == 'E';
    case Request::CopyEnd:
      return false;
  }
  return false;
}

}  // namespace

void Session::on_server(Bytes& in, Actions& out) {
  out.borrow(in);
  while (server_ && out.room()) {
    const auto s = server_->exchange.framer.next(in);
    if (!s) {
      if (server_->exchange.framer.bad()) lose_order(out);
      break;
    }
    server_message(*s, out);
  }
  out.borrow({});
}

void Session::server_message(const Slice& s, Actions& out) {
  if (looked_at(s.type) || ((s.type == 'T' || s.type == 't') && describes_next())) {
    if (s.first && s.last) return whole_reply(s.type, s.bytes, out);
    if (s.body_size > kWholeReply) return lose_order(out);
    auto& part = server_->exchange.part;
    part.insert(part.end(), s.bytes.begin(), s.bytes.end());
    if (!s.last) return;
    Buffer whole;
    whole.swap(part);
    return whole_reply(s.type, whole, out);
  }
  if (s.first) begin_reply(s, out);
  if (!server_) return;
  if (!swallow_ && !client_gone_) pass_back(s.bytes, out);
  if (state_ == State::Draining && (s.type == 'D' || s.type == 'd')) drop_rows(s.bytes.size(), out);
}

// Rows for nobody: what produces them is stopped (product.md §6, client leaves with a request running). Not
// for a row of ours, of a clean-up's for example; nor while another request follows, which is carried out:
// then only when so much has come that a direct connection would have broken, and with it what follows.
void Session::drop_rows(std::size_t size, Actions& out) {
  if (ledger_.empty() || committing_) return;
  const auto& front = ledger_.front();
  if (front.reply != Reply::Forward || front.setup) return;
  auto& dropped = server_->exchange.dropped;
  dropped += size;
  if (!ledger_.runs_behind_front() || dropped > kMostDropped) request_cancel(out);
}

// The first piece of a message that passes in pieces.
void Session::begin_reply(const Slice& s, Actions& out) {
  if (unasked(s.type)) {  // NoticeResponse
    const bool ours = !ledger_.empty() && (ledger_.front().setup || ledger_.front().reply == Reply::Swallow);
    swallow_ = client_gone_ || s.type == 'K' || ours;
    return;
  }
  pass_silent_head(out);
  if (ledger_.empty() || !answers(s.type, ledger_.front().request) ||
      ledger_.front().reply == Reply::Replace) {
    swallow_ = true;
    return lose_order(out);
  }
  swallow_ = client_gone_ || ledger_.front().reply != Reply::Forward;
  if (s.type == 'G') on_copy_in(out);
}

void Session::whole_reply(char type, Bytes whole, Actions& out) {
  switch (type) {
    case 'S':
      return on_parameter(whole, out);
    case 'A':
      return on_notification(whole, out);
    case 'E':
      return on_error(whole, out);
    default:
      break;
  }
  if (type == 'C' && !ledger_.empty() && ledger_.front().setup && ledger_.front().request == Request::Query) {
    // One command of a clean-up: many, and nothing but their end counts.
    if (!protocol::decode_command_tag(whole.subspan(5))) lose_order(out);
    return;
  }
  pass_silent_head(out);
  if (ledger_.empty() || !answers(type, ledger_.front().request)) return lose_order(out);
  if (type == 'Z') return on_ready(whole, out);
  // What had to fail has not: the server is not in the state we told.
  if (ledger_.front().reply == Reply::Replace) return lose_order(out);
  complete(type, whole, out);
}

// The message that ends the answer to the request at the head, or to a part of a Query.
void Session::complete(char type, Bytes whole, Actions& out) {
  Expected& e = ledger_.front();
  const bool own = e.reply == Reply::Forward;  // of what we have sent ourselves we have noted what it drops
  const bool shown = own && !client_gone_;
  const bool outside_block = e.request != Request::Query && tx_ == TxStatus::Idle;
  if (type == 'C') {
    const auto tag = protocol::decode_command_tag(whole.subspan(5));
    if (!tag) return lose_order(out);
    end_copy();
    if (own) on_tag(*tag), outcome_.succeeded(*tag, outside_block);
  }
  if (own && (type == 'I' || type == 's')) outcome_.succeeded({}, outside_block);
  if (type == 't' || type == 'T' || type == 'n') note_shape(e, type, whole);
  if (own) ++events_.answers;
  const bool replaced = type == 'I' && e.request == Request::Query && e.made != nullptr;
  if (shown && replaced) out.copy(Do::ToClient, *e.made);
  if (shown && !replaced) pass_back(whole, out);
  if (e.request == Request::Query || type == 't') return;  // ReadyForQuery or the rows' description ends it
  if (e.change && statements_) statements_->confirm(*e.change);
  if (!e.setup) drop_kept();
  ledger_.pop();
  after_reply(out);
}

// Something at the head is done: what waited for that may go on.
void Session::after_reply(Actions& out) {
  pass_silent_head(out);
  if (sync_held_ && ledger_.find(Request::Execute) == ledger_.size()) send_sync(kSync, out);
  retry_stalled(out);
  run_again(out);
}

void Session::on_ready(Bytes whole, Actions& out) {
  const auto status = protocol::decode_ready_for_query(whole.subspan(5));
  if (!status) return lose_order(out);
  tx_ = *status;
  skipping_ = false;
  end_copy();
  if (ledger_.front().setup) {
    setup_ready(out);  // no settling: what the client wants of this server has not come yet
    if (state_ == State::Draining) return drain(out);
    if (server_ && std::exchange(letting_go_, false)) {
      state_ = State::Active;
      return at_rest() ? release(out) : close_server(out);
    }
    if (state_ == State::Active) after_reply(out);
    return;
  }
  const bool shown = ledger_.front().reply != Reply::Swallow && !client_gone_;
  ledger_.pop();
  if (shown && resets_ != 0 && !outcome_.undone() && ledger_.empty()) tell_resets(out);
  drop_stray_copy_ends();
  if (ledger_.empty()) settings_move_ = false;
  if (tx_ == TxStatus::Idle) end_of_transaction(out);
  if (shown) pass_back(whole, out);
  if (ledger_.empty()) committing_ = false;
  if (state_ == State::Draining) return drain(out);
  if (tx_ != TxStatus::Idle && options_->mode == Mode::Statement) {
    server_unfit_ = true;
    return fatal({"FATAL", "0A000", "transaction blocks not allowed in statement pooling mode",
                  "The pool mode is \"statement\".", "Use pool mode \"transaction\"."},
                 out);
  }
  after_reply(out);
  if (!end_hold(out)) settle(out);
}

// What was held behind a cycle may go on, behind the startup values that the cycle has put back. A cancel
// that is on its way must not meet those. True: they have been sent.
bool Session::end_hold(Actions& out) {
  if (!hold_for_ready_ || !ledger_.empty() || cycle_open_ || cancels_ > 0) return false;
  hold_for_ready_ = false;
  const bool later = tx_ == TxStatus::Failed || (at_rest() && !keeps_server());  // with another server
  const auto values = later ? SettingSet{} : startup_subset(std::exchange(resets_, 0));
  if (values.empty()) return false;
  state_ = State::Preparing;
  send_replay(values, out);
  return true;
}

void Session::end_of_transaction(Actions& out) {
  ++events_.transactions;
  // What has been noted may be about requests of a pipeline that are still outstanding: then it stays.
  const bool last = ledger_.empty() && !cycle_open_;
  if (outcome_.undone() && last) {
    resets_ = 0;
    constexpr auto kOpaque = static_cast<std::uint32_t>(Pin::Opaque);
    if (outcome_.left_nothing() && (suspect_ & kOpaque) == 0) suspect_ &= ~kRolledBackPins;
  }
  const auto fresh = suspect_ & ~pins_;
  if (fresh != 0) {
    server_->require((fresh & kLastingPins) != 0 ? CleanUp::Impossible : CleanUp::Everything);
  }
  if (fresh != 0 && policy() == Pinning::Off) {
    if (last) tell_losses(fresh, out);
  } else if (fresh != 0 && options_->mode != Mode::Session) {
    pins_ |= fresh;
    events_.pins |= fresh;
    fingerprint_known_ = false;
  }
  if ((sets_ | unsets_) != 0 && !outcome_.undone()) note_set_values();
  server_->exchange.equal_before = nullptr;
  outcome_.reset();
  if (!last) return;
  note_long_text();
  sets_ = unsets_ = 0;
  suspect_ = 0;
  local_names_ = false;
  if (std::exchange(local_settings_, false)) {
    fingerprint_ = nullptr;
    fingerprint_known_ = false;
  }
  if ((pins_ & kPrivatePins) != 0) return;
  for (const auto id : server_->exchange.parsed_unclear) server_->statements.outdate(id);
  server_->exchange.parsed_unclear.clear();
}

void Session::on_parameter(Bytes whole, Actions& out) {
  const auto p = protocol::ParameterStatusView::decode(whole.subspan(5));
  if (!p || !server_->may_report(p->name, p->value)) return lose_order(out);
  const bool setup = !ledger_.empty() && ledger_.front().setup;
  const auto* base = find(server_->base, p->name);
  if (setup &&
      ledger_.front().request == Request::Query) {  // the clean-up shows what the server's own value is
    server_->base = with(server_->base, p->name, p->value);
    server_->cleaned = without(server_->cleaned, p->name);
    // The client was taken to have it from the server; the replay of the name alone is on its way.
    if (!same_name(p->name, "application_name")) server_->applied = without(server_->applied, p->name);
    return;
  }
  if (read_only(p->name)) {
    server_->base = with(server_->base, p->name, p->value);
    if (setup || client_gone_) return;
    told_ = server_->base;
    return pass_back(whole, out);
  }
  server_->applied = base && *base == p->value ? without(server_->applied, p->name)
                                               : with(server_->applied, p->name, p->value);
  if (setup || client_gone_) return;
  const bool to_base = base && *base == p->value;
  // A RESET of the client's: the value it returns to is the startup one, which is put back after this cycle
  // and told before its ReadyForQuery.
  if (to_base && resets_ != 0 && startup_subset(resets_).find(p->name)) return;
  const auto* own = find(overrides_, p->name);
  auto& equal_before = server_->exchange.equal_before;
  if (base && !to_base && own && *own == *base) equal_before = with(equal_before, p->name, *base);
  // A ROLLBACK, or the end of a SET LOCAL: the client's own value is back, which is the server's too.
  const bool back = to_base && find(equal_before, p->name) && (unsets_ & reported_bit(p->name)) == 0;
  if (back) server_->applied = with(server_->applied, p->name, p->value);
  // With no text outstanding that sets anything, and none in this transaction that its end puts back, it has
  // come with a reload of the configuration, or a function.
  const bool asked = to_base || settings_move_ || local_settings_;
  unasked_ = asked ? without(unasked_, p->name) : with(unasked_, p->name, p->value);
  change_overrides(to_base && !back ? without(overrides_, p->name) : with(overrides_, p->name, p->value));
  pass_back(whole, out);
}

// PostgreSQL reports changes only: that a SET names the value which is there anyway, or that a RESET lets it
// go, is seen in the text alone.
void Session::note_set_values() {
  for (std::size_t i = 0; (sets_ | unsets_) >> i != 0 && i < kReportedNames.size(); ++i) {
    const auto name = kReportedNames[i];
    const auto* base = find(server_->base, name);
    if (!base) continue;
    const auto* own = find(overrides_, name);
    if ((sets_ >> i & 1) != 0) {
      unasked_ = without(unasked_, name);
      if (own) continue;
      server_->applied = with(server_->applied, name, *base);
      change_overrides(with(overrides_, name, *base));
    } else if ((unsets_ >> i & 1) != 0 && own && *own == *base && !find(startup_, name)) {
      server_->applied = without(server_->applied, name);
      change_overrides(without(overrides_, name));
    }
  }
}

// The cycle has put settings back, for this client to its startup values.
void Session::tell_resets(Actions& out) {
  for (const auto& [name, value] : startup_subset(resets_)) {
    const auto* now = find(overrides_, name);
    if (!now) now = find(told_, name);
    if (!now || *now == value) continue;
    out.compose(Do::ToClient,
                [&n = name, &v = value](Buffer& own) { protocol::parameter_status(own, n, v); });
    change_overrides(with(overrides_, name, value));
  }
}

void Session::on_tag(std::string_view tag) {
  if (tag == "LISTEN") suspect_ |= static_cast<std::uint32_t>(Pin::Listen);
  if (tag == "PREPARE") suspect_ |= static_cast<std::uint32_t>(Pin::Prepare);
  if (tag == "LOAD") suspect_ |= static_cast<std::uint32_t>(Pin::Load);
  if (tag == "DEALLOCATE ALL") forget_statements();
  if (tag == "DISCARD ALL") {
    forget_statements();
    own_names_ = false;
    fingerprint_known_ = false;
    if (ledger_.runs_behind_front()) return;  // what has been noted may be about that
    pins_ = suspect_ = 0;
    if (server_->clean_up == CleanUp::Everything) server_->clean_up = CleanUp::Parameters;
  }
}

// The server has dropped all named statements, this client's and ours.
void Session::forget_statements() noexcept {
  if (statements_) statements_->clear();
  server_->statements.clear();
  server_->replay_prepared = false;
}

void Session::on_notification(Bytes whole, Actions& out) {
  static constexpr auto kListen = static_cast<std::uint32_t>(Pin::Listen);
  if (whole.size() < 9) return lose_order(out);
  if (options_->mode != Mode::Session && ((pins_ | suspect_) & kListen) == 0) {
    // Somebody's LISTEN that no signal showed, in a function: not for this client, and the server needs more
    // than a reset of its settings.
    server_->require(CleanUp::Everything);
    return;
  }
  if (client_gone_) return;
  Buffer copy(whole.begin(), whole.end());
  if (protocol::load_be32(copy.data() + 5) == server_->backend_pid && client_pid_ != 0) {
    protocol::store_be32(copy.data() + 5, client_pid_);
  }
  out.copy(Do::ToClient, copy);
}

// The replies that the server was not asked for and whose turn has come.
void Session::answer_invented(Actions& out) {
  while (!ledger_.empty() && ledger_.front().reply == Reply::Invent) {
    Expected& e = ledger_.front();
    if (!client_gone_) out.copy(Do::ToClient, *e.made);
    if (e.change && statements_) statements_->confirm(*e.change);
    ledger_.pop();
  }
}

}  // namespace sidepool::pool
