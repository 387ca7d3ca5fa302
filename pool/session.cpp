// pool/session.cpp -- the states of a session and the events that change them.
#include "pool/session.h"

#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::ErrorFields;
using protocol::TxStatus;

namespace {
constexpr ErrorFields kServerLost{
    "FATAL", "08006", "server closed the connection unexpectedly",
    "The connection from sidepool to the database was lost while this session used it."};
}

Session::Session(SessionId id, const SessionOptions& options, StatementStore& store, Settings reported,
                 StatementScope scope)
    : id_(id),
      client_(options.max_message),
      options_(&options),
      store_(&store),
      scope_(scope),
      told_(std::move(reported)) {
  note_encoding();
}

Session::~Session() {
  forget_unnamed();
  store_->give_back(part_reserved_);
}

void Session::begin(Settings startup, std::optional<Settings> known, Actions& out) {
  startup_ = std::move(startup);
  if (!startup_ || startup_->empty()) known = nullptr;
  if (known) {
    change_overrides(store_->share(std::move(*known)));
    spell_startup();
    state_ = State::Idle;
    out.add(Do::LoginDone);
    return;
  }
  overrides_ = startup_;
  login_ = true;
  acquire(out);
}

// The reported ones of the startup settings as PostgreSQL spells them, since a RESET is told to the client.
void Session::spell_startup() {
  if (!startup_ || !told_) return;
  SettingSet spelled = *startup_;
  for (const auto& [name, value] : *told_) {
    if (!spelled.find(name)) continue;
    const auto* own = find(overrides_, name);
    spelled.erase(name);
    spelled.set(name, own ? *own : value);
  }
  startup_ = store_->share(std::make_shared<SettingSet>(std::move(spelled)));
}

SettingSet Session::welcome_values() const {
  SettingSet values = told_ ? *told_ : SettingSet{};
  if (!overrides_) return values;
  for (const auto& [name, value] : *overrides_) {
    if (values.find(name)) values.set(name, value);
  }
  return values;
}

std::uint64_t Session::state_key() const noexcept {
  const std::uint64_t who = std::uint64_t{id_.slot} << 32 | id_.generation;
  const std::uint64_t key =
      (who ^ std::uint64_t{static_cast<std::uint16_t>(id_.worker)} << 56) * 0x9E3779B97F4A7C15ULL;
  return (key ^ version_) | 1;
}

bool Session::takes_client_input() const noexcept {
  switch (state_) {
    case State::Idle:
    case State::Refusing:
    case State::RefusedTransaction:
      return true;
    case State::Active:
      return !spoiled_ && !stalled_ && server_->exchange.again.empty() && !sync_held_ &&
             (!hold_for_ready_ || skipping_) && !ledger_.full();
    case State::Login:
    case State::Waiting:
    case State::Preparing:
    case State::Draining:
    case State::Closed:
      return false;
  }
  return false;
}

Phase Session::phase() const noexcept {
  switch (state_) {
    case State::Idle:
    case State::Refusing:
    case State::RefusedTransaction:
      return Phase::Idle;
    case State::Login:
    case State::Waiting:
      return Phase::Waiting;
    case State::Preparing:
      return Phase::Running;
    case State::Active:
      if (!ledger_.empty()) return Phase::Running;
      return tx_ != TxStatus::Idle || cycle_open_ ? Phase::IdleInTransaction : Phase::Holding;
    case State::Draining:
      return Phase::Draining;
    case State::Closed:
      return Phase::Closed;
  }
  return Phase::Closed;
}

void Session::acquire(Actions& out) {
  state_ = State::Waiting;
  out.add(Do::AcquireServer);
}

void Session::on_granted(ServerState& server, Actions& out) {
  server_ = &server;
  ledger_.open(server.exchange.owed);
  server.exchange.begin();
  tx_ = TxStatus::Idle;
  own_names_ = letting_go_ = false;
  wrote_ = checking_shape_ = setup_failed_ = got_fatal_ = server_unfit_ = cancel_sent_ = false;
  prepare(out);
}

void Session::on_refused(const ErrorFields& why, Actions& out) {
  if (login_) {
    ErrorFields f = why;
    f.severity = "FATAL";
    return fatal(f, out);
  }
  refusal_ = std::make_unique<Refusal>();
  protocol::error_response(refusal_->error, why);
  refusal_->extended = std::exchange(cycle_open_, false);
  state_ = State::Refusing;
}

// Outside a transaction, pinned to nothing, with nothing on its way: the loss of the server is no loss.
bool Session::nothing_at_stake() const noexcept {
  return state_ == State::Active && ledger_.empty() && tx_ == TxStatus::Idle && !cycle_open_ && pins_ == 0 &&
         options_->mode != Mode::Session && !unnamed_on_server_only() && !skipping_ && !stalled_ &&
         passing_ == Passing::None && client_.at_boundary();
}

void Session::on_server_lost(Actions& out) {
  // The client has the beginning of a message: whatever it were told would be read as the rest.
  const bool torn =
      server_ && server_->exchange.framer.inside() && server_->exchange.part.empty() && !swallow_;
  const bool harmless = !torn && !wrote_ && !stalled_ && passing_ == Passing::None &&
                        (state_ == State::Preparing || (state_ == State::Active && ledger_.empty()));
  const bool no_loss = !torn && nothing_at_stake() && !got_fatal_;
  forget_server();
  if (state_ == State::Draining || state_ == State::Closed || client_gone_) return close(out);
  if (std::exchange(letting_go_, false)) {
    state_ = State::Idle;
    return;
  }
  if (harmless && client_.at_boundary()) return acquire(out);
  if (no_loss) {
    state_ = State::Idle;
    return;
  }
  if (got_fatal_ || torn) return close(out);  // after its own words, the client has read them
  if (spoiled_) return malformed(kBadLength, out);
  fatal(kServerLost, out);
}

void Session::on_client_gone(Actions& out) {
  if (client_gone_ || state_ == State::Closed) return;
  client_gone_ = true;
  if (!server_) return close(out);
  drain(out);
}

void Session::end(const ErrorFields& why, Actions& out) {
  if (state_ == State::Closed || client_gone_) return;
  if (between_replies()) {  // never inside a message that is passing
    out.compose(Do::ToClient, [&why](Buffer& own) { protocol::error_response(own, why); });
  }
  ++events_.errors;
  const bool running = phase() == Phase::Running;
  on_client_gone(out);
  if (running && state_ == State::Draining) request_cancel(out);
}

void Session::on_cancel_done(bool server_unfit, Actions& out) {
  if (cancels_ > 0) --cancels_;
  server_unfit_ |= server_unfit;
  if (!server_) return;
  if (state_ == State::Draining) return drain(out);
  retry_stalled(out);
  if (state_ == State::Active && !end_hold(out)) settle(out);
}

// Nothing of this client lies on the server or on the way to or from it (product.md §5, Changing hands).
bool Session::at_rest() const noexcept {
  return ledger_.empty() && tx_ == TxStatus::Idle && !cycle_open_ && !skipping_ && !stalled_ && !sync_held_ &&
         (!server_ || server_->exchange.again.empty()) && cancels_ == 0 && passing_ == Passing::None &&
         client_.at_boundary() && between_replies();
}

// Even when nothing is outstanding: something of this client lies on it, or the mode says so.
bool Session::keeps_server() const noexcept { return pins_ != 0 || options_->mode == Mode::Session; }

// Gives the server back as soon as the rules allow it.
void Session::settle(Actions& out) {
  if (state_ != State::Active || !at_rest()) return;
  // A server that is unfit for others still holds this client's state.
  if (keeps_server()) {
    if (resets_ == 0) return;
    const auto values = startup_subset(std::exchange(resets_, 0));
    if (values.empty()) return;
    state_ = State::Preparing;
    return send_replay(values, out);
  }
  if (!let_go(out)) release(out);
}

void Session::release(Actions& out) {
  if (wrote_) server_->require(CleanUp::Parameters);
  const auto values = startup_subset(std::exchange(resets_, 0));
  if (!values.empty()) {  // its state is not what this client wants any more: last_session stays nobody
    Settings wanted = overrides_;
    for (const auto& [name, value] : values) {
      wanted = with(wanted, name, value);
      server_->applied = without(server_->applied, name);
    }
    change_overrides(std::move(wanted));
    server_->require(CleanUp::Parameters);
  } else {
    server_->last_session = id_;
    server_->last_version = version_;
  }
  if (server_->clean_up == CleanUp::Impossible || server_unfit_ || got_fatal_) return close_server(out);
  state_ = State::Idle;
  ledger_.close();
  server_ = nullptr;
  hold_for_ready_ = hold_next_ = settings_move_ = false;
  out.add(Do::ReleaseServer);
}

void Session::close_server(Actions& out) {
  const bool half_sent = passing_ == Passing::Forward || passing_ == Passing::Scan || spoiled_;
  forget_server();
  out.add(half_sent ? Do::CutServer : Do::CloseServer);
  if (state_ == State::Active || state_ == State::Preparing) state_ = State::Idle;
}

// It is closed, or lost.
void Session::forget_server() noexcept {
  forget_cycle();
  ledger_.close();
  server_ = nullptr;
  copying_ = checking_shape_ = skipping_ = sync_held_ = hold_for_ready_ = hold_next_ = settings_move_ = false;
  resets_ = sets_ = unsets_ = 0;  // what had not been answered has not happened
}

void Session::fatal(const ErrorFields& why, Actions& out) {
  if (!client_gone_ && state_ != State::Closed && between_replies()) {
    out.compose(Do::ToClient, [&why](Buffer& own) { protocol::error_response(own, why); });
    ++events_.errors;
  }
  close(out);
}

void Session::close(Actions& out) {
  if (state_ == State::Closed) return;
  if (server_) close_server(out);
  state_ = State::Closed;
  client_gone_ = true;
  out.add(Do::CloseClient);
}

void Session::request_cancel(Actions& out) {
  if (std::exchange(cancel_sent_, true)) return;
  cancel_asked_ = true;
  ++cancels_;  // from now on: the release may be decided before this has been carried out
  out.add(Do::CancelServer);
}

// The client has left while it holds a server: brings the server to rest, step by step, at each event.
void Session::drain(Actions& out) {
  state_ = State::Draining;
  drop_stray_copy_ends();
  const bool half_message = passing_ == Passing::Forward || passing_ == Passing::Scan;
  const bool unfinished_cycle = skipping_ || (cycle_open_ && ledger_.find(Request::Sync) == ledger_.size());
  if (half_message || server_unfit_ || got_fatal_ || unfinished_cycle || stalled_ || sync_held_)
    return close(out);
  client_part_.clear();
  forget_cycle();
  if (copying_ && ledger_.find(Request::CopyEnd) == ledger_.size()) {
    if (ledger_.front().request != Request::Query) return close(out);
    out.compose(Do::ToServer, [](Buffer& own) { protocol::copy_fail(own, "the client has left"); });
    expect(Request::CopyEnd);
  }
  if (!ledger_.empty()) {
    if (tx_ != TxStatus::Idle && !committing_) request_cancel(out);
    return;
  }
  if (cancels_ > 0) return;  // on_cancel_done() comes back here; our own ROLLBACK must not be its victim
  if (tx_ != TxStatus::Idle) {
    out.compose(Do::ToServer, [](Buffer& own) { protocol::query(own, "ROLLBACK"); });
    return expect(Request::Query, Reply::Swallow);
  }
  if (!between_replies()) return close(out);
  if (options_->mode == Mode::Session && wrote_) server_->require(CleanUp::Everything);
  // Locks and temporary objects of a client that has left are in everybody's way, so this does not wait for
  // the next user.
  if (server_->clean_up == CleanUp::Everything) {
    wrote_ = false;
    return send_clean_up(out);
  }
  release(out);
  close(out);
}

}  // namespace sidepool::pool
