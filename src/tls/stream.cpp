// src/tls/stream.cpp -- calls into OpenSSL and what their results mean.
#include "src/tls/stream.h"

#include <openssl/err.h>
#include <openssl/tls1.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace sidepool::tls {

using io::Io;
using io::IoResult;

namespace {
constexpr std::size_t kRecord = 16384;  // the most plaintext in one record (RFC 8446 §5.1)

// OpenSSL reports a received alert as reason 1000 + its number (SSL_AD_REASON_OFFSET).
std::optional<std::uint8_t> received_alert(unsigned long error) noexcept {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return std::nullopt;
  const int reason = ERR_GET_REASON(error);
  if (reason < SSL_AD_REASON_OFFSET || reason > SSL_AD_REASON_OFFSET + 255) return std::nullopt;
  return static_cast<std::uint8_t>(reason - SSL_AD_REASON_OFFSET);
}
}  // namespace

bool Failure::certificate_refused() const noexcept {
  if (!alert) return false;
  switch (*alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

std::string Failure::text() const {
  if (unexpected_eof) return "the peer closed the connection during the TLS handshake";
  if (sys != 0) return std::strerror(sys);
  if (ssl != 0) {
    const char* reason = ERR_reason_error_string(ssl);
    // A received alert is such a reason too: "tlsv13 alert certificate required".
    return reason ? reason : "TLS failed";
  }
  return "no failure";
}

Result<Stream> Stream::make(SSL_CTX* ctx, io::Fd fd) {
  ERR_clear_error();
  SslPtr ssl(SSL_new(ctx));
  if (!ssl || SSL_set_fd(ssl.get(), fd.get()) != 1)
    return fail(Errc::Tls, "cannot create a TLS connection: out of memory");
  SSL_set_mode(ssl.get(),
               SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
  return Stream(std::move(ssl), std::move(fd));
}

Result<Stream> Stream::client(SSL_CTX* ctx, io::Fd fd, const std::string& server_name) {
  auto s = make(ctx, std::move(fd));
  if (!s) return s;
  SSL_set_connect_state(s->ssl());
  if (!server_name.empty() && SSL_set_tlsext_host_name(s->ssl(), server_name.c_str()) != 1)
    return fail(Errc::Tls, "cannot send the server name \"" + server_name + "\" in TLS");
  return s;
}

Result<Stream> Stream::server(SSL_CTX* ctx, io::Fd fd) {
  auto s = make(ctx, std::move(fd));
  if (s) SSL_set_accept_state(s->ssl());
  return s;
}

Io Stream::fail_with(Failure f) noexcept {
  failed_ = true;
  failure_ = f;
  std::vector<std::uint8_t>().swap(sealed_);
  return Io::Failed;
}

// REQUIRES: the error queue was cleared before the call that returned rc.
Io Stream::classify(int rc) noexcept {
  const int sys = errno;
  switch (SSL_get_error(ssl_.get(), rc)) {
    case SSL_ERROR_WANT_READ:
      return Io::WantRead;
    case SSL_ERROR_WANT_WRITE:
      return Io::WantWrite;
    case SSL_ERROR_ZERO_RETURN:
      return Io::Closed;
    case SSL_ERROR_SYSCALL:
      // No errno and an empty queue: EOF, as older OpenSSL reported it.
      if (sys == 0 && ERR_peek_error() == 0)
        return established_ ? Io::Closed : fail_with({.unexpected_eof = true});
      return fail_with({.sys = sys != 0 ? sys : EPIPE});
    default:
      break;
  }
  const unsigned long error = ERR_peek_error();
  ERR_clear_error();
  // Many peers, PostgreSQL's libpq among them when it dies, close without close_notify; the message framing
  // above notices a cut, so it is a close like any other.
  if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
    return established_ ? Io::Closed : fail_with({.ssl = error, .unexpected_eof = true});
  return fail_with({.ssl = error, .alert = received_alert(error)});
}

IoResult Stream::handshake() noexcept {
  if (failed_) return {Io::Failed, 0};
  ERR_clear_error();
  errno = 0;
  const int rc = SSL_do_handshake(ssl_.get());
  if (rc == 1) {
    established_ = true;
    // The peer's first records may have come with its last handshake message and lie in the read-ahead
    // buffer.
    input_drained_ = SSL_has_pending(ssl_.get()) == 0;
    return {Io::Done, 0};
  }
  const Io status = classify(rc);
  if (status == Io::Closed) return {fail_with({.unexpected_eof = true}), 0};
  return {status, 0};
}

IoResult Stream::read(io::MutBytes to) noexcept {
  assert(!to.empty());
  if (postponed_) return {*postponed_, 0};
  std::size_t total = 0;
  while (total < to.size()) {
    std::size_t n = 0;
    ERR_clear_error();
    errno = 0;
    const int rc = SSL_read_ex(ssl_.get(), to.data() + total, to.size() - total, &n);
    if (rc <= 0) {
      const Io status = classify(rc);
      input_drained_ = status == Io::WantRead || status == Io::WantWrite;
      if (!input_drained_) postponed_ = status;
      return total > 0 ? IoResult{Io::Done, total} : IoResult{status, 0};
    }
    received_any_ = true;
    total += n;
    // The poll is level-triggered: no read(2) just to see EAGAIN.
    if (SSL_has_pending(ssl_.get()) == 0) {
      input_drained_ = true;
      return {Io::Done, total};
    }
  }
  input_drained_ = false;
  return {Io::Done, total};
}

bool Stream::holds_input() const noexcept {
  if (postponed_) return true;
  return !input_drained_ && SSL_has_pending(ssl_.get()) == 1;
}

Io Stream::flush_sealed() noexcept {
  if (sealed_.empty()) return Io::Done;
  std::size_t n = 0;
  ERR_clear_error();
  errno = 0;
  const int rc = SSL_write_ex(ssl_.get(), sealed_.data(), sealed_.size(), &n);
  if (rc <= 0) {
    const Io status = classify(rc);
    return status == Io::Closed ? fail_with({.sys = EPIPE}) : status;
  }
  assert(n == sealed_.size());
  std::vector<std::uint8_t>().swap(sealed_);
  return Io::Done;
}

IoResult Stream::write_records(io::ConstBytes from) noexcept {
  std::size_t taken = 0;
  while (taken < from.size()) {
    // At most one record a call, so that what is sealed when it blocks is exactly this piece.
    const auto piece = from.subspan(taken, std::min(from.size() - taken, kRecord));
    std::size_t n = 0;
    ERR_clear_error();
    errno = 0;
    const int rc = SSL_write_ex(ssl_.get(), piece.data(), piece.size(), &n);
    if (rc > 0) {
      taken += n;
      continue;
    }
    const Io status = classify(rc);
    if (status == Io::Closed) return {fail_with({.sys = EPIPE}), taken};
    if (status == Io::WantWrite || status == Io::WantRead) {
      sealed_.assign(piece.begin(), piece.end());
      taken += piece.size();
    }
    return {status, taken};
  }
  return {Io::Done, taken};
}

IoResult Stream::write(io::ConstBytes from) noexcept {
  if (failed_) return {Io::Failed, 0};
  if (const Io status = flush_sealed(); status != Io::Done) return {status, 0};
  return write_records(from);
}

IoResult Stream::writev(std::span<const io::ConstBytes> pieces) noexcept {
  if (failed_) return {Io::Failed, 0};
  if (const Io status = flush_sealed(); status != Io::Done) return {status, 0};
  std::array<std::uint8_t, kRecord> record;
  std::size_t have = 0, taken = 0;
  const auto send = [&](io::ConstBytes bytes) {
    const auto r = write_records(bytes);
    taken += r.n;
    return r.status;
  };
  for (auto piece : pieces) {
    while (!piece.empty()) {
      if (have == 0 && piece.size() >= kRecord) {  // whole records need no copy
        const auto whole = piece.first(piece.size() - piece.size() % kRecord);
        if (const Io status = send(whole); status != Io::Done) return {status, taken};
        piece = piece.subspan(whole.size());
        continue;
      }
      const auto n = std::min(piece.size(), kRecord - have);
      std::memcpy(record.data() + have, piece.data(), n);
      have += n;
      piece = piece.subspan(n);
      if (have < kRecord) continue;
      if (const Io status = send({record.data(), have}); status != Io::Done) return {status, taken};
      have = 0;
    }
  }
  const Io status = have > 0 ? send({record.data(), have}) : Io::Done;
  return {status, taken};
}

void Stream::close_notify() noexcept {
  // SSL_shutdown() must not be called after a fatal error, nor inside a handshake (SSL_shutdown(3)); behind a
  // sealed record it could not be sent anyway.
  if (!established_ || failed_ || !sealed_.empty()) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

std::string_view Stream::alpn() const noexcept {
  const unsigned char* p = nullptr;
  unsigned n = 0;
  SSL_get0_alpn_selected(ssl_.get(), &p, &n);
  return {reinterpret_cast<const char*>(p), n};
}

CertPtr Stream::peer_certificate() const noexcept { return CertPtr(SSL_get1_peer_certificate(ssl_.get())); }

}  // namespace sidepool::tls
