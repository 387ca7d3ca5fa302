// src/tls/stream.h -- TLS straight on a socket: read(2) fills OpenSSL's record buffer, SSL_read decrypts into
// the caller's buffer.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/io/fd.h"
#include "src/io/io_result.h"
#include "src/tls/openssl_ptr.h"

namespace sidepool::tls {

using SslPtr = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

// Why a stream is of no more use. All zero while it is not.
struct Failure {
  int sys = 0;                          // errno, if the socket failed
  unsigned long ssl = 0;                // first entry of OpenSSL's error queue
  std::optional<std::uint8_t> alert{};  // the fatal alert that the peer sent (RFC 8446 §6)
  bool unexpected_eof = false;  // the peer closed the socket without close_notify, during the handshake

  // The peer does not accept the certificate that we showed or did not show: bad, unsupported, revoked,
  // expired, unknown, unknown CA, access denied or certificate required. Under TLS 1.3 a client learns this
  // only at its first read, after its own handshake is complete, so it means the certificate only while
  // received_any() is false.
  bool certificate_refused() const noexcept;
  // One clause without secrets, for the middle of a sentence.
  std::string text() const;
};

// One side of a TLS connection, and the socket under it. Bound to no loop and no thread; one thread at a
// time, and whatever hands it over (a mailbox) orders the accesses. Writes raise SIGPIPE unless the process
// ignores it (base/limits.h).
//
// The context must have SSL_MODE_RELEASE_BUFFERS | ENABLE_PARTIAL_WRITE | ACCEPT_MOVING_WRITE_BUFFER |
// AUTO_RETRY and read-ahead on (tls/context.h sets them); the stream sets the modes it cannot work without
// once more itself.
class Stream {
 public:
  // `server_name`: the SNI extension; leave it empty for none, and never pass an IP literal (RFC 6066 §3).
  // Fails only when memory is short. Takes a reference to `ctx`, so a replaced certificate epoch lives on in
  // old connections.
  static Result<Stream> client(SSL_CTX* ctx, io::Fd fd, const std::string& server_name = {});
  static Result<Stream> server(SSL_CTX* ctx, io::Fd fd);
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&&) noexcept = default;
  ~Stream() = default;

  int fd() const noexcept { return fd_.get(); }
  SSL* ssl() const noexcept { return ssl_.get(); }

  // Call until it is not WantRead or WantWrite. Closed never comes out: an EOF here is a failure.
  io::IoResult handshake() noexcept;
  // Fills as much of `to` as there are records at hand. REQUIRES: `to` is not empty.
  io::IoResult read(io::MutBytes to) noexcept;
  // One record and one write(2) for each 16 KiB: gather small pieces first, or use writev(). See
  // io::IoResult.
  io::IoResult write(io::ConstBytes from) noexcept;
  io::IoResult writev(std::span<const io::ConstBytes> pieces) noexcept;
  // Bytes, an end or an error wait inside, where epoll does not see them. Whoever stops reading before
  // WantRead must come back without waiting for the fd while this is true.
  bool holds_input() const noexcept;
  // A record is sealed but not sent: call write() again when the fd is writable.
  bool holds_output() const noexcept { return !sealed_.empty(); }
  // Sends close_notify if that is possible at once; nothing may be written afterwards.
  void close_notify() noexcept;

  // Has the peer sent any application data?
  bool received_any() const noexcept { return received_any_; }
  const Failure& failure() const noexcept { return failure_; }
  // The protocol chosen by ALPN, empty if none. Borrows from the stream.
  std::string_view alpn() const noexcept;
  // The peer's leaf certificate; null if it sent none.
  CertPtr peer_certificate() const noexcept;
  // X509_V_OK or why the context's verification refused the peer.
  long verify_result() const noexcept { return SSL_get_verify_result(ssl_.get()); }

 private:
  Stream(SslPtr ssl, io::Fd fd) noexcept : fd_(std::move(fd)), ssl_(std::move(ssl)) {}
  static Result<Stream> make(SSL_CTX* ctx, io::Fd fd);
  io::Io classify(int rc) noexcept;
  io::Io fail_with(Failure f) noexcept;
  io::Io flush_sealed() noexcept;
  io::IoResult write_records(io::ConstBytes from) noexcept;

  io::Fd fd_;  // before ssl_: the SSL goes first
  SslPtr ssl_;
  Failure failure_{};
  // The plaintext of a record that OpenSSL sealed and could not send. The retry must offer the same bytes
  // (SSL_write(3)), so they are kept here and count as written. Empty, without memory, nearly always.
  std::vector<std::uint8_t> sealed_;
  std::optional<io::Io> postponed_;  // an end found behind bytes that read() had already to return
  bool input_drained_ = true;        // the last read ended with WantRead: what is pending is half a record
  bool received_any_ = false;
  bool established_ = false;
  bool failed_ = false;
};

}  // namespace sidepool::tls
