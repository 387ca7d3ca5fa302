// tests/unit/upstream/scripted_server.h -- a server on loopback that does with each connection what a test
// wrote down.
#pragma once
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/encode.h"
#include "src/io/fd.h"
#include "src/io/socket.h"
#include "src/upstream/endpoint.h"

namespace sidepool::test {

// One accepted connection, blocking, plain until accept_tls(). A read that gets nothing for 20 s gives up.
class Peer {
 public:
  explicit Peer(io::Fd fd) : fd_(std::move(fd)) {
    const timeval patience{20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  bool accept_tls(SSL_CTX* ctx) {
    ssl_.reset(SSL_new(ctx));
    SSL_set_fd(ssl_.get(), fd_.get());
    return SSL_accept(ssl_.get()) == 1;
  }
  void send(std::string_view s) {
    if (ssl_) {
      SSL_write(ssl_.get(), s.data(), static_cast<int>(s.size()));
    } else {
      ::send(fd_.get(), s.data(), s.size(), MSG_NOSIGNAL);
    }
  }
  void send(const protocol::Buffer& b) { send(protocol::as_text(b)); }
  void trickle(const protocol::Buffer& b) {
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (const auto byte : b) {
      send(protocol::as_text({&byte, 1}));
      std::this_thread::yield();
    }
  }
  // Exactly n bytes, fewer at the end of the connection.
  std::string read(std::size_t n) {
    std::string out(n, '\0');
    std::size_t have = 0;
    while (have < n) {
      const auto got = ssl_ ? SSL_read(ssl_.get(), out.data() + have, static_cast<int>(n - have))
                            : static_cast<int>(::recv(fd_.get(), out.data() + have, n - have, 0));
      if (got <= 0) break;
      have += static_cast<std::size_t>(got);
    }
    out.resize(have);
    return out;
  }
  // The unframed first packet.
  std::string read_startup() {
    std::string head = read(4);
    if (head.size() < 4) return head;
    return head + read(protocol::load_be32(protocol::as_bytes(head).data()) - 4);
  }
  // One message with its header.
  std::string read_message() {
    std::string head = read(5);
    if (head.size() < 5) return head;
    return head + read(protocol::load_be32(protocol::as_bytes(head).data() + 1) - 4);
  }
  void wait_for_end() { read(1); }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }

 private:
  io::Fd fd_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
};

// Serves connections one after the other on a thread of its own, the n-th by the n-th script.
class ScriptedServer {
 public:
  using Script = std::function<void(Peer&)>;
  explicit ScriptedServer(std::vector<Script> scripts)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const auto any = *io::SocketAddress::from_ip("127.0.0.1", 0);
    EXPECT_EQ(::bind(listener_.get(), any.raw(), any.size()), 0);
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    port_ = io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&bound), size).port();
    thread_ = std::thread([this, scripts = std::move(scripts)] {
      for (const auto& script : scripts) {
        io::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        Peer peer(std::move(fd));
        script(peer);
      }
    });
  }
  ~ScriptedServer() {
    ::shutdown(listener_.get(), SHUT_RDWR);  // an accept() that waits returns
    thread_.join();
  }
  upstream::Endpoint endpoint() const { return {"127.0.0.1", port_}; }

 private:
  io::Fd listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

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

}  // namespace sidepool::test
