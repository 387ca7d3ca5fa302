// pool/session_statements.cpp -- prepared statements of the client on whatever server it has (product.md §5).
#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::TxStatus;

namespace {

constexpr std::size_t kNameBytes = 63;  // NAMEDATALEN - 1: PostgreSQL tells no more apart
constexpr std::string_view kPrivate =
    "sidepool.private";  // marks a fingerprint that stands for unknown settings
constexpr std::uint32_t kSettingPins =
    static_cast<std::uint32_t>(Pin::Setting) | static_cast<std::uint32_t>(Pin::Role) |
    static_cast<std::uint32_t>(Pin::SessionAuthorization) | static_cast<std::uint32_t>(Pin::SetConfig) |
    static_cast<std::uint32_t>(Pin::Opaque) | static_cast<std::uint32_t>(Pin::Unjudged);

std::string_view key_of(std::string_view name) noexcept { return name.substr(0, kNameBytes); }

void put_parse(Buffer& out, std::string_view name, Bytes tail) {
  out.push_back('P');
  out.resize(out.size() + 4);
  protocol::store_be32(out.data() + out.size() - 4,
                       static_cast<std::uint32_t>(4 + name.size() + 1 + tail.size()));
  out.insert(out.end(), name.begin(), name.end());
  out.push_back(0);
  out.insert(out.end(), tail.begin(), tail.end());
}

}  // namespace

ClientStatements& Session::statements() {
  if (!statements_) statements_ = std::make_unique<ClientStatements>();
  return *statements_;
}

// Under which settings a Parse of this client runs now.
const Settings& Session::fingerprint() {
  if (local_settings_ || ((pins_ | suspect_) & kSettingPins) != 0) {
    if (!find(fingerprint_, kPrivate)) {
      auto unknown = std::make_shared<SettingSet>();
      unknown->set(kPrivate, "");
      fingerprint_ = std::move(unknown);
    }
    fingerprint_known_ = false;
  } else if (!fingerprint_known_) {
    fingerprint_ = store_->fingerprint_of(overrides_);
    fingerprint_known_ = true;
  }
  return fingerprint_;
}

void Session::forget_unnamed() noexcept {
  store_->give_back(unnamed_.size());
  unnamed_.clear();
  if (unnamed_.capacity() > 4096) Buffer{}.swap(unnamed_);
  unnamed_kind_ = Unnamed::None;
  unnamed_deallocates_.clear();
}

// False: undecided.
bool Session::on_parse(Bytes whole, Actions& out) {
  const auto p = protocol::ParseView::decode(whole.subspan(5));
  const bool named = p && !p->name.empty();
  if (named && rewrites()) {
    return parse_named(key_of(p->name), whole.subspan(5 + p->name.size() + 1), out);
  }
  ++events_.parses;
  open_cycle();
  if (p && !named) {
    parse_unnamed(whole, whole.subspan(6), out);
    return true;
  }
  if (named) {
    suspect_ |= static_cast<std::uint32_t>(Pin::Prepare);  // the name lives on this server
    use(judge_text(scan(p->query)));
  }
  expect(Request::Parse);  // a malformed one gets PostgreSQL's own answer
  pass(whole, out);
  return true;
}

bool Session::parse_named(std::string_view name, Bytes tail, Actions& out) {
  if (statements().undecided(name, cycle_)) return false;
  ++events_.parses;
  open_cycle();
  const auto* existing = statements().find(name);
  if (!existing && statements().size() >= options_->max_client_statements) {
    fail_instead("53200", "too many prepared statements in this session (max_client_statements)", out);
    return true;
  }
  const auto statement = store_->intern(tail, fingerprint(), scan(protocol::as_text(tail)));
  if (!statement) {
    fail_instead("53200", "out of memory for texts of prepared statements (statement_memory)", out);
    return true;
  }
  auto& on_server = server_->statements;
  if (existing) {  // analysed first, as PostgreSQL does: its error comes before the one about the name
    ensure_on_server(statement, out);
    fail_instead("42P05", "prepared statement \"" + std::string(name) + "\" already exists", out);
    return true;
  }
  auto change = statements().add(name, statement, cycle_);
  const auto has = on_server.look_up(statement->id, statement->epoch);
  if (has != ServerStatements::Has::Yes) {
    if (has == ServerStatements::Has::Stale) {
      out.compose(Do::ToServer,
                  [&](Buffer& own) { protocol::close(own, 'S', store_->name_of(statement->id)); });
      expect(Request::Close, Reply::Swallow);
    }
    send_parse(*statement, Reply::Forward, std::move(change), out);
  } else if (may_invent()) {
    ledger_.push({Request::Parse, Reply::Invent, false, StatementId::None, std::move(change),
                  std::make_unique<Buffer>()});
    protocol::parse_complete(*ledger_.at(ledger_.size() - 1).made);
    answer_invented(out);
  } else {
    // The transaction has failed or may have by now: PostgreSQL itself has to say so. The unnamed statement
    // is free for that, since a client's own is prepared again where it is missing.
    server_->unnamed_sequence = 0;
    out.compose(Do::ToServer, [&](Buffer& own) { put_parse(own, "", tail); });
    ledger_.push({Request::Parse, Reply::Forward, false, StatementId::None, std::move(change)});
    wrote_ = true;
  }
  return true;
}

// An answer without asking the server is right only while nothing outstanding can fail outside this cycle.
bool Session::may_invent() const noexcept {
  return tx_ != TxStatus::Failed && ledger_.find(Request::Sync) == ledger_.size() &&
         ledger_.find(Request::Query) == ledger_.size() &&
         ledger_.find(Request::FunctionCall) == ledger_.size();
}

void Session::parse_unnamed(Bytes whole, Bytes tail, Actions& out) {
  const auto result = scan(protocol::as_text(tail));
  forget_unnamed();
  unnamed_traits_ = judge_text(result);
  expect(Request::Parse);
  if (options_->mode != Mode::Session) {
    server_->unnamed_session = id_;
    server_->unnamed_sequence = ++unnamed_sequence_;
    unnamed_fingerprint_ = fingerprint();
    const bool kept = store_->reserve(tail.size());
    unnamed_kind_ = kept ? Unnamed::Kept : Unnamed::OnServerOnly;
    if (kept) unnamed_.assign(tail.begin(), tail.end());
  }
  if (result.lone_deallocate == protocol::LoneDeallocate::Name && rewrites()) {
    if (const auto* e = statements().find(result.deallocate_name())) {
      // Runs under the server's name for it, so that errors, tag and transaction are PostgreSQL's own.
      unnamed_deallocates_ = result.deallocate_name();
      const auto id = e->statement->id;
      auto mine = std::move(ledger_.at(ledger_.size() - 1));
      ledger_.erase(ledger_.size() - 1);
      ensure_on_server(e->statement, out);
      ledger_.push(std::move(mine));
      const std::string text = "DEALLOCATE " + store_->name_of(id);
      out.compose(Do::ToServer, [&](Buffer& own) { protocol::parse(own, "", text, {}); });
      wrote_ = true;
      return;
    }
  }
  pass(whole, out);
}

// False: undecided. `part` holds at least the two names of the Bind.
bool Session::on_bind(Bytes part, bool whole, std::uint32_t body_size, Actions& out) {
  const auto head = protocol::BindHead::decode(part.subspan(5));
  const auto name = head ? key_of(head->statement) : std::string_view{};
  const bool mapped = head && !name.empty() && rewrites();
  if (mapped && statements().undecided(name, cycle_)) return false;
  open_cycle();
  if (head && name.empty()) {
    last_bound_.clear();
    ensure_unnamed(out);
    use(unnamed_traits_);
  }
  auto* entry = mapped ? statements().find(name) : nullptr;
  if (!entry) {
    // A name the client never prepared by Parse: PREPAREd by SQL on this (pinned) server, or PostgreSQL's
    // error.
    if (mapped && store_->ours(name)) {
      if (!whole) passing_ = Passing::Drop;
      fail_instead("26000", "prepared statement \"" + std::string(name) + "\" does not exist", out);
      return true;
    }
    expect(Request::Bind);
    pass(part, out);
    return true;
  }
  const auto statement = entry->statement;
  if (entry->described_epoch != 0 && entry->described_epoch != statement->epoch) {
    // The client reads rows by a description from before the change; drivers react to this code.
    if (!whole) passing_ = Passing::Drop;
    fail_instead("0A000", "cached plan must not change result type", out);
    return true;
  }
  ensure_on_server(statement, out);
  use(judge_text(statement->scan));
  last_bound_ = name;
  const auto server_name = store_->name_of(statement->id);
  const auto size = static_cast<std::uint32_t>(body_size + 4 + server_name.size() - head->statement.size());
  out.compose(Do::ToServer, [&](Buffer& own) {
    own.push_back('B');
    own.resize(own.size() + 4);
    protocol::store_be32(own.data() + own.size() - 4, size);
    own.insert(own.end(), head->portal.begin(), head->portal.end());
    own.push_back(0);
    own.insert(own.end(), server_name.begin(), server_name.end());
    own.push_back(0);
  });
  ledger_.push({Request::Bind, Reply::Forward, false, statement->id});
  pass(part.subspan(5 + head->size), out);
  return true;
}

bool Session::on_describe(Bytes whole, Actions& out) {
  const auto t = protocol::TargetView::decode(whole.subspan(5));
  const bool statement = t && t->kind == 'S';
  const auto name = t ? key_of(t->name) : std::string_view{};
  const bool mapped = statement && !name.empty() && rewrites();
  if (mapped && statements().undecided(name, cycle_)) return false;
  open_cycle();
  const auto request = statement ? Request::DescribeStatement : Request::DescribePortal;
  if (statement && name.empty()) ensure_unnamed(out);
  auto* entry = mapped ? statements().find(name) : nullptr;
  if (entry) {
    ensure_on_server(entry->statement, out);
    entry->described_epoch = entry->statement->epoch;
    out.compose(Do::ToServer,
                [&](Buffer& own) { protocol::describe(own, 'S', store_->name_of(entry->statement->id)); });
    ledger_.push({request, Reply::Forward, false, entry->statement->id});
    wrote_ = true;
    return true;
  }
  if (mapped && store_->ours(name)) {
    fail_instead("26000", "prepared statement \"" + std::string(name) + "\" does not exist", out);
    return true;
  }
  if (t && t->kind == 'P' && !last_bound_.empty()) {
    if (auto* bound = statements().find(last_bound_)) bound->described_epoch = bound->statement->epoch;
  }
  expect(request);
  pass(whole, out);
  return true;
}

bool Session::on_close(Bytes whole, Actions& out) {
  const auto t = protocol::TargetView::decode(whole.subspan(5));
  const bool statement = t && t->kind == 'S';
  const auto name = t ? key_of(t->name) : std::string_view{};
  const bool mapped = statement && !name.empty() && rewrites();
  if (mapped && statements().undecided(name, cycle_)) return false;
  open_cycle();
  if (mapped && (statements().find(name) || store_->ours(name))) {
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

// Query with nothing but DEALLOCATE of a protocol-level name. False: undecided.
bool Session::on_lone_deallocate(std::string_view name, Actions& out) {
  if (!ledger_.empty() || cycle_open_) return false;
  statements().remove_now(name);
  forget_unnamed();
  out.compose(Do::ToClient, [this](Buffer& own) {
    protocol::command_complete(own, "DEALLOCATE");
    protocol::ready_for_query(own, tx_);
  });
  ++events_.queries;
  settle(out);
  return true;
}

// Before a request that names this statement.
void Session::ensure_on_server(const StatementRef& statement, Actions& out) {
  const auto has = server_->statements.look_up(statement->id, statement->epoch);
  if (has == ServerStatements::Has::Yes) return;
  if (has == ServerStatements::Has::Stale) {
    out.compose(Do::ToServer,
                [&](Buffer& own) { protocol::close(own, 'S', store_->name_of(statement->id)); });
    expect(Request::Close, Reply::Swallow);
  }
  ++events_.reparses;
  parse_under(statement->fingerprint, out, true);
  send_parse(*statement, Reply::Swallow, nullptr, out);
  parse_under(statement->fingerprint, out, false);
}

// Literals are converted when a statement is parsed, so a Parse that is repeated runs under the settings of
// the first one. Begins or ends that, where those differ from the client's settings now.
void Session::parse_under(const Settings& wanted, Actions& out, bool begin) {
  if (wanted == fingerprint() || find(wanted, kPrivate) || find(fingerprint_, kPrivate)) return;
  SettingSet values;
  const auto& target = begin ? wanted : fingerprint_;
  const auto& other = begin ? fingerprint_ : wanted;
  if (other) {
    for (const auto& entry : *other) {
      const auto* base = find(server_->base, entry.first);
      if (base) values.set(entry.first, *base);
    }
  }
  if (target) {
    for (const auto& entry : *target) values.set(entry.first, entry.second);
  }
  set_within_cycle(values, out);
}

void Session::send_parse(const Statement& statement, Reply reply,
                         std::unique_ptr<ClientStatements::Change> change, Actions& out) {
  out.compose(Do::ToServer, [&](Buffer& own) {
    put_parse(own, store_->name_of(statement.id), protocol::as_bytes(statement.tail));
  });
  ledger_.push({Request::Parse, reply, false, statement.id, std::move(change)});
  server_->statements.add(statement.id, statement.epoch);
  wrote_ = true;
  evict_statements(out);
}

void Session::evict_statements(Actions& out) {
  const auto old = server_->statements.evict(options_->max_server_statements);
  if (old == StatementId::None) return;
  out.compose(Do::ToServer, [&](Buffer& own) { protocol::close(own, 'S', store_->name_of(old)); });
  ledger_.push({Request::Close, Reply::Swallow, false, old});
}

// Before a request for the unnamed statement: the server's must be this client's last one.
void Session::ensure_unnamed(Actions& out) {
  if (options_->mode == Mode::Session) return;
  if (unnamed_kind_ == Unnamed::None) {  // then the request has to fail, whatever text the server has there
    out.compose(Do::ToServer, [](Buffer& own) { protocol::close(own, 'S', ""); });
    expect(Request::Close, Reply::Swallow);
    server_->unnamed_sequence = 0;
    return;
  }
  if (server_->unnamed_session == id_ && server_->unnamed_sequence == unnamed_sequence_) return;
  if (unnamed_kind_ == Unnamed::OnServerOnly) {
    unnamed_kind_ = Unnamed::None;
    return ensure_unnamed(out);
  }
  ++events_.reparses;
  parse_under(unnamed_fingerprint_, out, true);
  out.compose(Do::ToServer, [this](Buffer& own) { put_parse(own, "", unnamed_); });
  expect(Request::Parse, Reply::Swallow);
  parse_under(unnamed_fingerprint_, out, false);
  server_->unnamed_session = id_;
  server_->unnamed_sequence = unnamed_sequence_;
}

// In place of a request that has to fail with this error: one that fails on the server in the same way, so
// that the transaction fails too and everything up to the Sync is skipped.
void Session::fail_instead(std::string_view code, std::string_view message, Actions& out) {
  auto error = std::make_unique<Buffer>();
  protocol::error_response(*error, {"ERROR", code, message, {}, {}});
  out.compose(Do::ToServer,
              [this](Buffer& own) { protocol::bind_text(own, "", store_->missing_name(), {}); });
  ledger_.push({Request::Bind, Reply::Replace, false, StatementId::None, nullptr, std::move(error)});
  wrote_ = true;
}

}  // namespace sidepool::pool
