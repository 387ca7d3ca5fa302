// pool/session_prepare.cpp -- between grant and the client's first byte: clean-up and replay (product.md §5).
#include <array>

#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::ErrorFields;

namespace {

// Whatever a function or a trigger may have left without a word of it in any text that passed: settings, a
// role, cursors WITH HOLD, LISTEN, temporary tables, what lastval() shows, advisory locks. Prepared
// statements stay, they are ours. In a block, so that a client's statements behind it cannot run if it fails:
// those are sent before its answer has come. The locks come last: a SELECT takes a snapshot, under the
// isolation of the settings.
constexpr std::string_view kResetSettings =
    "BEGIN; RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; "
    "COMMIT; SELECT pg_catalog.pg_advisory_unlock_all()";
// Where none of the prepared statements is ours, as names pass untouched, those go too.
constexpr std::string_view kResetSettingsAndNames =
    "BEGIN; RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; "
    "DEALLOCATE ALL; COMMIT; SELECT pg_catalog.pg_advisory_unlock_all()";
constexpr std::string_view kResetEverything = "DISCARD ALL";
constexpr std::string_view kReplay =
    "SELECT pg_catalog.set_config(n, v, false) FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), "
    "pg_catalog.unnest($2::pg_catalog.text[])) AS t(n, v)";
constexpr std::uint32_t kTextOid = 25, kTextArrayOid = 1009;
constexpr ErrorFields kCleanUpFailed{
    "FATAL", "08006", "the database connection could not be prepared for this session",
    "Cleaning the connection up after another client failed; it has been closed.", "Connect again."};

void put_be16(Buffer& out, std::uint16_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}
void put_be32(Buffer& out, std::uint32_t v) {
  out.resize(out.size() + 4);
  protocol::store_be32(out.data() + out.size() - 4, v);
}

// Which values of a set one Bind carries: client_encoding goes alone and first, since it decides how the
// server reads the others.
bool in_this_bind(const SettingSet::Entry& e, bool encoding) noexcept {
  return same_name(e.first, "client_encoding") == encoding && !read_only(e.first);
}

// A text[] in binary format (array_recv): values need no quoting in any encoding. `which`: 0 names, 1 values.
// `role` comes last, because it decides what may be set after it.
void put_array(Buffer& out, const SettingSet& values, bool encoding, int which) {
  const auto at = out.size();
  put_be32(out, 0);  // the length, known at the end
  put_be32(out, 1);  // dimensions
  put_be32(out, 0);  // no nulls
  put_be32(out, kTextOid);
  const auto count_at = out.size();
  put_be32(out, 0);
  put_be32(out, 1);  // lower bound
  std::uint32_t count = 0;
  for (const bool role : {false, true}) {
    for (const auto& e : values) {
      if (!in_this_bind(e, encoding) || same_name(e.first, "role") != role) continue;
      const std::string& text = which == 0 ? e.first : e.second;
      put_be32(out, static_cast<std::uint32_t>(text.size()));
      protocol::append(out, text);
      ++count;
    }
  }
  protocol::store_be32(out.data() + count_at, count);
  protocol::store_be32(out.data() + at, static_cast<std::uint32_t>(out.size() - at - 4));
}

// Nearly every driver sets this one, PostgreSQL takes any value of it, and no statement's meaning depends on
// it: so its replay is not waited for, as a clean-up is not. Should it fail all the same, the server is
// closed and nothing from it is forwarded.
bool only_application_name(const SettingSet& values) noexcept {
  return values.size() == 1 && same_name(values.begin()->first, "application_name");
}

void put_bind(Buffer& out, std::string_view portal, std::string_view statement, const SettingSet& values,
              bool encoding) {
  out.push_back('B');
  const auto at = out.size();
  put_be32(out, 0);
  protocol::append(out, portal);
  out.push_back(0);
  protocol::append(out, statement);
  out.push_back(0);
  put_be16(out, 1), put_be16(out, 1);  // all parameters binary
  put_be16(out, 2);
  put_array(out, values, encoding, 0);
  put_array(out, values, encoding, 1);
  put_be16(out, 0);  // results as text
  protocol::store_be32(out.data() + at, static_cast<std::uint32_t>(out.size() - at));
}

}  // namespace

void Session::prepare(Actions& out) {
  state_ = State::Preparing;
  // A client whose names pass untouched sees all that are there, and can run them.
  if (!rewrites() && server_->has_our_statements()) server_->require(CleanUp::Everything);
  if (overrides_ && unasked_) drop_equal_overrides();
  const bool same = has_values();
  const bool own = options_->isolation == Isolation::Tracked ? same : server_->used_by(id_, version_);
  const bool other_values = !same && !equal(server_->applied, nullptr);
  const bool everything = server_->clean_up == CleanUp::Everything;
  if (everything || (server_->clean_up == CleanUp::Parameters && !own) || other_values) {
    send_clean_up(out);
  } else if (same) {
    server_->applied = overrides_;
  }
  server_->last_session = {};  // until this client gives it back
  if (!equal(server_->applied, overrides_)) {
    const auto missing = missing_values();
    const bool waits = everything || login_ || !(missing.empty() || only_application_name(missing));
    if (waits) return send_replay(*overrides_, out);
    if (!missing.empty()) send_replay(missing, out);
    keep_equal_overrides();
  }
  if (!everything) prepared(out);  // the other clean-up is not waited for: if it fails nothing behind it runs
}

void Session::send_clean_up(Actions& out) {
  const bool everything = server_->clean_up == CleanUp::Everything;
  if (everything) {  // DISCARD ALL deallocates our statements too
    server_->statements.clear();
    server_->replay_prepared = false;
  }
  const auto text = everything ? kResetEverything : rewrites() ? kResetSettings : kResetSettingsAndNames;
  out.compose(Do::ToServer, [text](Buffer& own) { protocol::query(own, text); });
  ledger_.push({Request::Query, Reply::Swallow, true});
  server_->clean_up = CleanUp::None;  // should it fail, the server is closed
  server_->cleaned = std::exchange(server_->applied, nullptr);
  server_->unnamed_sequence = 0;  // a simple Query drops the unnamed statement
  server_->last_session = {};
  ++events_.resets;
}

void Session::send_replay(const SettingSet& values, Actions& out) {
  need_replay_statement(true, out);
  send_set_config(values, true, out);
  send_set_config(values, false, out);
  hide_replay_statement(true, out);
  out.compose(Do::ToServer, [](Buffer& own) { protocol::sync(own); });
  ledger_.push({Request::Sync, Reply::Swallow, true});
  // Of a reported one ParameterStatus tells how PostgreSQL spells the value, and that it is the server's own
  // one by saying nothing; only that of application_name is not waited for.
  if (&values == overrides_.get() && only_application_name(values)) {
    server_->applied = overrides_;
  } else {
    for (const auto& e : values) {
      if (read_only(e.first)) continue;
      if (find(server_->base, e.first) && !same_name(e.first, "application_name")) continue;
      server_->applied = with(server_->applied, e.first, e.second);
    }
  }
  server_->require(CleanUp::Parameters);
  ++events_.replays;
}

void Session::send_set_config(const SettingSet& values, bool encoding, Actions& out) {
  bool any = false;
  for (const auto& e : values) any |= in_this_bind(e, encoding);
  if (!any) return;
  out.compose(Do::ToServer, [&](Buffer& own) {
    put_bind(own, "", store_->replay_name(), values, encoding);
    protocol::execute(own, "", 0);
  });
  ledger_.push({Request::Bind, Reply::Swallow, true});
  ledger_.push({Request::Execute, Reply::Swallow, true});
}

// The same inside a cycle of the client, where no Sync may go: an error is the client's. A portal of its own
// leaves the client's unnamed portal alone.
void Session::set_within_cycle(const SettingSet& values, Actions& out) {
  const bool setup = switching_ && !cycle_open_;
  const auto swallow = [&](Request r) {
    ledger_.push({r, Reply::Swallow, setup});
    ledger_.at(ledger_.size() - 1).renames = switching_;
  };
  need_replay_statement(setup, out);
  for (const bool encoding : {true, false}) {
    bool any = false;
    for (const auto& e : values) any |= in_this_bind(e, encoding);
    if (!any) continue;
    const auto name = store_->replay_name();
    out.compose(Do::ToServer, [&](Buffer& own) {
      put_bind(own, name, name, values, encoding);
      protocol::execute(own, name, 0);
      protocol::close(own, 'P', name);
    });
    swallow(Request::Bind);
    swallow(Request::Execute);
    swallow(Request::Close);
  }
  if (!switching_) hide_replay_statement(setup, out);
}

void Session::need_replay_statement(bool setup, Actions& out) {
  if (std::exchange(server_->replay_prepared, true)) return;
  static constexpr std::array<std::uint32_t, 2> kTypes{kTextArrayOid, kTextArrayOid};
  out.compose(Do::ToServer,
              [this](Buffer& own) { protocol::parse(own, store_->replay_name(), kReplay, kTypes); });
  ledger_.push({Request::Parse, Reply::Swallow, setup, StatementId::Replay});
}

// Where the names on the server are the client's own it finds none of ours among them.
void Session::hide_replay_statement(bool setup, Actions& out) {
  if (rewrites() || !std::exchange(server_->replay_prepared, false)) return;
  out.compose(Do::ToServer, [this](Buffer& own) { protocol::close(own, 'S', store_->replay_name()); });
  ledger_.push({Request::Close, Reply::Swallow, setup, StatementId::Replay});
}

// The ReadyForQuery of a clean-up or a replay has come.
void Session::setup_ready(Actions& out) {
  const bool clean_up = ledger_.front().request == Request::Query;
  const bool renames = ledger_.front().renames;
  ledger_.pop();
  if (renames && clean_up && setup_failed_)
    return fatal(kCleanUpFailed, out);  // which names are there is open
  if (renames) {
    // A statement that cannot be parsed any more is left out. In a block that has failed so is everything
    // behind it, until the next text that looks.
    if (std::exchange(setup_failed_, false) && tx_ == protocol::TxStatus::Failed) own_names_ = false;
    return;
  }
  if (setup_failed_ && clean_up) {
    server_unfit_ = true;
    if (client_gone_) return close(out);
    if (std::exchange(letting_go_, false)) return close_server(out);
    if (state_ != State::Preparing) return fatal(kCleanUpFailed, out);
    close_server(out);  // nothing of the client has been written: another server will do
    return acquire(out);
  }
  if (clean_up) {
    note_own_values();
    if (state_ == State::Active) tell_differences(out);
    if (state_ == State::Preparing && ledger_.empty() && !letting_go_) prepared(out);
    return;
  }
  if (setup_failed_ && state_ == State::Active) return fatal(kCleanUpFailed, out);
  if (setup_failed_) return replay_failed(out);
  if (state_ != State::Preparing) return;
  keep_equal_overrides();
  prepared(out);
}

void Session::prepared(Actions& out) {
  state_ = State::Active;
  hold_for_ready_ = false;
  // The same values as PostgreSQL spells them; one object where it spells them alike.
  auto& applied = server_->applied;
  if (applied != overrides_ && applied && overrides_ && identical(*applied, *overrides_)) {
    applied = overrides_;
  } else if (applied != overrides_) {
    change_overrides(applied);
  }
  if (client_gone_) return drain(out);
  if (!login_) return tell_differences(out);
  login_ = false;
  told_ = server_->base;
  spell_startup();
  note_encoding();
  out.add(Do::LoginDone);
  wrote_ = true;  // the replay has changed it
  settle(out);
}

// PostgreSQL has refused one of the client's own settings: that is the client's error.
void Session::replay_failed(Actions& out) {
  const auto e = protocol::ErrorView::decode(server_->exchange.setup_error)
                     .value_or(protocol::ErrorView{
                         "ERROR", "XX000", "the session's settings could not be restored", {}, {}});
  ErrorFields why{login_ ? "FATAL" : "ERROR", e.code, e.message, e.detail, e.hint};
  setup_failed_ = false;
  if (tx_ != protocol::TxStatus::Idle || pins_ != 0 || wrote_ || client_gone_) {
    why.severity = "FATAL";
    return fatal(why, out);
  }
  server_->require(CleanUp::Everything);  // whatever the isolation: what it has now is not certain
  server_->applied = nullptr;
  if (cancels_ > 0 || !between_replies()) {
    close_server(out);
  } else {
    ledger_.close();
    server_ = nullptr;
    out.add(Do::ReleaseServer);
  }
  state_ = State::Waiting;
  on_refused(why, out);
}

}  // namespace sidepool::pool
