// tests/unit/upstream/connector_fixture.h -- one connector on one loop, and what became of its attempt.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "protocol/encode.h"
#include "src/base/limits.h"
#include "src/upstream/connector.h"
#include "tests/support/loops.h"
#include "tests/support/tls_peers.h"
#include "tests/unit/upstream/scripted_server.h"

namespace sidepool::upstream {
using protocol::Buffer;
using protocol::LoginMachine;
using test::BlackHole;
using test::make_loop;
using test::Peer;
using test::run_until;
using test::ScriptedServer;

inline Buffer welcome() {
  Buffer b;
  protocol::authentication_ok(b);
  protocol::parameter_status(b, "server_version", "15.20");
  protocol::parameter_status(b, "TimeZone", "UTC");
  const std::array<std::uint8_t, 4> key{1, 2, 3, 4};
  protocol::backend_key_data(b, 4711, key);
  protocol::ready_for_query(b, protocol::TxStatus::Idle);
  return b;
}
inline const std::string kSslRequest{"\0\0\0\x08\x04\xd2\x16\x2f", 8};

// What happened to one attempt, and what to do when asked for a password.
struct Watcher final : Connector::Owner, Dialer::Owner {
  std::optional<Ready> ready;
  std::optional<Connected> connected;
  std::optional<Failure> failure;
  int asked = 0;
  std::function<void(Connector&)> on_ask;
  std::unique_ptr<Connector>* destroy = nullptr;

  void on_need_password(Connector& c) noexcept override {
    ++asked;
    if (on_ask) on_ask(c);
    end();
  }
  void on_ready(Connector&, Ready r) noexcept override {
    ready = std::move(r);
    end();
  }
  void on_connect_failed(Connector&, Failure f) noexcept override {
    failure = std::move(f);
    end();
  }
  void on_connected(Dialer&, Connected c) noexcept override { connected = std::move(c); }
  void on_dial_failed(Dialer&, Failure f) noexcept override { failure = std::move(f); }
  void end() {
    if (destroy) destroy->reset();
  }
  bool over() const { return ready || connected || failure; }
};

class ConnectorTest : public testing::Test {
 protected:
  ConnectorTest() { ignore_sigpipe(); }

  static protocol::LoginParameters login() {
    return {.startup = {{"user", "app"}, {"database", "shop"}}, .nonce = "fyko+d2lbbFgONRv9qkxdawL"};
  }
  static Route route(std::vector<Endpoint> to, TlsPlan tls = {}) {
    return {.endpoints = std::move(to), .tls = std::move(tls)};
  }
  void connect(Route r, Duration timeout = std::chrono::seconds(20)) {
    connector_.start(std::move(r), login(), loop_->now() + timeout);
    EXPECT_FALSE(watcher_.over());  // never from inside start()
    run_until(*loop_, [&] { return watcher_.over(); });
    EXPECT_FALSE(connector_.active());
  }
  const Failure& failed(Phase phase, const std::string& reason) {
    EXPECT_FALSE(watcher_.ready);
    if (!watcher_.failure) watcher_.failure.emplace();
    const Failure& f = *watcher_.failure;
    EXPECT_EQ(phase_name(f.phase), std::string(phase_name(phase))) << f.error.what;
    EXPECT_EQ(f.error.reason, reason) << f.error.what;
    EXPECT_FALSE(f.error.what.empty());
    return f;
  }
  TlsPlan tls(TlsUse use, const tls::Context& ctx, bool verifies = true) {
    return {.use = use, .context = ctx, .verifies_peer = verifies};
  }

  test::Identity ca_ = test::make_identity({.cn = "ca", .ca = true});
  test::Identity me_ = test::make_identity({.cn = "server"}, &ca_);
  tls::Context server_ctx_ = test::server_context(me_);
  tls::Context client_ctx_ = test::client_context(&ca_);
  std::unique_ptr<io::Loop> loop_ = make_loop();
  Resolver resolver_;
  Watcher watcher_;
  Connector connector_{*loop_, resolver_, watcher_};
};

}  // namespace sidepool::upstream
