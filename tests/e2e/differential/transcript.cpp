// tests/e2e/differential/transcript.cpp -- see transcript.h
#include "tests/e2e/differential/transcript.h"

#include <algorithm>
#include <functional>

#include "protocol/messages.h"

namespace sidepool::differential {

using load_client::Clock;
using load_client::Message;
using load_client::RawClient;
using protocol::Buffer;

namespace {

// Answers to this many Close of a statement that is not there, then ReadyForQuery: the exchange is over. They
// change nothing in any state of a session.
constexpr int kEndMarks = 9;

std::string shown(std::string_view bytes) {
  auto s = printable(bytes);
  if (bytes.size() > 300) s += " #" + std::to_string(std::hash<std::string_view>{}(bytes));
  return s;
}

protocol::Bytes bytes_of(const std::string& s) { return protocol::as_bytes(s); }

// PostgreSQL repeats a name as it was given, sidepool where it stands for 63 bytes of it only those.
std::string without_tails(std::string text) {
  static const std::string kLong(63, 'n');
  const auto at = text.find(kLong);
  if (at == std::string::npos) return text;
  const auto end = std::min(text.find('"', at), text.size());
  return text.erase(at + kLong.size(), end - at - kLong.size());
}

std::string row_description(const std::string& body) {
  protocol::Reader r(bytes_of(body));
  std::string out = "RowDescription";
  const auto columns = r.u16();
  for (unsigned i = 0; i < columns && r.ok(); ++i) {
    out += " " + std::string(r.cstr());
    out += r.u32() != 0 ? "(table " : "(";
    for (const unsigned v : {unsigned{r.u16()}, unsigned{r.u32()}}) out += std::to_string(v) + " ";
    for (const unsigned v : {unsigned{r.u16()}, unsigned{r.u32()}, unsigned{r.u16()}})
      out += std::to_string(v) + " ";
    out += ")";
  }
  return out + (r.done() ? "" : " MALFORMED");
}

std::string notification(const std::string& body, std::uint32_t own) {
  protocol::Reader r(bytes_of(body));
  std::string out = r.u32() == own ? "Notification of own" : "Notification of others";
  out += " " + std::string(r.cstr());
  return out + " '" + std::string(r.cstr()) + "'";
}

}  // namespace

std::optional<std::string> Describer::line(const Message& m) {
  switch (m.type) {
    case 'N':
      return std::nullopt;
    case 'K':
      return "BackendKeyData";
    case 'S': {
      protocol::Reader r(bytes_of(m.body));
      const auto name = r.cstr();
      told_[std::string(name)] = std::string(r.cstr());
      return std::nullopt;
    }
    case 'A':
      return notification(m.body, pid_);
    case 'E': {
      const auto e = load_client::error_text(m.body);
      return "Error " + e.severity + " " + e.code + " " + without_tails(e.message);
    }
    case 'T':
      return row_description(m.body);
    case 'Z': {
      std::string out = "ReadyForQuery " + m.body;
      for (const auto& [name, value] : told_) {
        if (const auto b = before_.find(name); b == before_.end() || b->second != value)
          out += " " + name + "=" + value;
      }
      before_ = told_;
      return out;
    }
    default:
      return std::string(1, m.type) + " " + shown(m.body);
  }
}

namespace {

// Bytes of an exchange, and what follows them so that its end can be recognised.
Buffer all_bytes(const Exchange& e, bool copy, bool marks) {
  Buffer out;
  for (const auto& op : e.ops) out.insert(out.end(), op.bytes.begin(), op.bytes.end());
  if (!marks) return out;
  if (copy) protocol::copy_fail(out, "end of exchange");
  protocol::sync(out);
  for (int i = 0; i < kEndMarks; ++i) protocol::close(out, 'S', "end of exchange");
  protocol::sync(out);
  return out;
}

bool send_in_pieces(RawClient& c, const Buffer& bytes, const std::vector<std::uint32_t>& cuts,
                    Clock::time_point until) {
  std::vector<std::size_t> at;
  for (const auto cut : cuts) at.push_back(static_cast<std::size_t>(std::uint64_t{cut} * bytes.size() >> 32));
  std::sort(at.begin(), at.end());
  at.push_back(bytes.size());
  std::size_t from = 0;
  for (const auto to : at) {
    if (!c.send(protocol::Bytes(bytes).subspan(from, to - from), until)) return false;
    if (to != bytes.size()) c.look(std::chrono::milliseconds(to % 4));  // the others get their turn
    from = to;
  }
  return true;
}

// True: the end marks have come. Their lines are taken off again.
bool read_exchange(RawClient& c, Describer& d, Replies& replies, bool marks, Clock::time_point until) {
  Message m;
  int closes = 0;
  for (;;) {
    const auto got = c.read(m, until);
    if (got != RawClient::Got::Message) {
      replies.push_back(got == RawClient::Got::End ? "end" : "no reply");
      return false;
    }
    if (const auto l = d.line(m)) replies.push_back(*l);
    if (m.type == '3') ++closes;
    if (marks && m.type == 'Z' && closes >= kEndMarks) {
      // All but what ParameterStatus messages between the marks would have told.
      std::string ready = replies.back();
      replies.resize(replies.size() - kEndMarks - 1);
      if (ready.size() > std::string_view("ReadyForQuery ?").size())
        replies.push_back("late" + ready.substr(15));
      return true;
    }
    if (std::string_view("3SNA").find(m.type) == std::string_view::npos) closes = 0;
  }
}

}  // namespace

Transcript run(const Script& script, const Target& target) {
  Transcript t;
  const auto until = [&target] { return Clock::now() + target.patience; };
  RawClient c;
  if (!c.connect(target.address)) {
    t.login.emplace_back("no connection");
    return t;
  }
  std::vector<protocol::Parameter> parameters{{"user", target.user}};
  bool database = false;
  for (const auto& [name, value] : script.startup) {
    parameters.emplace_back(name, value);
    database |= name == "database";
  }
  if (!database) parameters.emplace_back("database", target.database);
  const auto login = load_client::login(c, parameters, until());
  Describer d;
  d.set_pid(login.pid);
  for (const auto& m : login.messages) {
    if (const auto l = d.line(m)) t.login.push_back(*l);
  }
  if (!login.in) {  // sidepool says AuthenticationOk only when the parameters are known to be good, too
    if (!t.login.empty() && t.login.front().starts_with("R ")) t.login.erase(t.login.begin());
    t.login.emplace_back("end");
    return t;
  }
  bool copy = false;
  for (const auto& e : script.exchanges) {
    bool marks = true;
    for (const auto& op : e.ops) copy |= op.copy_in, marks &= !op.ends;
    auto& replies = t.exchanges.emplace_back();
    send_in_pieces(c, all_bytes(e, copy, marks), e.cuts, until());
    if (!read_exchange(c, d, replies, marks, until())) break;
  }
  Buffer bye;
  protocol::terminate(bye);
  c.send(bye, until());
  return t;
}

}  // namespace sidepool::differential
