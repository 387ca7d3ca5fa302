// pool/session_shape.cpp -- a client that has a description of a statement never gets rows of another shape,
// and its parameters are never taken for other types (product.md §5, 0A000): PostgreSQL refuses to change a
// plan's result type and keeps the types of parameters, a server that parses the text anew does neither.
#include "pool/session_parts.h"

namespace sidepool::pool {

namespace {

constexpr std::uint64_t kNoRows = 2;  // even, unlike the hashes

std::uint64_t mix(std::uint64_t hash, std::uint64_t v) noexcept { return (hash ^ v) * 0x100000001b3ULL; }
constexpr std::uint64_t kSeed = 0xcbf29ce484222325ULL;

// Of the columns' names and types, which is what PostgreSQL compares. Never 0.
std::uint64_t rows_of(Bytes row_description) noexcept {
  auto hash = kSeed;
  protocol::Reader r(row_description);
  for (unsigned left = r.u16(); left > 0 && r.ok(); --left) {
    for (const char c : r.cstr()) hash = mix(hash, static_cast<unsigned char>(c));
    hash = mix(hash, 256);  // ends the name
    r.u32(), r.u16();       // the table's column: another table's column of the same type is as good
    hash = mix(hash, r.u32());
    hash = mix(hash, r.u16());
    hash = mix(hash, r.u32());
    r.u16();  // the format is the portal's
  }
  return hash | 1;
}

// Of the types. Never 0.
std::uint64_t parameters_of(Bytes parameter_description) noexcept {
  auto hash = kSeed;
  for (const auto byte : parameter_description) hash = mix(hash, byte);
  return hash | 1;
}

// False: something else has been described before.
bool agrees(std::uint64_t known, std::uint64_t now) noexcept { return known == 0 || known == now; }

}  // namespace

// Whether the next reply but those of our own making describes something.
bool Session::describes_next() noexcept {
  for (std::size_t i = 0; i < ledger_.size(); ++i) {
    const auto& e = ledger_.at(i);
    if (e.reply == Reply::Invent || (e.request == Request::CopyEnd && !copying_)) continue;
    return e.request == Request::DescribeStatement || e.request == Request::DescribePortal;
  }
  return false;
}

// In place of a Bind by a description from before a change; drivers react to this code.
bool Session::fail_by_old_description(bool whole, Actions& out) {
  if (!whole) passing_ = Passing::Drop;
  fail_instead("0A000", "cached plan must not change result type", out, "RevalidateCachedQuery");
  return true;
}

// Before a Bind of a described statement: a copy that nobody has compared with the description is described
// first. True: the Bind waits for that.
bool Session::check_shape(std::string_view name, const ClientStatements::Entry& entry, Actions& out) {
  const auto id = entry.statement->id;
  const auto has = server_->statements.look_up(id, entry.oldest());
  if (has == ServerStatements::Has::Yes && server_->statements.known(id) >= entry.told) return false;
  ensure_on_server(entry, out);
  ask_for_shape(store_->name_of(id),
                {Request::DescribeStatement, Reply::Swallow, false, id, nullptr,
                 std::make_unique<Buffer>(name.begin(), name.end())},
                out);
  return true;
}

// The same for the unnamed statement, where the server's is not this client's.
bool Session::check_unnamed(Actions& out) {
  if (unnamed().told.rows == 0 || unnamed().kind != Unnamed::Kept) return false;
  if (server_->unnamed_session == id_ && server_->unnamed_sequence == unnamed().sequence) return false;
  ensure_unnamed(out);
  Expected description{Request::DescribeStatement, Reply::Swallow};
  description.unnamed = unnamed().sequence;
  ask_for_shape("", std::move(description), out);
  return true;
}

void Session::ask_for_shape(std::string_view server_name, Expected description, Actions& out) {
  open_cycle();
  out.compose(Do::ToServer, [&](Buffer& own) {
    protocol::describe(own, 'S', server_name);
    protocol::flush(own);
  });
  ledger_.push(std::move(description));
  checking_shape_ = true;
  wrote_ = true;
}

// A part of a description has come: ParameterDescription, RowDescription, or NoData for a statement without
// rows.
void Session::note_shape(Expected& e, char type, Bytes whole) {
  const bool rows = type != 't';
  const bool known = e.statement != StatementId::None || e.unnamed != 0;
  if (e.reply == Reply::Swallow && rows) checking_shape_ = false;
  if (!known) return;
  const auto body = whole.subspan(5);
  const auto now = type == 'n' ? kNoRows : rows ? rows_of(body) : parameters_of(body);
  if (e.unnamed != 0) return note_unnamed_shape(e, rows, now);
  auto* s = store_->find(e.statement);
  if (!s) return;
  auto& before = rows ? s->shape.rows : s->shape.parameters;
  auto* entry = e.made && statements_ ? statements_->find(protocol::as_text(*e.made)) : nullptr;
  if (entry && entry->statement.get() != s) entry = nullptr;
  if (!agrees(before, now)) {
    const auto parameters = s->shape.parameters;
    if (!note_change(*s)) {
      if (entry && e.reply == Reply::Swallow) entry->mislead();
      return;
    }
    if (rows && e.request == Request::DescribeStatement) s->shape.parameters = parameters;  // of this copy
  }
  before = now;
  if (!rows) return;
  const auto what = e.request == Request::DescribeStatement ? Known::All : Known::Rows;
  server_->statements.set_known(s->id, std::max(what, server_->statements.known(s->id)));
  if (entry && e.reply == Reply::Forward) entry->describe(what);
}

// What a statement returns, or takes, is not what it was: every copy is outdated, and so is the description
// that clients have. False: perhaps for this client only, behind its temporary objects or in its transaction.
bool Session::note_change(Statement& s) {
  if (parses_apart() && !find(s.fingerprint, kPrivate)) return server_->statements.outdate(s.id), false;
  s.since = ++s.generation;
  s.shape = {};
  return true;
}

void Session::note_unnamed_shape(const Expected& e, bool rows, std::uint64_t now) noexcept {
  if (e.unnamed != unnamed_->sequence || unnamed_->kind == Unnamed::None) return;
  auto& before = rows ? unnamed_->told.rows : unnamed_->told.parameters;
  if (e.reply == Reply::Forward) {
    before = now;
    if (rows) unnamed_->misled = false;
  } else if (!agrees(before, now)) {
    unnamed_->misled = true;
  }
}

}  // namespace sidepool::pool
