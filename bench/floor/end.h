// bench/floor/end.h -- one end of a copied connection: a socket, plain or with TLS on it.
#pragma once
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace sidepool::bench {

struct SslFree {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};

// Owns the socket, which does not block.
class End {
 public:
  // What read() and write() return besides a count of bytes; a read of 0 is the peer's end.
  static constexpr ssize_t kWait = -1, kFailed = -2;

  // Takes over a connected socket.
  static End accepted(int fd) noexcept { return End(fd, nullptr); }
  // Connects, with `tls` as far as the end of the handshake, which PostgreSQL begins with an SSLRequest.
  // Blocks.
  static std::optional<End> dial(const sockaddr_in& to, SSL_CTX* tls);

  End(End&& other) noexcept;
  End& operator=(End&&) = delete;
  ~End() { close(); }

  ssize_t read(std::span<char> into) noexcept;
  ssize_t write(std::string_view bytes) noexcept;
  // Bytes have been read from the socket and not given out: epoll does not tell of them.
  bool holds_input() const noexcept { return ssl_ && SSL_has_pending(ssl_.get()) == 1; }
  void close() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  End(int fd, std::unique_ptr<SSL, SslFree> ssl) noexcept;

  int fd_;
  std::unique_ptr<SSL, SslFree> ssl_;
};

}  // namespace sidepool::bench
