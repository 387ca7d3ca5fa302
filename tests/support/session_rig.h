// tests/support/session_rig.h -- drives a pool::Session as a worker would, against fake servers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pool/session.h"
#include "tests/support/fake_postgres.h"

namespace sidepool::test {

using protocol::Buffer;
using protocol::Bytes;

inline pool::Settings settings_of(const FakePostgres::Values& values) {
  auto set = std::make_shared<pool::SettingSet>();
  for (const auto& [name, value] : values) set->set(name, value);
  return set;
}

// A server and what is on its way from it.
struct FakeServer {
  explicit FakeServer(std::uint32_t pid) : pg(pid) {
    state.base = settings_of(FakePostgres::defaults());
    state.backend_pid = pid;
  }
  FakePostgres pg;
  pool::ServerState state;
  Buffer unread;  // sent by the server, not given to the session yet
  bool lent = false, closed = false;
  bool cut = false;  // closed without a Terminate
};

// One client: its session, what it has not taken yet, and what it has told the client.
class SessionRig {
 public:
  SessionRig(pool::SessionId id, const pool::SessionOptions& options, pool::StatementStore& store)
      : session(id, options, store, settings_of(FakePostgres::defaults())) {}

  void begin(const FakePostgres::Values& startup) {
    session.begin(startup.empty() ? nullptr : settings_of(startup), std::nullopt, actions_);
    run();
  }
  void grant(FakeServer& s) {
    waiting = false;
    s.lent = true;
    server = &s;
    act([&] { session.on_granted(s.state, actions_); });
    offer();
  }
  void refuse(const protocol::ErrorFields& why) {
    waiting = false;
    act([&] { session.on_refused(why, actions_); });
    offer();
  }
  // The client sends.
  void send(Bytes bytes) {
    if (!gone) held.insert(held.end(), bytes.begin(), bytes.end());
    offer();
  }
  // Up to `most` bytes of the server arrive.
  void deliver(std::size_t most = SIZE_MAX) {
    if (!server || server->unread.empty()) return;
    auto& from = server->unread;
    const auto n = std::min(most, from.size());
    Buffer now(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
    Bytes in(now);
    while (!in.empty() && server) {
      const auto before = in.size();
      bool quiet = false;
      left_ = &in;
      act([&] {
        session.on_server(in, actions_);
        quiet = actions_.empty();
      });
      left_ = nullptr;
      if (quiet && in.size() == before) break;
    }
    offer();
  }
  void server_dies() {
    server->closed = true;
    server->lent = false;
    server = nullptr;
    act([&] { session.on_server_lost(actions_); });
    offer();
  }
  void leave() {
    gone = true;
    act([&] { session.on_client_gone(actions_); });
  }
  void end(const protocol::ErrorFields& why) {
    act([&] { session.end(why, actions_); });
  }
  void cancel_begun() {
    ++cancels;
    session.on_cancel_begun();
  }
  void cancel_done(bool unfit) {
    --cancels;
    act([&] { session.on_cancel_done(unfit, actions_); });
    offer();
  }
  Buffer take() { return std::exchange(to_client, {}); }

  pool::Session session;
  FakeServer* server = nullptr;
  Buffer held, to_client, to_server;
  bool waiting = false, closed = false, gone = false, welcome = false;
  int cancels = 0, releases = 0, grants = 0;
  std::string broken;  // the first rule that did not hold

 private:
  void offer() {
    while (!held.empty() && session.takes_client_input()) {
      Bytes in(held);
      const auto before = in.size();
      bool quiet = false;
      act([&] {
        session.on_client(in, actions_);
        quiet = actions_.empty();
      });
      const auto taken = before - in.size();
      held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(taken));
      if (quiet && taken == 0) break;
    }
  }
  template <class Call>
  void act(Call&& call) {
    actions_.clear();
    call();
    run();
  }
  void run() {
    for (std::size_t i = 0; i < actions_.size(); ++i) one(actions_[i]);
    actions_.clear();
  }
  void one(const pool::Action& a) {
    switch (a.what) {
      case pool::Do::ToServer:
        expect(server != nullptr, "bytes for a server that is not held");
        if (!server) return;
        to_server.insert(to_server.end(), a.bytes.begin(), a.bytes.end());
        return to_fake(a.bytes);
      case pool::Do::ToClient:
        expect(!gone, "bytes for a client that is gone");
        to_client.insert(to_client.end(), a.bytes.begin(), a.bytes.end());
        return;
      case pool::Do::AcquireServer:
        expect(!server && !waiting, "a second server");
        waiting = true;
        return;
      case pool::Do::ReleaseServer:
        return released();
      case pool::Do::CloseServer:
      case pool::Do::CutServer:
        expect(server != nullptr, "closes a server that is not held");
        if (!server) return;
        expect(a.what == pool::Do::CutServer || server->pg.at_boundary(),
               "says Terminate to a server that has half a message");
        server->closed = true;
        server->cut = a.what == pool::Do::CutServer;
        server->lent = false;
        server = nullptr;
        return;
      case pool::Do::CloseClient:
        closed = true;
        waiting = false;
        return;
      case pool::Do::CancelServer:
        ++cancels;
        session.on_cancel_begun();
        return;
      case pool::Do::LoginDone:
        welcome = true;
        return;
    }
  }
  void to_fake(Bytes bytes) {
    server->pg.feed(bytes);
    const auto out = server->pg.take_output();
    server->unread.insert(server->unread.end(), out.begin(), out.end());
  }
  void released() {
    expect(server != nullptr, "releases a server that is not held");
    if (!server) return;
    expect(server->pg.idle(), "releases a server that is not idle");
    expect(server->unread.empty() && (!left_ || left_->empty()),
           "releases a server whose bytes are on their way");
    expect(cancels == 0, "releases a server with a cancel in flight");
    ++releases;
    server->lent = false;
    server = nullptr;
  }
  void expect(bool holds, const char* what) {
    if (!holds && broken.empty()) broken = what;
  }

  pool::Actions actions_;
  Bytes* left_ = nullptr;
};

// What a client has been told, one word a message: "T D:… C:SELECT 1 Z:I".
inline std::string words_of(Bytes in) {
  std::string words;
  protocol::Framer framer(1U << 24);
  while (const auto s = framer.next(in)) {
    if (!s->last) return words + " (half a message)";
    const auto body = s->body();
    const auto text = protocol::as_text(body);
    if (!words.empty()) words += ' ';
    words += s->type;
    if (s->type == 'D' && body.size() >= 6) words += ":" + std::string(text.substr(6));
    if (s->type == 'Z' || s->type == 'C')
      words +=
          ":" + std::string(text.substr(0, text.find('\0') == std::string_view::npos ? 1 : text.find('\0')));
    if (s->type == 'E') {
      const auto e = protocol::ErrorView::decode(body);
      words += e ? ":" + std::string(e->code) : ":?";
      if (e && e->fatal()) words += "!";
    }
    if (s->type == 'S') {
      const auto p = protocol::ParameterStatusView::decode(body);
      if (p) words += ":" + std::string(p->name) + "=" + std::string(p->value);
    }
  }
  return words + (in.empty() ? "" : " (bytes left)");
}

}  // namespace sidepool::test
