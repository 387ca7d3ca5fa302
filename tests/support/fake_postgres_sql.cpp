// tests/support/fake_postgres_sql.cpp -- the little SQL that the fake backend knows.
#include "tests/support/fake_postgres.h"

namespace sidepool::test {

using namespace fake_sql;  // NOLINT: its own part

bool FakePostgres::run(Portal& p, bool several, bool with_description) {
  const auto& query = p.statement.text;
  log_.push_back(query);
  const auto w = words(query);
  const std::string verb = w[0];
  if (status_ == 'E' && !ends_block(query)) return aborted(), false;
  if (has(query, "_missing")) return fail("42P01", "relation does not exist in " + query), false;
  if (has(query, "error")) return fail("22012", "error in " + query), false;
  if (is_replay(query)) return replay(p);
  if (verb == "BEGIN" || verb == "COMMIT" || verb == "ROLLBACK" || verb == "SAVEPOINT") {
    return transaction(verb, w), true;
  }
  if (verb == "EXECUTE") {
    const auto at = statements_.find(w[1]);
    if (at == statements_.end()) return no_statement(w[1]), false;
    if (at->second.stale) return fail("0A000", "cached plan must not change result type"), false;
    Portal prepared{at->second, {}, {}};
    return run(prepared, several, with_description);
  }
  if (verb == "COPY") {
    const auto at = begin('G');
    out_.push_back(0);
    put16(0);
    end(at);
    copied_ = 0;
    flush();
    return copying_ = true;
  }
  if (returns_rows(query)) {
    if (with_description) row_description(p.statement.type);
    row(p);
    return tag("SELECT 1"), true;
  }
  return session_verb(verb, w, several);
}

bool FakePostgres::session_verb(const std::string& verb, const std::vector<std::string>& w, bool several) {
  if (fail_clean_up_ && (verb == "RESET" || verb == "DISCARD")) {
    return fail("XX000", "the clean-up has failed"), false;
  }
  if (verb == "SET" && w.size() >= 4) {
    const bool local = w[1] == "LOCAL";
    const auto name = canonical(w[local ? 2 : 1]), value = w.back();
    if (value == refused_) return fail("22023", "invalid value " + value), false;
    (local ? now_.local : now_.session)[name] = value;
    if (!local) now_.local.erase(name);
    keep();
  } else if (verb == "RESET" && w.size() >= 2) {
    if (w[1] == "ALL")
      now_ = {};
    else if (w[1] != "SESSION")
      now_.session.erase(canonical(w[1])), now_.local.erase(canonical(w[1]));
    keep();
  } else if (verb == "DISCARD" && w.size() >= 2 && w[1] != "ALL") {
    if (w[1] == "TEMP") temp_.clear();
    return tag("DISCARD " + w[1]), true;
  } else if (verb == "UNLISTEN") {
    listens_.clear();
    keep();
  } else if (verb == "DISCARD") {
    if (status_ != 'I' || several)
      return fail("25001", "DISCARD ALL cannot run inside a transaction block"), false;
    now_ = {};
    keep();
    statements_.clear(), portals_.clear(), temp_.clear(), listens_.clear();
    return tag("DISCARD ALL"), true;
  } else if (verb == "DEALLOCATE") {
    if (w[1] == "ALL") return statements_.clear(), tag("DEALLOCATE ALL"), true;
    if (statements_.erase(w[1]) == 0) return no_statement(w[1]), false;
  } else if (verb == "PREPARE") {  // PREPARE name AS text
    if (statements_.count(w[1]) != 0) {
      return fail("42P05", "prepared statement \"" + w[1] + "\" already exists"), false;
    }
    statements_[w[1]] = {log_.back().substr(log_.back().find(" AS ") + 4), visible()["TimeZone"], objects_,
                         type_};
  } else if (verb == "LISTEN") {
    listens_.insert(w[1]);
  } else if (verb == "CREATE") {
    temp_.insert(w.back());
    return tag("CREATE TABLE"), true;
  }
  return tag(verb), true;
}

void FakePostgres::transaction(const std::string& verb, const std::vector<std::string>& w) {
  if (verb == "BEGIN") {
    if (status_ == 'I')
      before_ = {session_, {}}, temp_before_ = temp_, listens_before_ = listens_, status_ = 'T';
    return tag("BEGIN");
  }
  if (verb == "SAVEPOINT") {
    if (status_ == 'T') savepoints_.emplace_back(w[1], now_);
    return tag("SAVEPOINT");
  }
  if (verb == "ROLLBACK" && w.size() > 1) {
    while (!savepoints_.empty() && savepoints_.back().first != w[2]) savepoints_.pop_back();
    if (savepoints_.empty()) return fail("3B001", "savepoint does not exist");
    now_ = savepoints_.back().second;
    session_ = now_.session;
    status_ = 'T';
    return tag("ROLLBACK");
  }
  const bool commits = verb == "COMMIT" && status_ != 'E';
  if (!commits) undo();
  finish();
  tag(commits ? "COMMIT" : "ROLLBACK");
}

bool FakePostgres::replay(const Portal& p) {
  for (std::size_t i = 0; i < p.arrays[0].size() && i < p.arrays[1].size(); ++i) {
    if (p.arrays[1][i] == refused_) return fail("22023", "invalid value " + refused_), false;
    now_.session[canonical(p.arrays[0][i])] = p.arrays[1][i];
    now_.local.erase(canonical(p.arrays[0][i]));
    row(p);
  }
  keep();
  tag("SELECT");
  return true;
}

void FakePostgres::row_description(std::uint32_t type) {
  const auto at = begin('T');
  put16(1), text("answer"), put32(0), put16(0), put32(type), put16(0xffff), put32(0xffffffff), put16(0);
  end(at);
}

void FakePostgres::row(const Portal& p) {
  std::string value = p.statement.text + p.parameters + "|parsed in " + p.statement.zone + "|";
  if (!p.statement.objects.empty()) value += "of " + p.statement.objects + ";";
  for (const auto& [n, v] : visible()) {
    const auto d = defaults();
    const auto at = d.find(n);
    if (at == d.end() ? !v.empty() : at->second != v) value += n + "=" + v + ";";
  }
  for (const auto& t : temp_) value += "temp " + t + ";";
  for (const auto& l : listens_) value += "listen " + l + ";";
  if (has(p.statement.text, "pg_prepared_statements")) {
    for (const auto& [n, s] : statements_) {
      if (!n.empty()) value += n + "=" + s.text + " in " + s.zone + ";";
    }
  }
  const auto at = begin('D');
  put16(1), put32(static_cast<std::uint32_t>(value.size()));
  out_.insert(out_.end(), value.begin(), value.end());
  end(at);
}

}  // namespace sidepool::test
