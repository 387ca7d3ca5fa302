// tests/unit/io/tls_stream_test.cpp -- what only TLS has: input that epoll does not see, alerts, and the
// hand-over of all that to another thread.
#include <array>
#include <optional>
#include <thread>
#include <vector>

#include "src/base/mailbox.h"
#include "src/io/watch.h"
#include "tests/unit/io/stream_fixture.h"

namespace sidepool::io {
namespace {

TEST_F(StreamTest, EofWithoutCloseNotifyIsAClose) {
  Pair p = ready_pair(true);
  ASSERT_EQ(p.client.write(bytes("abc")).status, Io::Done);
  ::shutdown(p.client.fd(), SHUT_RDWR);
  std::array<std::uint8_t, 64> b;
  EXPECT_EQ(p.server.read(b).n, 3u);
  EXPECT_EQ(p.server.read(b).status, Io::Closed);
  p.server.close();  // must not try to write behind it
}

TEST_F(StreamTest, CloseNotifyWithoutEofIsReportedThoughEpollIsSilent) {
  Pair p = ready_pair(true);
  ASSERT_EQ(p.client.write(bytes("abc")).status, Io::Done);
  p.client.tls()->close_notify();  // the socket stays open
  std::array<std::uint8_t, 2> b;
  EXPECT_EQ(p.server.read(b).n, 2u);
  EXPECT_TRUE(p.server.holds_input());
  EXPECT_EQ(p.server.read(b).n, 1u);  // met the end behind the byte
  EXPECT_TRUE(p.server.holds_input());
  EXPECT_EQ(p.server.read(b).status, Io::Closed);
}

TEST_F(StreamTest, WhoStopsReadingEarlyIsToldThatInputIsHeld) {
  Pair p = ready_pair(true);
  ASSERT_EQ(p.client.write(bytes("0123456789")).status, Io::Done);
  std::array<std::uint8_t, 4> b;
  EXPECT_EQ(p.server.read(b).n, 4u);
  EXPECT_TRUE(p.server.holds_input());
  EXPECT_EQ(p.server.read(b).n, 4u);
  EXPECT_TRUE(p.server.holds_input());
  EXPECT_EQ(p.server.read(b).n, 2u);
  EXPECT_FALSE(p.server.holds_input());
}

TEST_F(StreamTest, HalfARecordIsNotHeldInput) {
  // Or whoever comes back for held input would spin until the other half arrives.
  auto [a, mine] = socket_pair();
  auto [peer, b] = socket_pair();
  auto c = tls::Stream::client(client_ctx_.get(), std::move(a));
  auto s = tls::Stream::server(server_ctx_.get(), std::move(b));
  ASSERT_TRUE(c && s);
  std::array<std::uint8_t, 20000> buf;
  const auto carry = [&](int from, int to, std::size_t at_most) {
    const auto n = ::recv(from, buf.data(), std::min(buf.size(), at_most), MSG_DONTWAIT);
    if (n > 0) {
      EXPECT_EQ(::send(to, buf.data(), static_cast<std::size_t>(n), 0), n);
    }
  };
  for (int i = 0; i < 10; ++i) {
    (void)c->handshake(), (void)s->handshake();
    carry(mine.get(), peer.get(), buf.size());
    carry(peer.get(), mine.get(), buf.size());
  }
  ASSERT_EQ(c->write(bytes("one record of some length")).status, Io::Done);
  carry(mine.get(), peer.get(), 20);
  std::array<std::uint8_t, 64> out;
  EXPECT_EQ(s->read(out).status, Io::WantRead);
  EXPECT_FALSE(s->holds_input());
  carry(mine.get(), peer.get(), buf.size());
  EXPECT_EQ(s->read(out).n, 25u);
}

TEST_F(StreamTest, AnEofInTheHandshakeIsAFailure) {
  Pair p = tls_pair(client_ctx_.get(), server_ctx_.get());
  EXPECT_EQ(p.client.tls()->handshake().status, Io::WantRead);
  ::shutdown(p.server.fd(), SHUT_WR);
  EXPECT_EQ(p.client.tls()->handshake().status, Io::Failed);
  EXPECT_TRUE(p.client.tls()->failure().unexpected_eof);
  EXPECT_EQ(p.client.tls()->handshake().status, Io::Failed);
}

TEST_F(StreamTest, GarbageInsteadOfTlsIsAFailure) {
  auto [a, b] = socket_pair();
  auto c = tls::Stream::client(client_ctx_.get(), std::move(a));
  EXPECT_EQ(c->handshake().status, Io::WantRead);
  ASSERT_EQ(::send(b.get(), "EFATAL: no TLS here, sorry", 26, 0), 26);
  EXPECT_EQ(c->handshake().status, Io::Failed);
  EXPECT_FALSE(c->failure().alert);
  EXPECT_NE(c->failure().text(), "");
}

TEST_F(StreamTest, GarbageInTheMiddleIsAFailureOnThisConnectionOnly) {
  Pair p = ready_pair(true), other = ready_pair(true);
  const std::string junk(100, '\x17');
  ASSERT_GT(::send(p.client.fd(), junk.data(), junk.size(), 0), 0);
  std::array<std::uint8_t, 64> b;
  EXPECT_EQ(p.server.read(b).status, Io::Failed);
  // The error queue is the thread's: the next connection must not be blamed.
  EXPECT_EQ(other.server.read(b).status, Io::WantRead);
  EXPECT_EQ(other.client.write(bytes("ok")).status, Io::Done);
  EXPECT_EQ(other.server.read(b).n, 2u);
}

TEST_F(StreamTest, AClientCertificateThatIsRefusedShowsAtTheFirstRead) {
  const auto strict = test::server_context(me_, &ca_);
  Pair p = tls_pair(client_ctx_.get(), strict.get());
  const auto [c, s] = shake(p);
  EXPECT_EQ(c, Io::Done);  // TLS 1.3: we are through before the server has judged
  EXPECT_EQ(s, Io::Failed);
  std::array<std::uint8_t, 64> b;
  EXPECT_EQ(p.client.read(b).status, Io::Failed);
  const auto& f = p.client.tls()->failure();
  EXPECT_EQ(f.alert, SSL_AD_CERTIFICATE_REQUIRED);
  EXPECT_TRUE(f.certificate_refused());
  EXPECT_FALSE(p.client.tls()->received_any());
  EXPECT_NE(f.text().find("certificate"), std::string::npos);
}

TEST_F(StreamTest, AnExpiredOrUnknownClientCertificateIsRefusedToo) {
  const auto other_ca = test::make_identity({.cn = "other", .ca = true});
  const auto strict = test::server_context(me_, &ca_);
  const auto expired = test::make_identity({.cn = "c", .starts_in_s = -7200, .ends_in_s = -60}, &ca_);
  const auto unknown = test::make_identity({.cn = "c"}, &other_ca);
  for (const auto* who : {&expired, &unknown}) {
    const auto ctx = test::client_context(&ca_, who);
    Pair p = tls_pair(ctx.get(), strict.get());
    shake(p);
    std::array<std::uint8_t, 64> b;
    EXPECT_EQ(p.client.read(b).status, Io::Failed);
    EXPECT_TRUE(p.client.tls()->failure().certificate_refused()) << p.client.error_text();
  }
}

TEST_F(StreamTest, WeRefuseAServerThatWeDoNotTrustAndItLearnsWhy) {
  const auto stranger = test::make_identity({.cn = "x", .ca = true});
  const auto ctx = test::client_context(&stranger);
  Pair p = tls_pair(ctx.get(), server_ctx_.get());
  const auto [c, s] = shake(p);
  EXPECT_EQ(c, Io::Failed);
  EXPECT_NE(p.client.tls()->verify_result(), X509_V_OK);
  EXPECT_EQ(s, Io::Failed);
  EXPECT_EQ(p.server.tls()->failure().alert, SSL_AD_UNKNOWN_CA);
}

TEST_F(StreamTest, ShowsThePeersCertificateSniAndAlpn) {
  const auto strict = test::server_context(me_, &ca_);
  const auto who = test::make_identity({.cn = "the-client"}, &ca_);
  const auto ctx = test::client_context(&ca_, &who);
  SSL_CTX_set_alpn_select_cb(
      strict.get(),
      [](SSL*, const unsigned char** out, unsigned char* n, const unsigned char* in, unsigned, void*) {
        *out = in + 1, *n = in[0];
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  Pair p = tls_pair(ctx.get(), strict.get());
  SSL_set_alpn_protos(p.client.tls()->ssl(), reinterpret_cast<const unsigned char*>("\x0apostgresql"), 11);
  EXPECT_EQ(shake(p), (std::pair{Io::Done, Io::Done}));
  EXPECT_EQ(p.server.tls()->alpn(), "postgresql");
  EXPECT_EQ(p.client.tls()->alpn(), "postgresql");
  EXPECT_STREQ(SSL_get_servername(p.server.tls()->ssl(), TLSEXT_NAMETYPE_host_name), "db.example");
  const auto cert = p.server.tls()->peer_certificate();
  ASSERT_TRUE(cert);
  EXPECT_EQ(X509_cmp(cert.get(), who.cert.get()), 0);
}

TEST_F(StreamTest, EarlyServerBytesBehindTheHandshakeAreHeld) {
  // The server may speak with its last handshake flight: they then arrive in one read(2).
  Pair p = tls_pair(client_ctx_.get(), server_ctx_.get());
  (void)p.client.tls()->handshake();
  (void)p.server.tls()->handshake();
  (void)p.client.tls()->handshake();
  ASSERT_EQ(p.client.write(bytes("startup")).status, Io::Done);
  ASSERT_EQ(p.server.tls()->handshake().status, Io::Done);  // reads Finished and the startup bytes at once
  EXPECT_TRUE(p.server.holds_input());
  std::array<std::uint8_t, 64> b;
  EXPECT_EQ(p.server.read(b).n, 7u);
  EXPECT_FALSE(p.server.holds_input());
}

TEST_F(StreamTest, MayBeDroppedInEveryState) {
  for (int steps = 0; steps < 8; ++steps) {
    Pair p = tls_pair(client_ctx_.get(), server_ctx_.get());
    for (int i = 0; i < steps; ++i) (void)(i % 2 ? p.server : p.client).tls()->handshake();
    if (steps >= 4) (void)p.client.write(bytes("x"));
    if (steps % 2) {
      p.client.close();
      p.client.close();
    }
    Stream moved = std::move(p.server);
    EXPECT_FALSE(p.server.open());
    EXPECT_TRUE(moved.open());
  }
  // With a sealed record that never left.
  Pair p = ready_pair(true);
  const std::string much(1 << 20, 'x');
  IoResult w{};
  while ((w = p.client.write(bytes(much))).status == Io::Done) {
  }
  EXPECT_EQ(w.status, Io::WantWrite);
  EXPECT_TRUE(p.client.holds_output());
  p.client.close();
}

// The hand-over of a server between workers: the stream travels by mailbox with input still inside, and the
// other loop goes on where the first stopped.
TEST_F(StreamTest, MovesToAnotherThreadWithInputInside) {
  Pair p = ready_pair(true);
  struct Other {
    Mailbox<Stream> box;
    std::optional<Stream> stream;
    std::vector<Stream> batch;
    FdWatch watch;
    Loop* loop = nullptr;
    std::string got;
    void read() noexcept {
      std::array<std::uint8_t, 4> b;
      do {
        const auto r = stream->read(b);
        if (r.status == Io::WantRead) return;
        if (r.status != Io::Done) {
          watch.stop();
          return loop->stop();
        }
        got.append(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(r.n));
      } while (stream->holds_input());
    }
  } other;
  auto loop = make_loop();
  other.loop = loop.get();
  loop->on_wake(&other, [](void* self) noexcept {
    auto* o = static_cast<Other*>(self);
    o->box.drain(o->batch);
    if (o->batch.empty()) return;
    o->stream = std::move(o->batch.front());
    o->watch.start(o->loop->uv(), o->stream->fd(), o,
                   [](void* s, int) noexcept { static_cast<Other*>(s)->read(); });
    o->watch.arm(UV_READABLE);
    if (o->stream->holds_input()) o->read();
  });
  std::thread worker([&] { loop->run(); });

  ASSERT_EQ(p.client.write(bytes("0123456789")).status, Io::Done);
  std::array<std::uint8_t, 3> b;
  ASSERT_EQ(p.server.read(b).n, 3u);
  ASSERT_TRUE(p.server.holds_input());
  if (other.box.post(std::move(p.server)) == Posted::Wake) loop->wake();
  ASSERT_EQ(p.client.write(bytes("abcdef")).status, Io::Done);
  p.client.close();
  worker.join();
  EXPECT_EQ(other.got, "3456789abcdef");
}

}  // namespace
}  // namespace sidepool::io
