// tests/cloudsql_emulator/tls_socket.h -- the server end of one TLS connection on a non-blocking socket.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "tests/cloudsql_emulator/openssl_types.h"

namespace sidepool::emulator {

using Clock = std::chrono::steady_clock;

// Used by one thread; owns neither the socket nor its closing (the thread of the connection does).
class TlsSocket {
 public:
  enum class Io { Done, WantRead, WantWrite, Closed };

  TlsSocket(int fd, SSL_CTX* context);

  // Rejects whatever certificate comes with the alert that `error` (X509_V_ERR_…) stands for.
  void reject_with(int error);
  // On failure the alert has been sent.
  bool handshake(Clock::time_point deadline);
  // One attempt; `count` is set with Done.
  Io read(char* data, std::size_t size, std::size_t& count);
  Io write(const char* data, std::size_t size, std::size_t& count);
  // Blocks; false: closed or late.
  bool read_more(std::string& inbox, Clock::time_point deadline);
  bool write_all(std::string_view bytes, Clock::time_point deadline);
  void close_notify() { SSL_shutdown(ssl_.get()); }
  SSL* ssl() { return ssl_.get(); }
  int fd() const { return fd_; }

 private:
  Io outcome(int result);
  bool wait(Io wanted, Clock::time_point deadline) const;

  int fd_;
  Ssl ssl_;
};

}  // namespace sidepool::emulator
