// tests/unit/pool/session_fixture.h -- clients and servers of one pool, with a broker that grants at once.
#pragma once
#include <gtest/gtest.h>

#include <deque>

#include "tests/support/session_rig.h"

namespace sidepool::test {

class SessionTest : public ::testing::Test {
 protected:
  SessionRig& client(const FakePostgres::Values& startup = {}) { return client(startup, options_); }
  // REQUIRES: `options` outlive the fixture's clients.
  SessionRig& client(const FakePostgres::Values& startup, const pool::SessionOptions& options) {
    auto& c = clients_.emplace_back(
        pool::SessionId{pool::WorkerId{0}, static_cast<std::uint32_t>(clients_.size() + 1), 1}, options,
        store_);
    c.begin(startup);
    settle();
    return c;
  }
  // Runs until nothing is on its way. A waiting client gets the free server with the lowest number.
  void settle() {
    for (bool more = true; more;) {
      more = false;
      for (auto& c : clients_) {
        if (c.waiting && grants_) {
          c.grant(free_server());
          more = true;
        }
        if (c.server && !c.server->unread.empty()) {
          c.deliver();
          more = true;
        }
        EXPECT_EQ(c.broken, "");
      }
    }
  }
  // A server that was opened after the database's own value of a parameter had changed.
  FakeServer& server_with(const std::string& name, const std::string& value) {
    const auto pid = static_cast<std::uint32_t>(100 + servers_.size());
    auto& s = servers_.emplace_back(pid);
    s.pg = FakePostgres(pid, {{name, value}});
    s.state.base = pool::with(s.state.base, name, value);
    return s;
  }
  FakeServer& free_server() {
    for (auto& s : servers_) {
      if (!s.lent && !s.closed && &s != avoid_) return s;
    }
    return servers_.emplace_back(static_cast<std::uint32_t>(100 + servers_.size()));
  }
  std::string ask(SessionRig& c, Bytes bytes) {
    c.send(bytes);
    settle();
    return words_of(c.take());
  }
  std::string ask(SessionRig& c, std::string_view text) { return ask(c, query(text)); }

  static Buffer query(std::string_view text) {
    Buffer b;
    protocol::query(b, text);
    return b;
  }
  static Buffer parse(std::string_view name, std::string_view text) {
    Buffer b;
    protocol::parse(b, name, text, {});
    return b;
  }
  static Buffer bind(std::string_view name, std::string_view portal = "", std::string_view value = "v") {
    Buffer b;
    const std::string_view values[] = {value};
    protocol::bind_text(b, portal, name, values);
    return b;
  }
  static Buffer describe(char kind, std::string_view name) {
    Buffer b;
    protocol::describe(b, kind, name);
    return b;
  }
  static Buffer close(char kind, std::string_view name) {
    Buffer b;
    protocol::close(b, kind, name);
    return b;
  }
  static Buffer execute(std::string_view portal = "") {
    Buffer b;
    protocol::execute(b, portal, 0);
    return b;
  }
  static Buffer sync() {
    Buffer b;
    protocol::sync(b);
    return b;
  }
  static Buffer flush() {
    Buffer b;
    protocol::flush(b);
    return b;
  }
  static Buffer raw(char type, std::string_view body) {
    Buffer b{static_cast<std::uint8_t>(type), 0, 0, 0, 0};
    protocol::store_be32(b.data() + 1, static_cast<std::uint32_t>(body.size() + 4));
    b.insert(b.end(), body.begin(), body.end());
    return b;
  }
  template <class... Parts>
  static Buffer join(const Parts&... parts) {
    Buffer b;
    (b.insert(b.end(), parts.begin(), parts.end()), ...);
    return b;
  }

  pool::SessionOptions options_;
  pool::StatementStore store_{"0123456789abcdef", pool::WorkerId{0}, 1U << 20};
  std::deque<FakeServer> servers_;
  std::deque<SessionRig> clients_;
  const FakeServer* avoid_ = nullptr;  // not granted
  bool grants_ = true;
};

}  // namespace sidepool::test
