// tests/e2e/isolation/client.cpp -- see client.h
#include "tests/e2e/isolation/client.h"

#include <array>
#include <thread>

#include "protocol/messages.h"

namespace sidepool::isolation {

using load_client::Clock;
using load_client::RawClient;
using protocol::Buffer;

namespace {

constexpr std::string_view kMark = "mk!";  // then the client's number with six digits
constexpr std::size_t kMarkDigits = 6;
constexpr auto kZones =
    std::to_array<std::string_view>({"UTC", "Asia/Tokyo", "America/Lima", "Africa/Cairo", "Europe/Oslo"});

std::string marker_of(unsigned number) {
  const auto digits = std::to_string(number);
  return std::string(kMark) + std::string(kMarkDigits - digits.size(), '0') + digits;
}

}  // namespace

Client::Client(World& world, Tally& tally, unsigned number)
    : world_(world),
      tally_(tally),
      number_(number),
      marker_(marker_of(number)),
      database_(world.databases[number % world.databases.size()]),
      user_(world.users[number / world.databases.size() % world.users.size()]),
      random_(world.seed * 1'000'003 + number) {}

Clock::time_point Client::patience() const { return Clock::now() + std::chrono::seconds(90); }

void Client::live() {
  while (!world_.stop) {
    if (wire_.connected() || connect()) turn();
  }
  if (!wire_.connected()) return;
  Buffer bye;
  protocol::terminate(bye);
  wire_.send(bye, patience());
  wire_.close();
}

bool Client::connect() {
  application_ = "app of " + marker_;
  time_zone_.clear();
  prepared_.clear();
  cancel_out_ = false;
  const bool told = below(2) == 0;
  std::vector<protocol::Parameter> parameters{{"user", user_}, {"database", database_}};
  if (told) parameters.emplace_back("application_name", application_);
  if (!told) application_.clear();
  load_client::Login l;
  if (wire_.connect(world_.pooled)) l = login(wire_, parameters, patience());
  for (const auto& m : l.messages) search(m);
  if (!l.in) {
    ++tally_.refused_logins;
    wire_.close();
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + below(50)));  // as an application would
    return false;
  }
  ++tally_.logins;
  pid_ = l.pid;
  key_ = l.key;
  return true;
}

void Client::turn() {
  static constexpr std::array kUseful = {&Client::plain,         &Client::parameters,    &Client::named,
                                         &Client::same_name,     &Client::settings,      &Client::error_text,
                                         &Client::journal_write, &Client::journal_write, &Client::copy_out,
                                         &Client::copy_in,       &Client::parameters,    &Client::plain};
  static constexpr std::array kCostly = {&Client::custom_setting, &Client::temp_table, &Client::advisory_lock,
                                         &Client::large, &Client::cancel_self};
  static constexpr std::array kRude = {&Client::late_reset, &Client::half_message, &Client::walk_away};
  const auto k = below(100);
  if (k < 84) return (this->*kUseful[below(kUseful.size())])();
  if (k < 96) return (this->*kCostly[below(kCostly.size())])();
  (this->*kRude[below(kRude.size())])();
}

// Anybody's marker but our own, anywhere in a message.
void Client::search(const Message& m) {
  ++tally_.checks;
  const std::string_view body = m.body;
  for (auto at = body.find(kMark); at != std::string_view::npos; at = body.find(kMark, at + 1)) {
    if (body.substr(at, marker_.size()) == marker_) continue;
    tally_.find("FOREIGN: " + marker_ + " was given " + std::string(body.substr(at, marker_.size() + 12)) +
                " in a message of type " + m.type);
  }
}

// True: that was the last message of the cycle.
bool Client::take(Answer& a, const Message& m) {
  search(m);
  switch (m.type) {
    case 'D': {
      protocol::Reader r(protocol::as_bytes(m.body));
      const auto columns = r.u16();
      const auto size = columns == 0 ? 0U : r.u32();
      a.values.emplace_back(size == 0xFFFFFFFF ? "null" : protocol::as_text(r.bytes(size)));
      ++tally_.rows;
      return false;
    }
    case 'd':
      a.values.push_back(m.body);
      return false;
    case 'C':
      a.tag = m.body.c_str();
      return false;
    case 'E': {
      const auto e = load_client::error_text(m.body);
      a.code = e.code;
      a.message = e.message;
      a.fatal |= e.severity == "FATAL";
      return false;
    }
    case 'G':
      return true;
    case 'Z':
      a.complete = true;
      a.status = m.body.empty() ? '?' : m.body[0];
      return true;
    default:
      return false;
  }
}

Client::Answer Client::answer() {
  Answer a;
  Message m;
  for (;;) {
    const auto got = wire_.read(m, patience());
    if (got == RawClient::Got::Late) tally_.find("HANGS: no answer for " + marker_);
    if (got != RawClient::Got::Message) return a;
    if (take(a, m)) return a;
  }
}

Client::Answer Client::ask(std::string_view query) {
  Buffer out;
  protocol::query(out, query);
  wire_.send(out, patience());
  return answer();
}

Client::Answer Client::ask_prepared(const std::string& name, const std::string& text,
                                    const std::vector<std::string>& values) {
  Buffer out;
  if (!text.empty()) protocol::parse(out, name, text, {});
  const std::vector<std::string_view> views(values.begin(), values.end());
  protocol::bind_text(out, "", name, views);
  if (below(2) == 0) protocol::describe(out, 'P', "");
  protocol::execute(out, "", 0);
  protocol::sync(out);
  wire_.send(out, patience());
  return answer();
}

void Client::drop(bool reset) {
  if (reset) {
    wire_.reset();
  } else {
    wire_.close();
  }
}

// The connection was ended, by an administrator, a restart or ourselves, or a request was not begun.
bool Client::excused(const Answer& a) const {
  if (!a.complete) {
    return a.code.empty() || a.code.starts_with("57P") || a.code.starts_with("08");
  }
  if (a.code == "57014") return cancel_out_;
  return a.code == "57P03" || a.code == "53300" || a.code.starts_with("08") || a.code == "57P01";
}

bool Client::expect(const Answer& a, const std::vector<std::string>& values, std::string_view doing) {
  if (a.complete && a.code.empty() && a.values == values) {
    ++tally_.transactions;
    return true;
  }
  if (a.code.empty() && a.complete) {
    std::string got;
    for (const auto& v : a.values) got += " '" + v.substr(0, 60) + "'";
    tally_.find("WRONG: " + marker_ + " " + std::string(doing) + " got" + got + " instead of '" +
                (values.empty() ? "" : values[0].substr(0, 60)) + "'");
  } else if (!excused(a)) {
    tally_.find("UNEXPECTED: " + marker_ + " " + std::string(doing) + ": " + a.code + " " + a.message);
  }
  if (!a.complete) ++tally_.lost_connections;
  if (a.code == "57014") ++tally_.cancelled;
  drop(false);  // whatever state it is in
  return false;
}

void Client::plain() {
  const auto v = fresh();
  expect(ask("select '" + v + "' /* " + marker_ + " */"), {v}, "a query");
}

void Client::parameters() {
  const auto v = fresh();
  expect(ask_prepared("", "select $1::text || ' of " + marker_ + "'", {v}), {v + " of " + marker_},
         "the unnamed statement");
}

void Client::named() {
  const auto v = fresh();
  const bool first = prepared_.empty();
  if (first) prepared_ = "st of " + marker_;
  expect(ask_prepared(prepared_, first ? "select $1::text || ' prepared by " + marker_ + "'" : "", {v}),
         {v + " prepared by " + marker_}, "its statement");
  ++tally_.prepared;
}

// Everybody uses this name, each for another text; it is parsed, used in later transactions, and closed.
void Client::same_name() {
  Buffer out;
  protocol::close(out, 'S', "everybody's");
  protocol::parse(out, "everybody's", "select '" + marker_ + "' || $1::text", {});
  protocol::sync(out);
  wire_.send(out, patience());
  if (!expect(answer(), {}, "Parse of everybody's name")) return;
  for (auto i = below(3) + 1; i > 0; --i) {
    const auto v = fresh();
    if (!expect(ask_prepared("everybody's", "", {v}), {marker_ + v}, "everybody's name")) return;
  }
  ++tally_.prepared;
}

void Client::settings() {
  ++tally_.settings;
  if (below(3) == 0) {
    application_ = "named " + fresh();
    if (!expect(ask("set application_name to '" + application_ + "'"), {}, "SET application_name")) return;
  }
  if (below(3) == 0) {
    time_zone_ = kZones[below(kZones.size())];
    if (!expect(ask("set timezone to '" + time_zone_ + "'"), {}, "SET TimeZone")) return;
  }
  if (!expect(ask("show application_name"), {application_}, "application_name")) return;
  if (!time_zone_.empty()) expect(ask("show timezone"), {time_zone_}, "TimeZone");
}

void Client::custom_setting() {
  ++tally_.settings;
  const auto v = fresh();
  static constexpr std::string_view kLook =
      "select coalesce(nullif(current_setting('app.marker', true), ''), 'none')";
  // A function sets it, which nothing reports: whether it is still there in the next transaction is open, but
  // whoever reads it is its owner. search() sees to that.
  if (below(2) == 0) {
    if (!expect(ask("select set_app('" + v + "')"), {v}, "set_app")) return;
    const auto a = ask(kLook);
    if (a.values != std::vector<std::string>{"none"}) expect(a, {v}, "app.marker of a function");
    return drop(below(2) == 0);
  }
  if (!expect(ask(kLook), {"none"}, "app.marker at first")) return;
  if (!expect(ask("set app.marker to '" + v + "'"), {}, "SET app.marker")) return;
  if (!expect(ask("select current_setting('app.marker')"), {v}, "app.marker")) return;
  if (below(4) != 0 && !expect(ask("discard all"), {}, "DISCARD ALL")) return;
  drop(below(2) == 0);  // startup values are in force again, which this test does not follow
}

void Client::temp_table() {
  ++tally_.temp_tables;
  const auto v = fresh();
  if (!expect(ask("create temp table mine (v text)"), {}, "CREATE TEMP TABLE")) return;
  if (!expect(ask("insert into mine values ('" + v + "')"), {}, "INSERT into it")) return;
  if (!expect(ask("select v from mine"), {v}, "its temp table")) return;
  if (below(2) == 0) return drop(below(2) == 0);
  expect(ask("drop table mine"), {}, "DROP TABLE");
}

void Client::advisory_lock() {
  ++tally_.locks;
  const auto n = std::to_string(number_);
  if (!expect(ask("select pg_advisory_lock(" + n + ")"), {""}, "pg_advisory_lock")) return;
  const auto held =
      "select objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() order by 1";
  if (!expect(ask(held), {n}, "its advisory locks")) return;
  if (below(3) == 0) return drop(below(2) == 0);
  expect(ask("select pg_advisory_unlock(" + n + ")"), {"t"}, "pg_advisory_unlock");
}

void Client::error_text() {
  const auto v = fresh();
  const auto a = ask("select '" + v + "'::int");
  if (a.complete && a.code == "22P02" && a.message.find('"' + v + '"') != std::string::npos) {
    ++tally_.errors_expected;
    return;
  }
  expect(a, {"an error"}, "an error");
}

// A statement must be carried out once or not at all, and the client must know which unless its connection
// was lost.
void Client::journal_write() {
  const auto n = ++sequence_;
  const auto row = "('" + marker_ + "', " + std::to_string(n) + ")";
  const bool block = below(2) == 0, commit = below(4) != 0;
  const auto insert = "insert into journal values " + row;
  ++tally_.writes;
  journal_[n] = Fate::Uncertain;
  if (!block) {
    const auto a = below(2) == 0 ? ask(insert) : ask_prepared("", insert, {});
    if (a.complete) journal_[n] = a.code.empty() ? Fate::Committed : Fate::Absent;
    if (a.complete && a.code.empty() && a.tag != "INSERT 0 1")
      tally_.find("WRONG: " + marker_ + " tag " + a.tag);
    expect(a, {}, "INSERT");
  } else {
    journal_[n] = Fate::Absent;
    auto a = ask("begin");
    if (!expect(a, {}, "BEGIN")) return;
    if (!expect(ask(insert), {}, "INSERT in a block")) return;
    const auto count =
        "select count(*) from journal where marker = '" + marker_ + "' and n = " + std::to_string(n);
    if (!expect(ask(count), {"1"}, "its own row")) return;
    journal_[n] = commit ? Fate::Uncertain : Fate::Absent;
    a = ask(commit ? "commit" : "rollback");
    if (a.complete && a.code.empty())
      journal_[n] = commit && a.tag == "COMMIT" ? Fate::Committed : Fate::Absent;
    expect(a, {}, "end of a block");
  }
  if (journal_[n] == Fate::Uncertain) ++tally_.uncertain;
}

void Client::copy_out() {
  ++tally_.copies;
  const auto v = fresh();
  expect(ask("copy (select '" + v + "' from generate_series(1, 3)) to stdout"),
         {v + "\n", v + "\n", v + "\n"}, "COPY OUT");
}

void Client::copy_in() {
  ++tally_.copies;
  const auto v = fresh();
  auto a = ask("copy inbox from stdin");
  if (a.complete || !a.code.empty()) return void(expect(a, {"CopyInResponse"}, "COPY IN"));
  Buffer out;
  const auto line = v + "\n";
  out.push_back('d');
  out.resize(out.size() + 4);
  protocol::store_be32(out.data() + 1, static_cast<std::uint32_t>(line.size() + 4));
  out.insert(out.end(), line.begin(), line.end());
  const bool fail = below(4) == 0;
  if (fail) {
    protocol::copy_fail(out, v);
  } else {
    out.insert(out.end(), {'c', 0, 0, 0, 4});
  }
  wire_.send(out, patience());
  a = answer();
  if (fail && a.complete && a.code == "57014" && a.message.find(v) != std::string::npos) {
    ++tally_.errors_expected;
    return;
  }
  expect(a, {}, "end of COPY IN");
}

void Client::large() {
  ++tally_.large;
  const auto v = fresh();
  const auto a = ask("select repeat('" + v + "', 20000) from generate_series(1, 3)");
  std::string whole;
  for (int i = 0; i < 20000; ++i) whole += v;
  expect(a, {whole, whole, whole}, "a large result");
}

void Client::cancel_self() {
  ++tally_.cancels;
  Buffer out;
  const auto v = fresh();
  protocol::query(out, "select pg_sleep(" + std::string(below(2) == 0 ? "0.02" : "5") + "), '" + v + "'");
  wire_.send(out, patience());
  wire_.look(std::chrono::milliseconds(below(30)));
  cancel_out_ = true;
  RawClient side;
  if (side.connect(world_.pooled)) {
    Buffer request;
    protocol::cancel_request(request, pid_, protocol::as_bytes(key_));
    side.send(request, patience());
    if (!side.wait_end(patience())) tally_.find("HANGS: a cancel request of " + marker_);
  }
  const auto a = answer();
  if (a.complete && a.code == "57014") {
    ++tally_.cancelled;
  } else if (!expect(a, {""}, "a cancelled query")) {
    return;
  }
  cancel_out_ = false;
  plain();  // the connection that handed the cancel over has ended, so it hits nothing of later
}

void Client::late_reset() {
  Buffer out;
  protocol::query(out, "select repeat('" + fresh() + "', 50) from generate_series(1, " +
                           std::to_string(1 + below(3000)) + ")");
  wire_.send(out, patience());
  wire_.look(std::chrono::milliseconds(below(5)));
  ++tally_.resets;
  drop(true);
}

void Client::half_message() {
  Buffer out;
  if (below(2) == 0) protocol::query(out, "begin; select '" + fresh() + "'");
  protocol::parse(out, "half of " + marker_, "select '" + fresh() + "'", {});
  protocol::bind_text(out, "", "half of " + marker_, {});
  out.resize(1 + below(out.size() - 1));
  wire_.send(out, patience());
  wire_.look(std::chrono::milliseconds(below(5)));
  ++tally_.half_messages;
  drop(below(2) == 0);
}

// In the middle of a transaction.
void Client::walk_away() {
  const auto n = ++sequence_;
  Buffer out;
  protocol::query(out, "begin");
  protocol::query(out, "insert into journal values ('" + marker_ + "', " + std::to_string(n) + ")");
  journal_[n] = Fate::Absent;
  if (below(2) == 0) protocol::query(out, "select pg_sleep(0.05)");
  if (below(2) == 0) protocol::terminate(out);
  wire_.send(out, patience());
  if (below(2) == 0) wire_.look(std::chrono::milliseconds(5));
  ++tally_.abandoned;
  drop(below(3) == 0);
}

}  // namespace sidepool::isolation
