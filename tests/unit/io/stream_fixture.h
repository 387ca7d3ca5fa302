// tests/unit/io/stream_fixture.h -- connected pairs of streams, plain and TLS.
#pragma once
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/limits.h"
#include "src/io/stream.h"
#include "tests/support/loops.h"
#include "tests/support/tls_peers.h"

namespace sidepool::io {
using test::make_loop;
using test::run_until;
using test::socket_pair;

inline ConstBytes bytes(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}

inline std::string pattern(std::size_t n) {
  std::mt19937 rng(11);
  std::string s(n, ' ');
  for (char& c : s) c = static_cast<char>(rng());
  return s;
}

struct Pair {
  Stream client, server;
};

class StreamTest : public testing::Test {
 protected:
  StreamTest() { ignore_sigpipe(); }

  Pair tls_pair(SSL_CTX* client, SSL_CTX* server) {
    auto [a, b] = socket_pair();
    auto c = tls::Stream::client(client, std::move(a), "db.example");
    auto s = tls::Stream::server(server, std::move(b));
    EXPECT_TRUE(c && s);
    return {Stream(std::move(*c)), Stream(std::move(*s))};
  }
  // Lets both sides go on until neither can; returns how each ended.
  static std::pair<Io, Io> shake(Pair& p) {
    Io c = Io::WantRead, s = Io::WantRead;
    for (int i = 0; i < 20; ++i) {
      if (c != Io::Done && c != Io::Failed) c = p.client.tls()->handshake().status;
      if (s != Io::Done && s != Io::Failed) s = p.server.tls()->handshake().status;
    }
    return {c, s};
  }
  Pair ready_pair(bool with_tls) {
    if (with_tls) {
      Pair p = tls_pair(client_ctx_.get(), server_ctx_.get());
      EXPECT_EQ(shake(p), (std::pair{Io::Done, Io::Done}));
      return p;
    }
    auto [a, b] = socket_pair();
    return {Stream(std::move(a)), Stream(std::move(b))};
  }

  test::Identity ca_ = test::make_identity({.cn = "ca", .ca = true});
  test::Identity me_ = test::make_identity({.cn = "server"}, &ca_);
  tls::Context server_ctx_ = test::server_context(me_);
  tls::Context client_ctx_ = test::client_context(&ca_);
};

}  // namespace sidepool::io
