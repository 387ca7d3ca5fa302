// tests/support/fake_postgres.h -- a model of one PostgreSQL backend behind its login: bytes in, bytes out.
//
// It follows postgres.c where the order of replies is concerned: implicit transactions, the skip to the next
// Sync, COPY-in that reads Sync and Flush without a word, settings that a rollback puts back, ParameterStatus
// just before ReadyForQuery. Of SQL it knows BEGIN to ROLLBACK TO, SET, RESET, DISCARD ALL, DEALLOCATE,
// PREPARE, EXECUTE, LISTEN, COPY FROM ("bad line" fails), CREATE TEMP TABLE and SELECT; "error" and "syntax"
// in a text make it fail. A SELECT answers with its own text, its parameters and all state of the session
// that differs from a fresh one, so that a mix-up is visible.
#pragma once
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/encode.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace sidepool::test {

class FakePostgres {
 public:
  using Values = std::map<std::string, std::string>;

  // `startup`: the parameters of its startup message, which a RESET goes back to.
  explicit FakePostgres(std::uint32_t pid = 4711, const Values& startup = {}) : pid_(pid), base_(defaults()) {
    for (const auto& [name, value] : startup) base_[canonical(name)] = value;
    told_ = visible();
  }

  void feed(protocol::Bytes in) {
    while (auto s = framer_.next(in)) {
      body_.insert(body_.end(), s->body().begin(), s->body().end());
      if (!s->last) continue;
      protocol::Buffer whole;
      whole.swap(body_);
      message(s->type, whole);
    }
  }
  // What it has sent: replies of the extended protocol stay in its buffer until a Sync, a Flush, an error or
  // 8 KiB.
  protocol::Buffer take_output() {
    if (gone_ || out_.size() >= 8192) flush();
    const auto end = out_.begin() + static_cast<std::ptrdiff_t>(std::exchange(sent_, 0));
    protocol::Buffer sent(out_.begin(), end);
    out_.erase(out_.begin(), end);
    return sent;
  }
  bool at_boundary() const { return framer_.at_boundary(); }
  bool idle() const { return status_ == 'I' && !implicit_ && !skip_ && !copying_ && at_boundary(); }
  bool gone() const { return gone_; }
  char status() const { return status_; }
  std::uint32_t pid() const { return pid_; }
  static Values defaults() {
    return {{"application_name", ""},
            {"client_encoding", "UTF8"},
            {"standard_conforming_strings", "on"},
            {"TimeZone", "UTC"}};
  }
  const std::vector<std::string>& log() const { return log_; }
  // The server's configuration is reloaded with another value.
  void reload(const std::string& name, const std::string& value) { base_[name] = value; }
  // How many statements have been carried out.
  std::size_t done() const { return done_; }
  std::size_t statements() const { return statements_.size(); }
  bool clean() const {
    return visible() == defaults() && temp_.empty() && listens_.empty() && status_ == 'I';
  }
  // A text for which this gives an ErrorResponse fails with that and does not run.
  std::function<std::optional<protocol::Buffer>(const std::string&)> refuses;
  // Called before a ReadyForQuery that says idle.
  std::function<void(FakePostgres&, protocol::Buffer&)> at_idle;
  bool has_temp() const { return !temp_.empty(); }
  bool listens() const { return !listens_.empty(); }
  void lose_objects() { temp_.clear(), listens_.clear(), temp_before_.clear(), listens_before_.clear(); }
  // set_config with this value fails.
  void refuse_value(std::string v) { refused_ = std::move(v); }
  // A Parse of a text with this in it fails from now on: what it names has been dropped.
  void refuse_text(std::string t) { refused_text_ = std::move(t); }
  void fail_clean_up() { fail_clean_up_ = true; }
  // The plan of every statement returns other columns from now on.
  void change_results() {
    for (auto& [name, s] : statements_) s.stale = true;
  }
  // What the names in a text mean to a Parse from now on.
  void set_objects(std::string objects) { objects_ = std::move(objects); }
  // The type of columns and parameters in texts that are parsed from now on.
  void set_type(std::uint32_t type) { type_ = type; }
  // As a function may do by EXECUTE 'DEALLOCATE ALL'.
  void drop_statements() { statements_.clear(); }
  void notify(std::string_view channel) {
    const auto at = begin('A');
    put32(pid_), text(channel), text("");
    end(at);
    flush();
  }

 private:
  struct Statement {
    std::string text, zone;  // zone: the TimeZone when it was parsed, as literals would be converted
    std::string objects;     // what its names were found to mean then
    std::uint32_t type = 0;  // of its columns, and of its parameter if it has one
    bool stale = false;
  };
  struct Portal {
    Statement statement;
    std::string parameters;
    std::vector<std::string> arrays[2];
    bool done = false;
  };
  struct State {
    Values session, local;
  };

  // ---- messages
  void message(char type, const protocol::Buffer& body) {
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

  void simple(const std::string& all) {
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

  void parse(const protocol::Buffer& body) {
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

  void bind(const protocol::Buffer& body) {
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

  void describe_or_close(char type, const protocol::Buffer& body) {
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

  void execute(const std::string& name) {
    extended();
    const auto at = portals_.find(name);
    if (at == portals_.end()) return fail("34000", "portal \"" + name + "\" does not exist");
    if (split(at->second.statement.text).empty()) return protocol::empty_query_response(out_);
    if (at->second.done) return tag("SELECT 0");
    at->second.done = true;
    Portal p = at->second;
    run(p, false, false);
  }

  void in_copy(char type, std::string_view body) {
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

  // ---- statements; false: it has failed
  bool run(Portal& p, bool several, bool with_description) {
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

  bool session_verb(const std::string& verb, const std::vector<std::string>& w, bool several) {
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

  void transaction(const std::string& verb, const std::vector<std::string>& w) {
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

  bool replay(const Portal& p) {
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

  // ---- transaction state
  void extended() {
    if (!implicit_ && status_ == 'I')
      before_ = {session_, {}}, temp_before_ = temp_, listens_before_ = listens_;
    implicit_ = extended_ = true;
  }
  void keep() { session_ = now_.session; }
  void undo() {
    now_ = before_;
    session_ = before_.session;
    temp_ = temp_before_, listens_ = listens_before_;
  }
  void finish() {
    now_.local.clear();
    savepoints_.clear();
    portals_.clear();
    status_ = 'I';
    before_ = {session_, {}};
    temp_before_ = temp_, listens_before_ = listens_;
  }
  void ready() {
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
  bool refuses_now(const std::string& query) {
    const auto error = refuses ? refuses(query) : std::nullopt;
    if (!error) return false;
    if (status_ == 'E') return aborted(), true;
    out_.insert(out_.end(), error->begin(), error->end());
    return failed(), true;
  }
  void fail(std::string_view code, const std::string& message) {
    protocol::error_response(out_, {"ERROR", code, message, {}, {}});
    failed();
  }
  void failed() {
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
  void aborted() {
    fail("25P02", "current transaction is aborted, commands ignored until end of transaction block");
  }
  void no_statement(const std::string& name) {
    if (name.empty()) return fail("26000", "unnamed prepared statement does not exist");
    fail("26000", "prepared statement \"" + name + "\" does not exist");
  }
  Values visible() const {
    Values v = base_;
    for (const auto& [n, x] : now_.session) v[n] = x;
    for (const auto& [n, x] : now_.local) v[n] = x;
    return v;
  }

  // ---- text
  static std::vector<std::string> split(const std::string& all) {
    std::vector<std::string> texts;
    std::string one;
    for (const char c : all + ";") {
      if (c != ';') {
        if (!one.empty() || c != ' ') one += c;
        continue;
      }
      if (!one.empty()) texts.push_back(std::exchange(one, {}));
    }
    return texts;
  }
  static std::vector<std::string> words(const std::string& t) {
    std::vector<std::string> w;
    std::string one;
    for (const char c : t + " ") {
      if (c == ' ' || c == '\'' || c == '"') {
        if (!one.empty()) w.push_back(std::exchange(one, {}));
      } else {
        one += c;
      }
    }
    if (w.empty()) w.emplace_back();
    return w;
  }
  static std::string canonical(const std::string& name) {
    std::string low = name;
    std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return std::tolower(c); });
    return low == "timezone" ? "TimeZone" : low;
  }
  static bool has(const std::string& t, std::string_view what) { return t.find(what) != std::string::npos; }
  static bool is_replay(const std::string& t) { return t.starts_with("SELECT pg_catalog.set_config("); }
  static bool returns_rows(const std::string& t) { return t.starts_with("SELECT"); }
  static bool ends_block(const std::string& t) {
    return t.starts_with("ROLLBACK") || t.starts_with("COMMIT") || split(t).empty();
  }
  static std::vector<std::string> array(protocol::Bytes b) {
    std::vector<std::string> values;
    protocol::Reader r(b);
    r.u32(), r.u32(), r.u32();
    const auto n = r.u32();
    r.u32();
    for (std::uint32_t i = 0; i < n && r.ok(); ++i) values.emplace_back(protocol::as_text(r.bytes(r.u32())));
    return values;
  }

  // ---- bytes
  std::size_t begin(char type) {
    out_.push_back(static_cast<std::uint8_t>(type));
    put32(0);
    return out_.size() - 4;
  }
  void end(std::size_t at) {
    protocol::store_be32(out_.data() + at, static_cast<std::uint32_t>(out_.size() - at));
  }
  void put32(std::uint32_t v) {
    out_.resize(out_.size() + 4);
    protocol::store_be32(out_.data() + out_.size() - 4, v);
  }
  void put16(std::uint16_t v) {
    out_.push_back(static_cast<std::uint8_t>(v >> 8)), out_.push_back(static_cast<std::uint8_t>(v));
  }
  void text(std::string_view t) {
    out_.insert(out_.end(), t.begin(), t.end());
    out_.push_back(0);
  }
  void flush() { sent_ = out_.size(); }
  void tag(const std::string& t) {
    ++done_;
    protocol::command_complete(out_, t);
  }
  void row_description(std::uint32_t type) {
    const auto at = begin('T');
    put16(1), text("answer"), put32(0), put16(0), put32(type), put16(0xffff), put32(0xffffffff), put16(0);
    end(at);
  }
  void row(const Portal& p) {
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

  std::uint32_t pid_;
  protocol::Framer framer_{1U << 24};
  protocol::Buffer body_, out_;
  Values base_;
  State now_, before_;
  Values session_, told_;
  std::map<std::string, Statement> statements_;
  std::map<std::string, Portal> portals_;
  std::vector<std::pair<std::string, State>> savepoints_;
  std::set<std::string> temp_, listens_, temp_before_, listens_before_;
  std::vector<std::string> log_;
  std::string refused_ = "refused", refused_text_, objects_;
  std::uint32_t type_ = 25;
  std::size_t copied_ = 0;
  char status_ = 'I';
  std::size_t done_ = 0;
  std::size_t sent_ = 0;  // bytes of out_
  bool implicit_ = false, extended_ = false, skip_ = false, copying_ = false, gone_ = false;
  bool fail_clean_up_ = false;
};

}  // namespace sidepool::test
