// tests/unit/upstream/connector_tls_test.cpp -- TLS on the way to a server: negotiated, direct, refused,
// attacked.
#include "src/cloudsql/mdx.h"
#include "src/io/listener.h"
#include "tests/unit/upstream/connector_fixture.h"

namespace sidepool::upstream {
namespace {

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
