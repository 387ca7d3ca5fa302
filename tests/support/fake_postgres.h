// tests/support/fake_postgres.h -- a model of one PostgreSQL backend behind its login: bytes in, bytes out.
//
// It follows postgres.c where the order of replies is concerned: implicit transactions, the skip to the next
// Sync, COPY-in that reads Sync and Flush without a word, settings that a rollback puts back, ParameterStatus
// just before ReadyForQuery. Of SQL it knows BEGIN to ROLLBACK TO, SET, RESET, DISCARD ALL, DEALLOCATE,
// PREPARE, EXECUTE, LISTEN, COPY FROM ("bad line" fails), CREATE TEMP TABLE and SELECT; "error" and "syntax"
// in a text make it fail. A SELECT answers with its own text, its parameters and all state of the session
// that differs from a fresh one, so that a mix-up is visible.
#pragma once
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
#include "tests/support/fake_sql_text.h"

namespace sidepool::test {

class FakePostgres {
 public:
  using Values = std::map<std::string, std::string>;

  // `startup`: the parameters of its startup message, which a RESET goes back to.
  explicit FakePostgres(std::uint32_t pid = 4711, const Values& startup = {}) : pid_(pid), base_(defaults()) {
    for (const auto& [name, value] : startup) base_[fake_sql::canonical(name)] = value;
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

  // fake_postgres.cpp: messages, and the order of replies
  void message(char type, const protocol::Buffer& body);
  void simple(const std::string& all);
  void parse(const protocol::Buffer& body);
  void bind(const protocol::Buffer& body);
  void describe_or_close(char type, const protocol::Buffer& body);
  void execute(const std::string& name);
  void in_copy(char type, std::string_view body);
  void extended();
  void keep();
  void undo();
  void finish();
  void ready();
  bool refuses_now(const std::string& query);
  void fail(std::string_view code, const std::string& message);
  void failed();
  void aborted();
  void no_statement(const std::string& name);
  Values visible() const;

  // fake_postgres_sql.cpp: statements; false: it has failed
  bool run(Portal& p, bool several, bool with_description);
  bool session_verb(const std::string& verb, const std::vector<std::string>& w, bool several);
  void transaction(const std::string& verb, const std::vector<std::string>& w);
  bool replay(const Portal& p);
  void row_description(std::uint32_t type);
  void row(const Portal& p);

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
