// bench/floor/end.cpp -- see end.h
#include "bench/floor/end.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace sidepool::bench {

namespace {

// PostgreSQL manual, "Message Formats": length 8, code 80877103.
constexpr std::array<unsigned char, 8> kSslRequest{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

std::unique_ptr<SSL, SslFree> handshake(int fd, SSL_CTX* context) {
  char answer = 0;
  if (::send(fd, kSslRequest.data(), kSslRequest.size(), MSG_NOSIGNAL) != ssize_t{kSslRequest.size()})
    return nullptr;
  if (::recv(fd, &answer, 1, 0) != 1 || answer != 'S') return nullptr;
  std::unique_ptr<SSL, SslFree> ssl(SSL_new(context));
  if (!ssl || SSL_set_fd(ssl.get(), fd) != 1 || SSL_connect(ssl.get()) != 1) return nullptr;
  return ssl;
}

ssize_t outcome(SSL* ssl, int returned) noexcept {
  if (returned > 0) return returned;
  switch (SSL_get_error(ssl, returned)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return End::kWait;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    default:
      return End::kFailed;
  }
}

ssize_t outcome(ssize_t returned) noexcept {
  if (returned >= 0) return returned;
  return errno == EAGAIN || errno == EINTR ? End::kWait : End::kFailed;
}

}  // namespace

End::End(int fd, std::unique_ptr<SSL, SslFree> ssl) noexcept : fd_(fd), ssl_(std::move(ssl)) {
  const int one = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
}

End::End(End&& other) noexcept : fd_(std::exchange(other.fd_, -1)), ssl_(std::move(other.ssl_)) {}

std::optional<End> End::dial(const sockaddr_in& to, SSL_CTX* tls) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  std::unique_ptr<SSL, SslFree> ssl;
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  if (connected && tls != nullptr) ssl = handshake(fd, tls);
  if (!connected || (tls != nullptr && !ssl)) {
    ::close(fd);
    return std::nullopt;
  }
  return End(fd, std::move(ssl));
}

ssize_t End::read(std::span<char> into) noexcept {
  if (!ssl_) return outcome(::recv(fd_, into.data(), into.size(), 0));
  ERR_clear_error();
  return outcome(ssl_.get(), SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size())));
}

ssize_t End::write(std::string_view bytes) noexcept {
  if (!ssl_) return outcome(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL));
  ERR_clear_error();
  return outcome(ssl_.get(), SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())));
}

void End::close() noexcept {
  ssl_.reset();
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

}  // namespace sidepool::bench
