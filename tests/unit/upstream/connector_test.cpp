// tests/unit/upstream/connector_test.cpp -- bringing servers up, against a scripted peer that plays every bad
// part.
#include "src/upstream/connector.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>

#include "protocol/encode.h"
#include "src/base/limits.h"
#include "src/cloudsql/mdx.h"
#include "src/io/listener.h"
#include "tests/support/loops.h"
#include "tests/support/tls_peers.h"
#include "tests/unit/upstream/scripted_server.h"

namespace sidepool::upstream {
namespace {

using protocol::Buffer;
using protocol::LoginMachine;
using test::make_loop;
using test::Peer;
using test::run_until;
using test::ScriptedServer;

Buffer welcome() {
  Buffer b;
  protocol::authentication_ok(b);
  protocol::parameter_status(b, "server_version", "15.20");
  protocol::parameter_status(b, "TimeZone", "UTC");
  const std::array<std::uint8_t, 4> key{1, 2, 3, 4};
  protocol::backend_key_data(b, 4711, key);
  protocol::ready_for_query(b, protocol::TxStatus::Idle);
  return b;
}
const std::string kSslRequest{"\0\0\0\x08\x04\xd2\x16\x2f", 8};

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

TEST_F(ConnectorTest, LogsInWithoutAPassword) {
  std::string startup;
  {
    ScriptedServer server({[&](Peer& p) {
      startup = p.read_startup();
      p.send(welcome());
      p.wait_for_end();
    }});
    connect(route({server.endpoint()}));
    ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
    Ready& r = *watcher_.ready;
    EXPECT_EQ(r.login->state(), LoginMachine::State::Ready);
    EXPECT_EQ(r.login->backend_pid(), 4711u);
    EXPECT_EQ(r.login->parameters().size(), 2u);
    EXPECT_TRUE(r.rest.empty());
    EXPECT_TRUE(r.connection.stream.open());
    EXPECT_TRUE(r.connection.may_send_cleartext);  // loopback
    EXPECT_EQ(r.connection.endpoint.port, server.endpoint().port);
    EXPECT_EQ(r.connection.endpoint.address, "127.0.0.1");
    EXPECT_GT(r.connection.timings.connect, 0u);
    EXPECT_GT(r.connection.timings.login, 0u);
    EXPECT_EQ(r.connection.timings.tls, 0u);
    r.connection.stream.close();
  }
  EXPECT_NE(startup.find("user\0app"), std::string::npos);
}

TEST_F(ConnectorTest, OneByteAtATimeIsAsGood) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.trickle(welcome());
    p.wait_for_end();
  }});
  connect(route({server.endpoint()}));
  ASSERT_TRUE(watcher_.ready);
  EXPECT_EQ(watcher_.ready->login->parameters().size(), 2u);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, BytesBehindTheFirstReadyForQueryAreHandedOver) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    Buffer b = welcome();
    const auto size = b.size();
    protocol::parameter_status(b, "TimeZone", "CET");
    p.send(b);
    EXPECT_GT(b.size(), size);
    p.wait_for_end();
  }});
  connect(route({server.endpoint()}));
  ASSERT_TRUE(watcher_.ready);
  Buffer expected;
  protocol::parameter_status(expected, "TimeZone", "CET");
  EXPECT_EQ(watcher_.ready->rest, expected);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, TheServersErrorIsKeptAsItIs) {
  Buffer error;
  protocol::error_response(
      error, {.severity = "FATAL", .code = "53300", .message = "sorry, too many clients already"});
  // Said before our startup packet is read, and closed with that unread: the reset must not hide the error.
  ScriptedServer server({[&](Peer& p) { p.send(error); }});
  connect(route({server.endpoint()}));
  const Failure& f = failed(Phase::Login, "server");
  EXPECT_EQ(f.error.what, "sorry, too many clients already");
  EXPECT_EQ(f.server_error, Buffer(error.begin() + 5, error.end()));
  EXPECT_GT(f.timings.connect, 0u);
}

TEST_F(ConnectorTest, APasswordCanBeGivenAtOnce) {
  std::string got;
  {
    ScriptedServer server({[&](Peer& p) {
      p.read_startup();
      Buffer b;
      protocol::authentication_cleartext(b);
      p.send(b);
      got = p.read_message();
      p.send(welcome());
      p.wait_for_end();
    }});
    watcher_.on_ask = [](Connector& c) {
      EXPECT_EQ(c.login().auth_method(), protocol::AuthMethod::Cleartext);
      EXPECT_TRUE(c.connection().may_send_cleartext);
      EXPECT_TRUE(c.login().answer_password("s3cret"));
      c.resume();
    };
    connect(route({server.endpoint()}));
    EXPECT_TRUE(watcher_.ready);
    EXPECT_EQ(watcher_.asked, 1);
    watcher_.ready.reset();
  }
  Buffer expected;
  protocol::password_message(expected, "s3cret");
  EXPECT_EQ(got, protocol::as_text(expected));
}

TEST_F(ConnectorTest, TheDeadlineStandsStillWhileAPersonTypes) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.read_message();
    p.send(welcome());
    p.wait_for_end();
  }});
  const auto timeout = std::chrono::seconds(3);
  connector_.start(route({server.endpoint()}), login(), loop_->now() + timeout);
  run_until(*loop_, [&] { return watcher_.asked == 1; });
  struct Typist {
    TimerNode timer{[](TimerNode& n) noexcept { owner_of<&Typist::timer>(n).done = true; }};
    bool done = false;
  } typist;
  loop_->arm_after(typist.timer, timeout + std::chrono::milliseconds(100));
  run_until(*loop_, [&] { return typist.done; });
  EXPECT_FALSE(watcher_.over());
  connector_.resume();  // without an answer: nothing
  EXPECT_TRUE(connector_.login().answer_password("x"));
  connector_.resume();
  run_until(*loop_, [&] { return watcher_.over(); });
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_LT(watcher_.ready->connection.timings.login, 3000000u);  // not the typing
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, ARefusalToAnswerEndsIt) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.wait_for_end();
  }});
  watcher_.on_ask = [](Connector& c) {
    c.login().refuse_password();
    c.resume();
  };
  connect(route({server.endpoint()}));
  failed(Phase::Login, "no_password");
}

TEST_F(ConnectorTest, AServerThatLosesPatienceWhileThePasswordIsAwaited) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
  }});
  connect(route({server.endpoint()}));
  EXPECT_EQ(watcher_.asked, 1);
  failed(Phase::Login, "closed");
}

TEST_F(ConnectorTest, RefusedAddressesAreFollowedByTheNext) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }});
  io::Fd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // bound, not listening: refuses
  const auto any = *io::SocketAddress::from_ip("127.0.0.1", 0);
  ASSERT_EQ(::bind(bound.get(), any.raw(), any.size()), 0);
  sockaddr_storage s{};
  socklen_t size = sizeof s;
  ::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&s), &size);
  const auto port = io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&s), size).port();
  connect(route({{"127.0.0.1", port}, {"/nonexistent", 5432}, server.endpoint()}));
  EXPECT_TRUE(watcher_.ready);
  watcher_.ready.reset();

  watcher_.failure.reset();
  connect(route({{"127.0.0.1", port}}));
  EXPECT_NE(failed(Phase::Connect, "refused").error.what.find(std::to_string(port)), std::string::npos);

  watcher_.failure.reset();
  connect(route({}));
  failed(Phase::Resolve, "config");
}

// A listener with a full backlog: on Linux further connection attempts just hang.
struct BlackHole {
  BlackHole() : listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto a = *io::SocketAddress::from_ip("127.0.0.1", 0);
    EXPECT_EQ(::bind(listener.get(), a.raw(), a.size()), 0);
    EXPECT_EQ(::listen(listener.get(), 0), 0);
    sockaddr_storage s{};
    socklen_t size = sizeof s;
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&s), &size);
    address = io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&s), size);
    for (int i = 0; i < 4; ++i) filler.push_back(std::move(io::dial(address)->fd));
  }
  io::Fd listener;
  io::SocketAddress address;
  std::vector<io::Fd> filler;
};

TEST_F(ConnectorTest, ABlackHoleDoesNotStarveTheAddressBehindIt) {
  BlackHole hole;
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }});
  Route r = route({{"127.0.0.1", hole.address.port()}, server.endpoint()});
  r.address_timeout = std::chrono::milliseconds(50);
  connect(std::move(r));
  EXPECT_TRUE(watcher_.ready);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, NobodyAnswersBeforeTheDeadline) {
  BlackHole hole;
  connect(route({{"127.0.0.1", hole.address.port()}}), std::chrono::milliseconds(50));
  failed(Phase::Connect, "timeout");
}

TEST_F(ConnectorTest, AServerThatSaysNothingMeetsTheDeadlineInItsPhase) {
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.wait_for_end(); },
                         [](Peer& p) { p.read(8), p.wait_for_end(); },
                         [](Peer& p) { p.read(8), p.send("S"), p.wait_for_end(), p.read(10000); }});
  connect(route({server.endpoint()}), std::chrono::milliseconds(200));
  failed(Phase::Login, "timeout");
  for (int i = 0; i < 2; ++i) {
    watcher_.failure.reset();
    connect(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)), std::chrono::milliseconds(200));
    failed(Phase::Tls, "timeout");
  }
}

TEST_F(ConnectorTest, ResetsAndClosesAreFailures) {
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.reset(); }, [](Peer& p) { p.read_startup(); },
                         [](Peer& p) { p.reset(); },
                         [](Peer& p) {
                           p.read_startup();
                           Buffer b = welcome();
                           b.resize(b.size() / 2);
                           p.send(b);
                         }});
  for (int i = 0; i < 4; ++i) {
    watcher_.failure.reset();
    connect(route({server.endpoint()}));
    ASSERT_TRUE(watcher_.failure);
    // The third may already show while the connection is made.
    if (i != 2) failed(Phase::Login, "closed");
  }
}

TEST_F(ConnectorTest, GarbageInTheLoginIsAProtocolError) {
  ScriptedServer server(
      {[](Peer& p) { p.read_startup(), p.send("HTTP/1.1 400 Bad Request\r\n\r\n"), p.wait_for_end(); }});
  connect(route({server.endpoint()}));
  failed(Phase::Login, "protocol");
}

TEST_F(ConnectorTest, TlsAfterSslRequest) {
  ScriptedServer server({[&](Peer& p) {
    EXPECT_EQ(p.read(8), kSslRequest);
    p.send("S");
    ASSERT_TRUE(p.accept_tls(server_ctx_.get()));
    p.read_startup();
    p.trickle(welcome());
    p.wait_for_end();
  }});
  TlsPlan plan = tls(TlsUse::Required, client_ctx_);
  std::string prepared;
  plan.prepare = [&](SSL*, std::string_view host) {
    prepared = host;
    return Status{};
  };
  connect(route({server.endpoint()}, plan));
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_TRUE(watcher_.ready->connection.stream.tls());
  EXPECT_GT(watcher_.ready->connection.timings.tls, 0u);
  EXPECT_EQ(prepared, "127.0.0.1");
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, AServerWithoutTlsIsRefusedOrTakenPlain) {
  const auto plain = [](Peer& p) {
    p.read(8);
    p.send("N");
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  };
  ScriptedServer server({plain, plain});
  connect(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)));
  failed(Phase::Tls, "tls_refused");
  watcher_.failure.reset();
  connect(route({server.endpoint()}, tls(TlsUse::IfOffered, client_ctx_)));
  ASSERT_TRUE(watcher_.ready);
  EXPECT_FALSE(watcher_.ready->connection.stream.tls());
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, WrongAnswersToSslRequestAreRefused) {
  Buffer error;
  protocol::error_response(error, {.code = "08P01", .message = "what?"});
  const std::string as_error(protocol::as_text(error));
  // Plain bytes behind the S would be taken for the server's words inside TLS (CVE-2021-23222).
  const std::string smuggled = "S" + std::string(protocol::as_text(welcome()));
  std::vector<ScriptedServer::Script> scripts;
  for (const auto& answer : {std::string("X"), std::string("s"), as_error, smuggled, std::string("Nothing")})
    scripts.push_back([answer](Peer& p) { p.read(8), p.send(answer), p.wait_for_end(); });
  const auto n = scripts.size();
  ScriptedServer server(std::move(scripts));
  for (std::size_t i = 0; i < n; ++i) {
    watcher_.failure.reset();
    connect(route({server.endpoint()}, tls(TlsUse::IfOffered, client_ctx_)));
    EXPECT_FALSE(watcher_.ready);
    failed(Phase::Tls, "protocol");
  }
}

TEST_F(ConnectorTest, AServerThatWeDoNotTrustIsRefused) {
  ScriptedServer server({[&](Peer& p) { p.read(8), p.send("S"), p.accept_tls(server_ctx_.get()); }});
  const auto stranger = test::make_identity({.cn = "x", .ca = true});
  connect(route({server.endpoint()}, tls(TlsUse::Required, test::client_context(&stranger))));
  EXPECT_FALSE(failed(Phase::Tls, "certificate").certificate_refused);
}

TEST_F(ConnectorTest, CloudSqlsWayWithTheMetadataExchange) {
  const std::string reply("CSQLMDEX\0\0\0\x02\x08\x01", 14);
  const auto frame = cloudsql::mdx_frame(cloudsql::ClientProtocol::Tcp);
  std::string first;
  const auto script = [&](bool answers) {
    return [&, answers](Peer& p) {
      ASSERT_TRUE(p.accept_tls(server_ctx_.get()));
      first = p.read(frame.size());
      p.read_startup();
      Buffer b;
      if (answers) b.insert(b.end(), reply.begin(), reply.end());
      const Buffer w = welcome();
      b.insert(b.end(), w.begin(), w.end());
      p.trickle(b);
      p.wait_for_end();
    };
  };
  for (const bool answers : {true, false}) {
    {
      ScriptedServer server({script(answers)});
      Route r = route({server.endpoint()}, tls(TlsUse::Direct, client_ctx_));
      r.prologue.assign(frame.begin(), frame.end());
      connect(std::move(r));
      ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
      EXPECT_EQ(watcher_.ready->login->backend_pid(), 4711u);
      watcher_.ready.reset();
    }
    EXPECT_EQ(first, std::string(frame.begin(), frame.end()));
  }
}

TEST_F(ConnectorTest, ARejectedClientCertificateIsTheTlsPhasesFailure) {
  const auto strict = test::server_context(me_, &ca_);
  ScriptedServer server({[&](Peer& p) { EXPECT_FALSE(p.accept_tls(strict.get())); }});
  connect(route({server.endpoint()}, tls(TlsUse::Direct, client_ctx_)));
  EXPECT_TRUE(failed(Phase::Tls, "client_certificate").certificate_refused);
}

TEST_F(ConnectorTest, AUnixSocketNeverUsesTls) {
  test::TempDir dir;
  const Endpoint e{dir.path(), 5432};
  auto listener = io::Listener::open(*loop_, *io::SocketAddress::from_path(e.socket_path()), {});
  ASSERT_TRUE(listener);
  struct Host {
    io::Fd fd;
  } host;
  ASSERT_TRUE((*listener)->start(&host, [](void* h, io::Fd fd, const io::SocketAddress&) noexcept {
    const auto w = welcome();
    EXPECT_EQ(::send(fd.get(), w.data(), w.size(), 0), static_cast<ssize_t>(w.size()));
    static_cast<Host*>(h)->fd = std::move(fd);
  }));
  connect(route({e}, tls(TlsUse::Required, client_ctx_, false)));
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_TRUE(watcher_.ready->connection.may_send_cleartext);
  EXPECT_TRUE(watcher_.ready->connection.peer.is_unix());
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, MayBeDestroyedInEveryCallback) {
  const auto ask = [](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.wait_for_end();
  };
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.send(welcome()), p.wait_for_end(); }, ask,
                         [](Peer& p) { p.read_startup(), p.reset(); }});
  for (int i = 0; i < 3; ++i) {
    Watcher w;
    auto connector = std::make_unique<Connector>(*loop_, resolver_, w);
    w.destroy = &connector;
    connector->start(route({server.endpoint()}), login(), loop_->now() + std::chrono::seconds(20));
    run_until(*loop_, [&] { return connector == nullptr; });
    EXPECT_TRUE(w.over() || w.asked == 1);
  }
}

TEST_F(ConnectorTest, MayBeGivenUpInEveryState) {
  std::vector<ScriptedServer::Script> scripts;
  for (int i = 0; i < 12; ++i)
    scripts.push_back([&](Peer& p) {
      if (p.read(8).size() < 8) return;
      p.send("S");
      if (!p.accept_tls(server_ctx_.get())) return;
      p.read_startup();
      Buffer b;
      protocol::authentication_cleartext(b);
      p.send(b);
      p.wait_for_end();
    });
  ScriptedServer server(std::move(scripts));
  for (int turns = 0; turns < 12; ++turns) {
    connector_.start(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)), login(),
                     loop_->now() + std::chrono::seconds(20));
    for (int i = 0; i < turns && watcher_.asked == 0; ++i) loop_->turn(i > 0);
    connector_.cancel();
    EXPECT_FALSE(connector_.active());
    EXPECT_FALSE(watcher_.over());
    watcher_.asked = 0;
  }
}

TEST_F(ConnectorTest, ADialerHandsOverARawConnection) {
  ScriptedServer server({[&](Peer& p) {
    p.read(8);
    p.send("S");
    ASSERT_TRUE(p.accept_tls(server_ctx_.get()));
    EXPECT_EQ(p.read(4), "ping");
    p.send("pong");
    p.wait_for_end();
  }});
  Dialer dialer(*loop_, resolver_, watcher_);
  dialer.start(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)),
               loop_->now() + std::chrono::seconds(20));
  run_until(*loop_, [&] { return watcher_.over(); });
  ASSERT_TRUE(watcher_.connected);
  io::Stream& s = watcher_.connected->stream;
  ASSERT_EQ(s.write(protocol::as_bytes("ping")).status, io::Io::Done);
  struct Reader {
    io::Stream* stream;
    std::string got;
  } reader{&s, {}};
  io::FdWatch watch;
  ASSERT_EQ(watch.start(loop_->uv(), s.fd(), &reader,
                        [](void* r, int) noexcept {
                          auto* me = static_cast<Reader*>(r);
                          std::array<std::uint8_t, 16> b;
                          const auto n = me->stream->read(b).n;
                          me->got.append(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n));
                        }),
            0);
  watch.arm(UV_READABLE);
  run_until(*loop_, [&] { return reader.got == "pong"; });
  watch.stop();
  watcher_.connected.reset();
}

}  // namespace
}  // namespace sidepool::upstream
