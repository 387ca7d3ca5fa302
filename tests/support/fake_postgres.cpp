// tests/support/fake_postgres.cpp -- the messages of the fake backend, and when their replies leave it.
#include "tests/support/fake_postgres.h"

namespace sidepool::test {

using namespace fake_sql;  // NOLINT: its own part

void FakePostgres::message(char type, const protocol::Buffer& body) {
  if (gone_) return;
  const std::string_view view{reinterpret_cast<const char*>(body.data()), body.size()};
  if (copying_) return in_copy(type, view);
  if (type == 'X') {
    gone_ = true;
    return;
  }
  if (skip_ && type != 'S') return;
  switch (type) {
    case 'Q':
      return simple(std::string(view.substr(0, view.find('\0'))));
    case 'P':
      return parse(body);
    case 'B':
      return bind(body);
    case 'D':
    case 'C':
      return describe_or_close(type, body);
    case 'E':
      return execute(std::string(view.substr(0, view.find('\0'))));
    case 'S':
      skip_ = false;
      return ready();
    case 'F':
      extended_ = false;
      if (status_ == 'E') {
        fail("25P02", "current transaction is aborted");
      } else {
        const auto at = begin('V');
        put32(0xffffffff);
        end(at);
      }
      return ready();
    default:
      if (type == 'H') flush();
      return;  // late COPY messages
  }
}

void FakePostgres::simple(const std::string& all) {
  statements_.erase("");
  portals_.erase("");
  extended();
  extended_ = false;
  if (refuses_now(all)) return ready();
  const auto texts = split(all);
  if (texts.empty()) protocol::empty_query_response(out_);
  for (const auto& t : texts) {
    if (has(t, "syntax")) {
      fail("42601", "syntax error in " + t);
      break;
    }
  }
  if (!implicit_) return ready();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    Portal p{{texts[i], visible()["TimeZone"], objects_, type_}, {}, {}};
    if (!run(p, texts.size() > 1, true)) return ready();
    if (copying_) return;
  }
  ready();
}

void FakePostgres::parse(const protocol::Buffer& body) {
  extended();
  const auto p = protocol::ParseView::decode(body);
  if (!p) return fail("08P01", "invalid message format");
  if (p->name.empty()) statements_.erase("");
  const std::string query(p->query);
  if (refuses_now(query)) return;
  if (has(query, "syntax")) return fail("42601", "syntax error in " + query);
  if (status_ == 'E' && !ends_block(query)) return aborted();
  if (has(query, "_missing") || (!refused_text_.empty() && has(query, refused_text_))) {
    return fail("42P01", "relation does not exist in " + query);
  }
  const std::string name(p->name.substr(0, 63));
  if (!name.empty() && statements_.count(name) != 0) {
    return fail("42P05", "prepared statement \"" + name + "\" already exists");
  }
  statements_[name] = {query, visible()["TimeZone"], objects_, type_};
  protocol::parse_complete(out_);
}

void FakePostgres::bind(const protocol::Buffer& body) {
  extended();
  protocol::Reader r(body);
  const std::string portal(r.cstr()), name(r.cstr().substr(0, 63));
  if (!r.ok()) return fail("08P01", "invalid message format");
  const auto at = statements_.find(name);
  if (at == statements_.end()) return no_statement(name);
  if (status_ == 'E' && !ends_block(at->second.text)) return aborted();
  if (at->second.stale) return fail("0A000", "cached plan must not change result type");
  Portal p{at->second, {}, {}};
  for (auto n = r.u16(); n > 0; --n) r.u16();
  const auto count = r.u16();
  for (std::uint16_t i = 0; i < count && r.ok(); ++i) {
    const auto size = r.u32();
    if (size == 0xffffffff) continue;
    const auto value = r.bytes(size);
    if (is_replay(p.statement.text) && i < 2) {
      p.arrays[i] = array(value);
    } else {
      p.parameters += "," + std::string(protocol::as_text(value));
    }
  }
  for (auto n = r.u16(); n > 0 && r.ok(); --n) r.u16();
  if (!r.done()) return fail("08P01", "invalid message format");
  if (!portal.empty() && portals_.count(portal) != 0) {
    return fail("42P03", "cursor \"" + portal + "\" already exists");
  }
  portals_[portal] = std::move(p);
  protocol::bind_complete(out_);
}

void FakePostgres::describe_or_close(char type, const protocol::Buffer& body) {
  extended();
  const auto t = protocol::TargetView::decode(body);
  if (!t) return fail("08P01", "invalid message format");
  const std::string name(t->name.substr(0, 63));
  if (type == 'C') {
    if (t->kind == 'S') statements_.erase(name);
    if (t->kind == 'P') portals_.erase(name);
    return protocol::close_complete(out_);
  }
  std::string query;
  auto oid = type_;
  if (t->kind == 'S') {
    const auto at = statements_.find(name);
    if (at == statements_.end()) return no_statement(name);
    if (at->second.stale) return fail("0A000", "cached plan must not change result type");
    query = at->second.text;
    if (status_ == 'E' && returns_rows(query)) return aborted();
    oid = at->second.type;
    const bool parameter = has(query, "$1");
    const auto p = begin('t');
    put16(parameter ? 1 : 0);
    if (parameter) put32(oid);
    end(p);
  } else {
    const auto at = portals_.find(name);
    if (at == portals_.end()) return fail("34000", "portal \"" + name + "\" does not exist");
    query = at->second.statement.text;
    oid = at->second.statement.type;
    if (status_ == 'E' && returns_rows(query)) return aborted();
  }
  if (returns_rows(query)) return row_description(oid);
  end(begin('n'));
}

void FakePostgres::execute(const std::string& name) {
  extended();
  const auto at = portals_.find(name);
  if (at == portals_.end()) return fail("34000", "portal \"" + name + "\" does not exist");
  if (split(at->second.statement.text).empty()) return protocol::empty_query_response(out_);
  if (at->second.done) return tag("SELECT 0");
  at->second.done = true;
  Portal p = at->second;
  run(p, false, false);
}

void FakePostgres::in_copy(char type, std::string_view body) {
  if (type == 'S' || type == 'H') return;
  if (type == 'd') {
    copied_ += body.size();
    if (body.find("bad line") == std::string_view::npos) return;
  }
  copying_ = false;
  if (type == 'd') {
    fail("22P04", "extra data after last expected column");
  } else if (type == 'c') {
    tag("COPY " + std::to_string(copied_));
  } else if (type == 'f') {
    fail("57014", "COPY from stdin failed: " + std::string(body.substr(0, body.find('\0'))));
  } else {
    fail("08P01", "unexpected message type during COPY from stdin");
    gone_ = type == 'X';
  }
  if (!extended_ && !gone_) ready();
}

void FakePostgres::extended() {
  if (!implicit_ && status_ == 'I')
    before_ = {session_, {}}, temp_before_ = temp_, listens_before_ = listens_;
  implicit_ = extended_ = true;
}

void FakePostgres::keep() { session_ = now_.session; }

void FakePostgres::undo() {
  now_ = before_;
  session_ = before_.session;
  temp_ = temp_before_, listens_ = listens_before_;
}

void FakePostgres::finish() {
  now_.local.clear();
  savepoints_.clear();
  portals_.clear();
  status_ = 'I';
  before_ = {session_, {}};
  temp_before_ = temp_, listens_before_ = listens_;
}

void FakePostgres::ready() {
  if (status_ == 'I') finish();
  implicit_ = false;
  for (const auto& [name, value] : visible()) {
    if (defaults().count(name) == 0) continue;
    auto& told = told_[name];
    if (told == value) continue;
    told = value;
    protocol::parameter_status(out_, name, value);
  }
  if (status_ == 'I' && at_idle) at_idle(*this, out_);
  protocol::ready_for_query(out_, static_cast<protocol::TxStatus>(status_));
  flush();
}

bool FakePostgres::refuses_now(const std::string& query) {
  const auto error = refuses ? refuses(query) : std::nullopt;
  if (!error) return false;
  if (status_ == 'E') return aborted(), true;
  out_.insert(out_.end(), error->begin(), error->end());
  return failed(), true;
}

void FakePostgres::fail(std::string_view code, const std::string& message) {
  protocol::error_response(out_, {"ERROR", code, message, {}, {}});
  failed();
}

void FakePostgres::failed() {
  if (status_ == 'I') {
    undo();
    finish();
  } else {
    status_ = 'E';
  }
  implicit_ = false;
  skip_ = extended_;
  flush();
}

void FakePostgres::aborted() {
  fail("25P02", "current transaction is aborted, commands ignored until end of transaction block");
}

void FakePostgres::no_statement(const std::string& name) {
  if (name.empty()) return fail("26000", "unnamed prepared statement does not exist");
  fail("26000", "prepared statement \"" + name + "\" does not exist");
}

FakePostgres::Values FakePostgres::visible() const {
  Values v = base_;
  for (const auto& [n, x] : now_.session) v[n] = x;
  for (const auto& [n, x] : now_.local) v[n] = x;
  return v;
}

}  // namespace sidepool::test
