// pool/session_statements.cpp -- prepared statements of the client on whatever server it has (product.md §5).
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::TxStatus;

namespace {

std::string_view key_of(std::string_view name) noexcept { return name.substr(0, kNameBytes); }

}  // namespace

ClientStatements& Session::statements() {
  if (!statements_) statements_ = std::make_unique<ClientStatements>();
  return *statements_;
}

// Settings that nothing reports, temporary objects, objects of a transaction that is still open: what the
// client parses now may mean something else than the same text of anybody else, or of its own at another
// time.
bool Session::parses_apart() const noexcept {
  return local_settings_ || local_names_ || ((pins_ | suspect_) & kPrivatePins) != 0;
}

// Under which settings a Parse of this client runs now.
const Settings& Session::fingerprint() {
  const bool apart = parses_apart();
  if (fingerprint_known_ && apart == (find(fingerprint_, kPrivate) != nullptr)) return fingerprint_;
  fingerprint_ = store_->fingerprint_of(overrides_);
  if (apart) fingerprint_ = with(fingerprint_, kPrivate, "");  // equal to no other one
  fingerprint_known_ = true;
  return fingerprint_;
}

// False: undecided.
bool Session::parse_named(std::string_view full_name, Bytes tail, const protocol::ScanResult& scanned,
                          Actions& out) {
  const auto name = key_of(full_name);
  if (statements().undecided(name, cycle_)) return false;
  const bool existing = statements().find(name) != nullptr;
  const bool too_many = !existing && statements().size() >= options_->max_client_statements;
  StatementRef statement;
  if (!too_many) statement = store_->intern(scope_, tail, fingerprint(), scanned);
  if (statement && unsettled(statement)) return false;
  ++events_.parses;
  open_cycle();
  if (!statement) return refuse_statements(too_many, out), true;
  return existing ? parse_twice(full_name, statement, out) : parse_once(name, statement, out);
}

// The name is taken. PostgreSQL analyses the text first and then says so.
bool Session::parse_twice(std::string_view name, const StatementRef& statement, Actions& out) {
  server_->unnamed_sequence = 0;
  out.compose(Do::ToServer, [&](Buffer& own) { put_parse(own, "", protocol::as_bytes(statement->tail)); });
  expect(Request::Parse, Reply::Swallow);
  fail_instead("42P05", "prepared statement \"" + std::string(name) + "\" already exists", out);
  return true;
}

// Even where the server has a copy the text is parsed again: objects that its names mean may have come since.
bool Session::parse_once(std::string_view name, const StatementRef& statement, Actions& out) {
  auto& last_bound = server_->exchange.last_bound;
  const auto* bound = statements().find(last_bound);
  if (bound && bound->statement == statement) last_bound.clear();  // its portals are of the copy before
  auto change = statements().add(name, statement, cycle_);
  if (server_->statements.look_up(statement->id, statement->generation) != ServerStatements::Has::No) {
    close_stale(statement->id, out);
  }
  send_parse(*statement, Reply::Forward, std::move(change), out);
  return true;
}

// Whether the server has this statement, or can be told to parse it under other settings, is not known before
// an earlier cycle has been answered.
bool Session::unsettled(const StatementRef& statement) const noexcept {
  return ledger_.undecided(
      [&](const Expected& e) { return e.statement == statement->id || e.statement == StatementId::Replay; });
}

// A named statement that we do not know may have been made by SQL, by this client on this server.
bool Session::sql_may_have_prepared() const noexcept {
  constexpr auto kBits = static_cast<std::uint32_t>(Pin::Prepare) | static_cast<std::uint32_t>(Pin::Opaque) |
                         static_cast<std::uint32_t>(Pin::Unjudged);
  return ((pins_ | suspect_) & kBits) != 0;
}

// A name that is not in the client's table: it has no such statement, and none of ours is its own either.
bool Session::absent(std::string_view name) const noexcept {
  return store_->ours(name) || !sql_may_have_prepared();
}

// In this cycle something runs that decides how this message is to be understood, such as DISCARD ALL.
bool Session::behind_alone(Actions& out) {
  if (!hold_next_) return false;
  if (ledger_.find(Request::Execute) == ledger_.size()) {
    if (reset_ran_) put_back_within_cycle(out);
    return false;
  }
  if (!std::exchange(alone_flushed_, true)) {
    out.compose(Do::ToServer, [](Buffer& own) { protocol::flush(own); });
  }
  return true;
}

// What follows a RESET in its cycle runs under the startup values of the client, as on a direct connection.
void Session::put_back_within_cycle(Actions& out) {
  reset_ran_ = alone_flushed_ = false;
  const auto values = startup_subset(std::exchange(resets_, 0));
  if (!values.empty()) set_within_cycle(values, out);
}

// False: undecided.
bool Session::on_parse(Bytes whole, Actions& out) {
  if (behind_alone(out)) return false;
  const auto p = protocol::ParseView::decode(whole.subspan(5));
  const bool named = p && !p->name.empty();
  if (named && rewrites()) {
    const auto tail = whole.subspan(5 + p->name.size() + 1);
    const auto scanned = scan(p->query);
    const auto traits = judge_text(scanned);
    if (const auto pins = refused(traits)) return refuse_parse(p->name, pins, out);
    if (!give_own_names(traits, out)) return false;
    if (rewrites()) return parse_named(p->name, tail, scanned, out);
  }
  if (named && own_names_) return parse_own(*p, whole, out);
  if (p && !named) return parse_unnamed(whole, whole.subspan(6), out);
  if (named) {
    auto traits = judge_text(scan(p->query));
    traits.pins |= static_cast<std::uint32_t>(Pin::Prepare);  // the name lives on this server
    if (const auto pins = refused(traits)) return refuse_parse(p->name, pins, out);
    use(traits);
  }
  ++events_.parses;
  open_cycle();
  expect(Request::Parse);  // a malformed one gets PostgreSQL's own answer
  pass(whole, out);
  return true;
}

// An answer without asking the server is right only while nothing outstanding can fail outside this cycle.
// Our own clean-up does not count: if that fails the server is closed.
bool Session::may_invent() const noexcept {
  if (tx_ == TxStatus::Failed) return false;
  for (std::size_t i = 0; i < ledger_.size(); ++i) {
    const auto& e = ledger_.at(i);
    if (!e.setup &&
        (e.request == Request::Sync || e.request == Request::Query || e.request == Request::FunctionCall))
      return false;
  }
  return true;
}

// The beginning of a Bind with a body of `body_size` bytes, with the server's name for the statement in place
// of the client's. What is behind the names follows as it is.
static void put_bind_head(Buffer& own, const protocol::BindHead& head, std::string_view server_name,
                          std::uint32_t body_size) {
  const auto size = static_cast<std::uint32_t>(body_size + 4 + server_name.size() - head.statement.size());
  own.push_back('B');
  own.resize(own.size() + 4);
  protocol::store_be32(own.data() + own.size() - 4, size);
  protocol::append(own, head.portal);
  own.push_back(0);
  protocol::append(own, server_name);
  own.push_back(0);
}

// False: undecided. `part` holds at least the two names of the Bind.
bool Session::on_bind(Bytes part, bool whole, std::uint32_t body_size, Actions& out) {
  if (behind_alone(out)) return false;
  const auto head = protocol::BindHead::decode(part.subspan(5));
  const auto name = head ? key_of(head->statement) : std::string_view{};
  const bool mapped = head && !name.empty() && rewrites();
  if (checking_shape_ || (mapped && statements().undecided(name, cycle_))) return false;
  auto* entry = mapped ? statements().find(name) : nullptr;
  if (entry && unsettled(entry->statement)) return false;
  if (head && name.empty() && unnamed_unsettled()) return false;
  if (entry) {
    const auto traits = judge_text(entry->statement->scan);
    if (const auto pins = refused(traits)) return refuse_bind(pins, whole, out);
    if (resets_too_soon(traits) || must_not_end_setup(traits)) return false;
    if (!give_own_names(traits, out)) return false;
    if (own_names_) entry = nullptr;
  }
  if (head && name.empty() && (resets_too_soon(unnamed().traits) || must_not_end_setup(unnamed().traits)))
    return false;
  if (head && !name.empty() && !entry && cleaning()) return false;  // nobody knows what this text does
  if (head && name.empty() && check_unnamed(out)) return false;
  if (head && !name.empty() && own_names_ && !bind_own(name)) return false;
  const bool first = whole && !cycle_open_;
  open_cycle();
  auto& x = server_->exchange;
  x.last_bound.clear();
  if (head && head->portal == x.deallocates_portal) x.deallocates_bound.clear();
  if (head && name.empty()) {
    ensure_unnamed(out);
    use(unnamed().traits);
    if (!unnamed().deallocates.empty()) {
      x.deallocates_bound = unnamed().deallocates;
      x.deallocates_portal = head->portal;
      x.stands_for_bound = unnamed().stands_for;
    }
  }
  if (head && name.empty() && unnamed().misled) return fail_by_old_description(whole, out);
  if (!entry) {
    if (mapped && rewrites() && absent(name)) {
      if (!whole) passing_ = Passing::Drop;
      return fail_as_absent(head->statement, out), true;
    }
    expect(Request::Bind);
    return pass(part, out), true;
  }
  const auto statement = entry->statement;
  if (entry->misled() && outdated_ == Outdated::Described) entry->described = 0;
  if (entry->misled()) {
    if (outdated_ == Outdated::Unknown && whole && put_off(part)) return true;
    return fail_by_old_description(whole, out);
  }
  if (first) begin_keeping(*entry);
  if (entry->described != 0 && check_shape(name, *entry, out)) return false;
  ensure_on_server(*entry, out);
  use(judge_text(statement->scan));
  x.last_bound = name, x.last_portal = head->portal;
  out.compose(Do::ToServer, [&](Buffer& own) { put_bind_head(own, *head, statement->name, body_size); });
  ledger_.push({Request::Bind, Reply::Forward, false, statement->id});
  pass(part.subspan(5 + head->size), out);
  return true;
}

bool Session::on_describe(Bytes whole, Actions& out) {
  if (behind_alone(out)) return false;
  const auto t = protocol::TargetView::decode(whole.subspan(5));
  const bool statement = t && t->kind == 'S';
  const auto name = t ? key_of(t->name) : std::string_view{};
  const bool mapped = statement && !name.empty() && rewrites();
  if (mapped && statements().undecided(name, cycle_)) return false;
  auto* entry = mapped ? statements().find(name) : nullptr;
  if (entry && unsettled(entry->statement)) return false;
  if (statement && name.empty() && unnamed_unsettled()) return false;
  const bool first = !cycle_open_;
  open_cycle();
  const auto request = statement ? Request::DescribeStatement : Request::DescribePortal;
  if (statement && name.empty()) ensure_unnamed(out);
  if (entry) {
    if (first) begin_keeping(*entry);
    ensure_on_server(*entry, out);
    entry->describe(Known::All);
    server_->statements.set_known(entry->statement->id, Known::All);
    out.compose(Do::ToServer, [&](Buffer& own) { protocol::describe(own, 'S', entry->statement->name); });
    ledger_.push({request, Reply::Forward, false, entry->statement->id, nullptr,
                  std::make_unique<Buffer>(name.begin(), name.end())});
    wrote_ = true;
    return true;
  }
  if (mapped && absent(name)) return fail_as_absent(t->name, out), true;
  const auto& x = server_->exchange;
  const bool bound = t && t->kind == 'P' && !x.last_bound.empty() && t->name == x.last_portal;
  if (bound && describe_bound()) return pass(whole, out), true;
  expect(request);
  if (statement && name.empty()) ledger_.at(ledger_.size() - 1).unnamed = unnamed().sequence;
  pass(whole, out);
  return true;
}

// Describe of the portal bound last. True: its reply is expected.
bool Session::describe_bound() {
  const auto& name = server_->exchange.last_bound;
  auto* bound = statements().find(name);
  if (!bound) return false;
  const auto id = bound->statement->id;
  bound->describe(Known::Rows);
  if (server_->statements.known(id) >= Known::Rows) return false;  // PostgreSQL lets none change
  server_->statements.set_known(id, Known::Rows);
  ledger_.push({Request::DescribePortal, Reply::Forward, false, id, nullptr,
                std::make_unique<Buffer>(name.begin(), name.end())});
  return true;
}

bool Session::on_close(Bytes whole, Actions& out) {
  if (behind_alone(out)) return false;
  const auto t = protocol::TargetView::decode(whole.subspan(5));
  const bool statement = t && t->kind == 'S';
  const auto name = t ? key_of(t->name) : std::string_view{};
  const bool mapped = statement && !name.empty() && rewrites();
  if (mapped && statements().undecided(name, cycle_)) return false;
  if (statement && !name.empty() && own_names_) return close_own(name, whole, out);
  open_cycle();
  if (mapped && (statements().find(name) || absent(name))) {
    // The server keeps the shared one. Close is carried out in a failed transaction too.
    auto answer = std::make_unique<Buffer>();
    protocol::close_complete(*answer);
    ledger_.push({Request::Close, Reply::Invent, false, StatementId::None, statements().remove(name, cycle_),
                  std::move(answer)});
    answer_invented(out);
    return true;
  }
  if (statement && name.empty()) {
    forget_unnamed();
    server_->unnamed_sequence = 0;
  }
  expect(Request::Close);
  pass(whole, out);
  return true;
}

// Before a request that names this statement.
void Session::ensure_on_server(const ClientStatements::Entry& entry, Actions& out) {
  const auto& statement = *entry.statement;
  const auto has = server_->statements.look_up(statement.id, entry.oldest());
  if (has == ServerStatements::Has::Yes) return;
  if (has == ServerStatements::Has::Stale) close_stale(statement.id, out);
  ++events_.reparses;
  parse_under(statement.fingerprint, out, true);
  send_parse(statement, Reply::Swallow, nullptr, out);
  // What it means here and now is nobody's but this transaction's.
  if (parses_apart() && statement.fingerprint != fingerprint())
    server_->exchange.parsed_unclear.push_back(statement.id);
  parse_under(statement.fingerprint, out, false);
}

void Session::close_stale(StatementId id, Actions& out) {
  out.compose(Do::ToServer, [&](Buffer& own) { protocol::close(own, 'S', store_->name_of(id)); });
  ledger_.push({Request::Close, Reply::Swallow, false, id});
}

void Session::evict_statements(Actions& out) {
  if (parses_apart()) return;  // what was parsed there cannot be parsed the same way again
  for (;;) {
    const auto old = server_->statements.evict(options_->max_server_statements);
    if (old == StatementId::None) return;
    close_stale(old, out);
  }
}

// Literals are converted when a statement is parsed, so a Parse that is repeated runs under the settings of
// the first one. Begins or ends that, where those differ from the client's settings now. What a pin hides is
// left alone; what is reported is known, but not to be set beside a SET LOCAL, which would outlive its
// transaction then.
void Session::parse_under(const Settings& wanted, Actions& out, bool begin) {
  if (wanted == fingerprint() || local_settings_ || (suspect_ & kSettingPins) != 0) return;
  const bool hidden = find(wanted, kPrivate) || (pins_ & kSettingPins) != 0;
  const auto& from = begin ? fingerprint_ : wanted;
  const auto& to = begin ? wanted : fingerprint_;
  SettingSet values;
  for (const auto& [name, value] : from ? *from : SettingSet{}) {
    const auto* base = find(server_->base, name);
    if (base && !find(to, name)) values.set(name, *base);
  }
  for (const auto& [name, value] : to ? *to : SettingSet{}) {
    const auto* now = find(from, name);
    if (now && *now == value) continue;
    if (!hidden || find(server_->base, name)) values.set(name, value);
  }
  values.erase(kPrivate);
  if (!values.empty()) set_within_cycle(values, out);
}

void Session::send_parse(const Statement& statement, Reply reply,
                         std::unique_ptr<ClientStatements::Change> change, Actions& out) {
  out.compose(Do::ToServer,
              [&](Buffer& own) { put_parse(own, statement.name, protocol::as_bytes(statement.tail)); });
  ledger_.push({Request::Parse, reply, false, statement.id, std::move(change)});
  server_->statements.add(statement.id, statement.generation);
  wrote_ = true;
  evict_statements(out);
}

void Session::fail_as_absent(std::string_view name, Actions& out) {
  fail_instead("26000", "prepared statement \"" + std::string(name) + "\" does not exist", out);
}

// In place of a request that has to fail with this error: one that fails on the server in the same way, so
// that the transaction fails too and everything up to the Sync is skipped.
void Session::fail_instead(std::string_view code, std::string_view message, Actions& out,
                           std::string_view routine) {
  Buffer error;
  protocol::error_response(error, {"ERROR", code, message, {}, {}, routine});
  send_failing(Request::Bind, std::move(error), out);
}

}  // namespace sidepool::pool
