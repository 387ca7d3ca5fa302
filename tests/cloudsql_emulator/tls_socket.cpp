// tests/cloudsql_emulator/tls_socket.cpp -- OpenSSL over a non-blocking socket.
#include "tests/cloudsql_emulator/tls_socket.h"

#include <openssl/err.h>
#include <poll.h>

#include <algorithm>

namespace sidepool::emulator {
namespace {

template <int error>
int reject(int, X509_STORE_CTX* store) {
  X509_STORE_CTX_set_error(store, error);
  return 0;
}

}  // namespace

TlsSocket::TlsSocket(int fd, SSL_CTX* context) : fd_(fd), ssl_(SSL_new(context)) {
  SSL_set_fd(ssl_.get(), fd);
  SSL_set_accept_state(ssl_.get());
}

void TlsSocket::reject_with(int error) {
  SSL_verify_cb callback = &reject<X509_V_ERR_CERT_REJECTED>;
  if (error == X509_V_ERR_CERT_HAS_EXPIRED) callback = &reject<X509_V_ERR_CERT_HAS_EXPIRED>;
  if (error == X509_V_ERR_CERT_REVOKED) callback = &reject<X509_V_ERR_CERT_REVOKED>;
  if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT) callback = &reject<X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT>;
  SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, callback);
}

TlsSocket::Io TlsSocket::outcome(int result) {
  if (result > 0) return Io::Done;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return Io::WantRead;
    case SSL_ERROR_WANT_WRITE:
      return Io::WantWrite;
    default:
      return Io::Closed;
  }
}

bool TlsSocket::wait(Io wanted, Clock::time_point deadline) const {
  if (wanted == Io::Closed) return false;
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd one{fd_, static_cast<short>(wanted == Io::WantWrite ? POLLOUT : POLLIN), 0};
  return left > 0 && poll(&one, 1, static_cast<int>(left)) > 0;
}

bool TlsSocket::handshake(Clock::time_point deadline) {
  while (true) {
    ERR_clear_error();
    Io io = outcome(SSL_do_handshake(ssl_.get()));
    if (io == Io::Done) return true;
    if (!wait(io, deadline)) return false;
  }
}

TlsSocket::Io TlsSocket::read(char* data, std::size_t size, std::size_t& count) {
  ERR_clear_error();
  return outcome(SSL_read_ex(ssl_.get(), data, size, &count));
}

TlsSocket::Io TlsSocket::write(const char* data, std::size_t size, std::size_t& count) {
  ERR_clear_error();
  return outcome(SSL_write_ex(ssl_.get(), data, size, &count));
}

bool TlsSocket::read_more(std::string& inbox, Clock::time_point deadline) {
  char chunk[4096];
  while (true) {
    std::size_t count = 0;
    Io io = read(chunk, sizeof chunk, count);
    if (io == Io::Done) {
      inbox.append(chunk, count);
      return true;
    }
    if (!wait(io, deadline)) return false;
  }
}

bool TlsSocket::write_all(std::string_view bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    std::size_t count = 0;
    Io io = write(bytes.data(), bytes.size(), count);
    if (io == Io::Done) {
      bytes.remove_prefix(count);
    } else if (!wait(io, deadline)) {
      return false;
    }
  }
  return true;
}

}  // namespace sidepool::emulator
