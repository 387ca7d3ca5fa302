// pool/session_names.cpp -- SQL that sees the names of prepared statements: the client's server gets exactly
// this client's, under its own names, and the client keeps it (product.md §5, Prepared statements).
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::Effect;
using protocol::TxStatus;

// Names that PREPARE makes and Parse finds are the same ones.
bool Session::sees_names(const protocol::ScanResult& scan) const noexcept {
  if (!rewrites() || scan.effects.none()) return false;
  if (scan.effects.has(Effect::PreparedStatementsView)) return true;
  if (scan.effects.has(Effect::Prepare) && policy() == Pinning::Auto) return true;
  // Somebody's function may have prepared a statement on this server without a word of it.
  if (scan.effects.has(Effect::ExecutePrepared) && !sql_may_have_prepared()) return true;
  if (!statements_ || statements_->size() == 0) return false;
  const bool lone = scan.lone_deallocate == protocol::LoneDeallocate::Name;
  if (lone && !statements_->find(scan.deallocate_name())) return false;
  return scan.effects.has_any(Effect::Prepare | Effect::ExecutePrepared | Effect::Deallocate);
}

// Before a text that sees names. False: what is outstanding decides first which there are.
bool Session::give_own_names(const Traits& t, Actions& out) {
  if (!needs_own_names(t) || own_names_) return true;
  if (!ledger_.empty()) {
    if (cycle_open_) out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
    return false;
  }
  if (cancels_ > 0) return false;                  // it would meet the switch
  if (tx_ != TxStatus::Failed) switch_names(out);  // else PostgreSQL does not run the text
  return true;
}

// Behind a cycle without a Sync, which would commit what came before: a switch that fails makes the server
// skip this Query, and then nobody would answer it. True: the switch is answered first.
bool Session::wait_for_names(Actions& out) {
  if (!cycle_open_ || ledger_.empty() || !ledger_.at(ledger_.size() - 1).renames) return false;
  switched_for_query_ = true;
  out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
  return true;
}

// The switch has failed, and so has the Query it was for: the client has read why.
void Session::end_unsent_query(Actions& out) {
  note_query();
  skipping_ = false;
  expect(Request::Sync);
  out.compose(Do::ToServer, [](Buffer& own) { protocol::sync(own); });
}

// Outside a cycle each statement has a Sync of its own, so that one which cannot be parsed any more costs
// nothing but itself. Inside one a Sync would commit; there its error is the client's.
void Session::switch_names(Actions& out) {
  static constexpr auto kOwn = static_cast<std::uint32_t>(Pin::OwnNames);
  const bool setup = !cycle_open_;
  const auto expect_close = [&](StatementId id) {
    ledger_.push({Request::Close, Reply::Swallow, setup, id});
    ledger_.at(ledger_.size() - 1).renames = true;
  };
  switching_ = true;
  if (setup && !sql_may_have_prepared()) {  // also what nobody knows of
    out.compose(Do::ToServer, [](Buffer& own) { protocol::query(own, "DEALLOCATE ALL"); });
    ledger_.push({Request::Query, Reply::Swallow, true});
    ledger_.at(ledger_.size() - 1).renames = true;
    server_->statements.clear();
    server_->replay_prepared = false;
  }
  for (const auto& [name, entry] : statements().all()) {
    if (entry.statement) put_under_own_name(name, *entry.statement, out);
  }
  server_->statements.for_each([&](StatementId id) {
    out.compose(Do::ToServer, [&](Buffer& own) { protocol::close(own, 'S', store_->name_of(id)); });
    expect_close(id);
  });
  server_->statements.clear();
  if (std::exchange(server_->replay_prepared, false)) {
    out.compose(Do::ToServer, [this](Buffer& own) { protocol::close(own, 'S', store_->replay_name()); });
    expect_close(StatementId::Replay);
  }
  if (setup && !ledger_.empty() && ledger_.at(ledger_.size() - 1).request != Request::Sync) {
    out.compose(Do::ToServer, [](Buffer& own) { protocol::sync(own); });
    ledger_.push({Request::Sync, Reply::Swallow, true});
    ledger_.at(ledger_.size() - 1).renames = true;
  }
  switching_ = false;
  own_names_ = wrote_ = true;
  server_->exchange.parsed_unclear.clear();
  server_->require(CleanUp::Everything);
  events_.pins |= kOwn & ~pins_;
  pins_ |= kOwn;
}

void Session::put_under_own_name(const std::string& name, const Statement& statement, Actions& out) {
  const bool setup = !cycle_open_;
  const auto swallow = [&](Request r) {
    ledger_.push({r, Reply::Swallow, setup});
    ledger_.at(ledger_.size() - 1).renames = true;
  };
  ++events_.reparses;
  out.compose(Do::ToServer, [&](Buffer& own) { protocol::close(own, 'S', name); });  // of an earlier switch
  swallow(Request::Close);
  parse_under(statement.fingerprint, out, true);
  out.compose(Do::ToServer, [&](Buffer& own) { put_parse(own, name, protocol::as_bytes(statement.tail)); });
  swallow(Request::Parse);
  parse_under(statement.fingerprint, out, false);
  if (!setup) return;
  out.compose(Do::ToServer, [](Buffer& own) { protocol::sync(own); });
  swallow(Request::Sync);
}

// The table still tells what the text of a name does when it is bound.
bool Session::parse_own(const protocol::ParseView& p, Bytes whole, Actions& out) {
  const auto name = p.name.substr(0, kNameBytes);
  if (statements().undecided(name, cycle_)) return false;
  const bool too_many = !statements().find(name) && statements().size() >= options_->max_client_statements;
  StatementRef statement;
  const auto tail = whole.subspan(5 + p.name.size() + 1);
  if (!too_many) statement = store_->intern(scope_, tail, fingerprint(), scan(p.query));
  ++events_.parses;
  open_cycle();
  if (!statement) return refuse_statements(too_many, out), true;
  ledger_.push({Request::Parse, Reply::Forward, false, StatementId::None,
                statements().add(name, std::move(statement), cycle_)});
  pass(whole, out);
  return true;
}

// What a Bind of this name does. False: undecided.
bool Session::bind_own(std::string_view name) {
  if (statements().undecided(name, cycle_)) return false;
  const auto* known = statements().find(name);
  if (!known) return true;
  const auto traits = judge_text(known->statement->scan);
  if (resets_too_soon(traits)) return false;
  use(traits);
  return true;
}

bool Session::close_own(std::string_view name, Bytes whole, Actions& out) {
  if (statements().undecided(name, cycle_)) return false;
  open_cycle();
  ledger_.push({Request::Close, Reply::Forward, false, StatementId::None, statements().remove(name, cycle_)});
  pass(whole, out);
  return true;
}

}  // namespace sidepool::pool
