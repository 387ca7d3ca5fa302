// pool/session_shape.cpp -- a client that has a description of a statement's rows never gets rows of another
// shape (product.md §5, 0A000): PostgreSQL refuses to change a plan's result type, a server that parses the
// text anew does not.
#include "pool/session_parts.h"

namespace sidepool::pool {

namespace {

// Of the columns' names and types, which is what PostgreSQL compares. Never 0.
std::uint64_t shape_of(Bytes row_description) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&hash](std::uint64_t v) { hash = (hash ^ v) * 0x100000001b3ULL; };
  protocol::Reader r(row_description);
  for (unsigned left = r.u16(); left > 0 && r.ok(); --left) {
    for (const char c : r.cstr()) mix(static_cast<unsigned char>(c));
    mix(256);          // ends the name
    r.u32(), r.u16();  // the table's column: another table's column of the same type is as good
    mix(r.u32()), mix(r.u16()), mix(r.u32());
    r.u16();  // the format is the portal's
  }
  return hash | 1;
}

}  // namespace

// Whether the next reply but those of our own making describes rows.
bool Session::describes_next() noexcept {
  for (std::size_t i = 0; i < ledger_.size(); ++i) {
    const auto& e = ledger_.at(i);
    if (e.reply == Reply::Invent || (e.request == Request::CopyEnd && !copying_)) continue;
    return e.request == Request::DescribeStatement || e.request == Request::DescribePortal;
  }
  return false;
}

// Before a Bind of a described statement: a server that lacks it parses and describes it first. True: the
// Bind waits for that.
bool Session::check_shape(const ClientStatements::Entry& entry, Actions& out) {
  const auto id = entry.statement->id;
  if (server_->statements.look_up(id, entry.oldest()) == ServerStatements::Has::Yes) return false;
  ensure_on_server(entry, out);
  out.compose(Do::ToServer, [&](Buffer& own) {
    protocol::describe(own, 'S', store_->name_of(id));
    protocol::flush(own);
  });
  ledger_.push({Request::DescribeStatement, Reply::Swallow, false, id});
  checking_shape_ = true;
  wrote_ = true;
  return true;
}

// A description has come: RowDescription, or NoData for a statement without rows.
void Session::note_shape(Expected& e, char type, Bytes whole) {
  if (e.reply == Reply::Swallow) checking_shape_ = false;
  auto* s = e.statement == StatementId::None ? nullptr : store_->find(e.statement);
  if (!s) return;
  const auto shape = type == 'n' ? 2 : shape_of(whole.subspan(5));
  if (s->shape.rows != 0 && s->shape.rows != shape) s->since = ++s->generation;  // who goes by it is told so
  s->shape.rows = shape;
  if (e.reply != Reply::Forward || !e.made || !statements_) return;
  if (auto* entry = statements_->find(protocol::as_text(*e.made)); entry && entry->statement.get() == s) {
    entry->describe(e.request == Request::DescribeStatement ? Known::All : Known::Rows);
  }
}

}  // namespace sidepool::pool
