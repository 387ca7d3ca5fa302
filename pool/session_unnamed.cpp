// pool/session_unnamed.cpp -- the unnamed statement across Sync, and DEALLOCATE of a protocol-level name.
#include <algorithm>

#include "pool/session_parts.h"

namespace sidepool::pool {

UnnamedStatement& Session::unnamed() {
  if (!unnamed_) unnamed_ = std::make_unique<UnnamedStatement>();
  return *unnamed_;
}

void Session::forget_unnamed() noexcept {
  if (!unnamed_) return;
  auto& u = *unnamed_;
  if (u.body.size() > kFreeText) store_->give_back(u.body.size());
  u.body.clear();
  if (u.body.capacity() > 4096) Buffer{}.swap(u.body);
  u.kind = Unnamed::None;
  u.deallocates.clear();
  u.stands_for = StatementId::None;
  u.told = {};
  u.misled = false;
}

// A text that cannot be parsed again keeps its server from the end of its transaction on.
void Session::note_long_text() noexcept {
  static constexpr auto kLong = static_cast<std::uint32_t>(Pin::LongText);
  const bool keeps = unnamed_on_server_only() && policy() == Pinning::Auto;
  events_.pins |= keeps ? kLong & ~pins_ : 0;
  pins_ = keeps ? pins_ | kLong : pins_ & ~kLong;
}

// Whether the server has read this client's last text is not known before an earlier cycle has been answered.
bool Session::unnamed_unsettled() {
  if (ledger_.undecided(
          [](const Expected& e) { return e.unnamed != 0 || e.statement == StatementId::Replay; })) {
    return true;
  }
  if (unnamed().deallocates.empty() || !rewrites()) return false;
  if (statements().undecided(unnamed().deallocates, cycle_)) return true;
  const auto* target = unnamed_target();
  return target && unsettled(target->statement);
}

// The statement that an unnamed DEALLOCATE is about now, if it is a protocol-level one under a name of ours.
const ClientStatements::Entry* Session::unnamed_target() {
  if (unnamed().deallocates.empty() || !rewrites()) return nullptr;
  return statements().find(unnamed().deallocates);
}

// Runs under the server's name for it, so that errors, tag and transaction are PostgreSQL's own.
void Session::put_unnamed_deallocate(const Statement& target, Bytes tail, Actions& out) {
  std::string text = "DEALLOCATE " + target.name;
  const auto types = protocol::as_text(tail);
  text += types.substr(std::min(types.find('\0'), types.size()));
  out.compose(Do::ToServer, [&](Buffer& own) { put_parse(own, "", protocol::as_bytes(text)); });
}

// False: undecided.
bool Session::parse_unnamed(Bytes whole, Bytes tail, Actions& out) {
  const auto result = scan(protocol::as_text(tail));
  const bool deallocates = result.lone_deallocate == protocol::LoneDeallocate::Name && rewrites();
  if (deallocates) {
    if (statements().undecided(result.deallocate_name(), cycle_)) return false;
    const auto* e = statements().find(result.deallocate_name());
    if (e && unsettled(e->statement)) return false;
  }
  auto traits = judge_text(result);
  if (deallocates) traits.pins &= ~static_cast<std::uint32_t>(Pin::OwnNames);  // by our name for it
  if (const auto pins = refused(traits)) return refuse_parse("", pins, out);
  if (!give_own_names(traits, out)) return false;
  ++events_.parses;
  open_cycle();
  forget_unnamed();
  unnamed().traits = traits;
  if (options_->mode == Mode::Session) {
    expect(Request::Parse);
    return pass(whole, out), true;
  }
  unnamed().fingerprint = fingerprint();
  const bool kept = tail.size() <= kFreeText || store_->reserve(tail.size());
  unnamed().kind = kept ? Unnamed::Kept : Unnamed::OnServerOnly;
  if (kept) unnamed().body.assign(tail.begin(), tail.end());
  server_->unnamed_session = id_;
  server_->unnamed_sequence = ++unnamed().sequence;
  if (deallocates) unnamed().deallocates = result.deallocate_name();
  const auto* target = unnamed_target();
  if (target) {
    unnamed().stands_for = target->statement->id;
    ensure_on_server(*target, out);
    put_unnamed_deallocate(*target->statement, tail, out);
    wrote_ = true;
  }
  Expected parse{Request::Parse};
  parse.unnamed = unnamed().sequence;
  ledger_.push(std::move(parse));
  if (!target) pass(whole, out);
  return true;
}

// Before a request for the unnamed statement: the server's must be this client's last one.
void Session::ensure_unnamed(Actions& out) {
  if (options_->mode == Mode::Session) return;
  const bool there = server_->unnamed_session == id_ && server_->unnamed_sequence == unnamed().sequence;
  const auto* target = unnamed_target();  // DEALLOCATE looks for the name when it runs
  const auto stands_for = target ? target->statement->id : StatementId::None;
  const bool same = unnamed().stands_for == stands_for || unnamed().kind != Unnamed::Kept;
  if (target) ensure_on_server(*target, out);
  if (unnamed().kind != Unnamed::None && there && same) return;
  if (unnamed().kind != Unnamed::Kept) {  // then the request has to fail, whatever text the server has there
    unnamed().kind = Unnamed::None;
    out.compose(Do::ToServer, [](Buffer& own) { protocol::close(own, 'S', ""); });
    expect(Request::Close, Reply::Swallow);
    server_->unnamed_sequence = 0;
    return;
  }
  ++events_.reparses;
  unnamed().stands_for = stands_for;
  parse_under(unnamed().fingerprint, out, true);
  if (target) {
    put_unnamed_deallocate(*target->statement, unnamed().body, out);
  } else {
    out.compose(Do::ToServer, [this](Buffer& own) { put_parse(own, "", unnamed().body); });
  }
  Expected parse{Request::Parse, Reply::Swallow};
  parse.unnamed = unnamed().sequence;
  ledger_.push(std::move(parse));
  parse_under(unnamed().fingerprint, out, false);
  server_->unnamed_session = id_;
  server_->unnamed_sequence = unnamed().sequence;
}

// Query with nothing but DEALLOCATE of a protocol-level name. False: undecided.
bool Session::on_lone_deallocate(std::string_view name, Actions& out) {
  if (!ledger_.empty()) {  // it may fail with what is outstanding
    if (cycle_open_) out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
    return false;
  }
  statements().remove_now(name);
  forget_unnamed();
  note_long_text();
  ++events_.queries;
  if (cycle_open_) {
    // It commits what extended messages before it have done: so does an empty Query, whose answer it takes
    // the place of.
    auto made = std::make_unique<Buffer>();
    protocol::command_complete(*made, "DEALLOCATE");
    out.compose(Do::ToServer, [](Buffer& own) { protocol::query(own, ""); });
    ledger_.push({Request::Query, Reply::Forward, false, StatementId::None, nullptr, std::move(made)});
    server_->unnamed_sequence = 0;
    cycle_open_ = false;
    ++cycle_;
    wrote_ = true;
    return true;
  }
  out.compose(Do::ToClient, [this](Buffer& own) {
    protocol::command_complete(own, "DEALLOCATE");
    protocol::ready_for_query(own, tx_);
  });
  settle(out);
  return true;
}

}  // namespace sidepool::pool
