// src/io/stream.h -- one connection's bytes, plain or TLS, behind one small class. Only headers: its two
// halves are recv/send here and tls/stream.h.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "src/io/fd.h"
#include "src/io/io_result.h"
#include "src/tls/stream.h"

namespace sidepool::io {

// Owns the socket. Bound to no loop and no thread, so it moves between workers as it is; one thread at a
// time. Whoever receives one asks holds_input() before waiting for the fd. REQUIRES for closing: no watch is
// on the fd any more.
class Stream {
 public:
  Stream() noexcept = default;
  explicit Stream(Fd fd) noexcept : s_(std::move(fd)) {}
  explicit Stream(tls::Stream t) : s_(std::make_unique<tls::Stream>(std::move(t))) {}
  Stream(Stream&& other) noexcept : s_(std::exchange(other.s_, Fd{})), sys_(other.sys_) {}
  Stream& operator=(Stream&& other) noexcept {
    if (this == &other) return *this;
    s_ = std::exchange(other.s_, Fd{});
    sys_ = other.sys_;
    return *this;
  }
  ~Stream() = default;

  bool open() const noexcept { return fd() >= 0; }
  int fd() const noexcept { return tls() ? tls()->fd() : std::get<Fd>(s_).get(); }
  // Null if the stream is plain. Valid until the stream is moved or closed.
  tls::Stream* tls() noexcept {
    auto* t = std::get_if<Tls>(&s_);
    return t ? t->get() : nullptr;
  }
  const tls::Stream* tls() const noexcept {
    const auto* t = std::get_if<Tls>(&s_);
    return t ? t->get() : nullptr;
  }
  // The bare socket, to start TLS on it; the stream is then not open. REQUIRES: plain.
  Fd take_fd() noexcept { return std::exchange(std::get<Fd>(s_), Fd{}); }

  // REQUIRES: `to` is not empty. Done means n > 0.
  IoResult read(MutBytes to) noexcept {
    if (auto* t = tls()) return t->read(to);
    assert(!to.empty());
    for (;;) {
      const auto n = ::recv(fd(), to.data(), to.size(), MSG_DONTWAIT);
      if (n > 0) return {Io::Done, static_cast<std::size_t>(n)};
      if (n == 0) return {Io::Closed, 0};
      if (errno == EINTR) continue;
      return {wait_or_fail(Io::WantRead), 0};
    }
  }
  // What it did not take (see IoResult) belongs into an Outbox. An empty span sends what a TLS stream still
  // holds.
  IoResult write(ConstBytes from) noexcept {
    if (auto* t = tls()) return t->write(from);
    std::size_t taken = 0;
    while (taken < from.size()) {
      const auto n = ::send(fd(), from.data() + taken, from.size() - taken, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0) {
        taken += static_cast<std::size_t>(n);
        // A short write means a full buffer: no second call just to see EAGAIN.
        return {taken == from.size() ? Io::Done : Io::WantWrite, taken};
      }
      if (errno == EINTR) continue;
      return {wait_or_fail(Io::WantWrite), taken};
    }
    return {Io::Done, taken};
  }
  // The same for several pieces, in one system call (one record for TLS). REQUIRES: at most kMaxPieces.
  static constexpr std::size_t kMaxPieces = 16;
  IoResult writev(std::span<const ConstBytes> pieces) noexcept {
    if (pieces.size() == 1) return write(pieces.front());
    if (auto* t = tls()) return t->writev(pieces);
    assert(pieces.size() <= kMaxPieces);
    std::size_t want = 0;
    for (const auto p : pieces) want += p.size();
    if (want <= kFew) return write_few(pieces);
    std::array<iovec, kMaxPieces> iov;
    std::size_t used = 0;
    for (const auto p : pieces) {
      if (!p.empty())
        iov[used++] = {const_cast<std::uint8_t*>(p.data()), p.size()};  // sendmsg() does not write to it
    }
    msghdr m{};
    m.msg_iov = iov.data(), m.msg_iovlen = used;
    for (;;) {
      const auto n = ::sendmsg(fd(), &m, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0) {
        const auto taken = static_cast<std::size_t>(n);
        return {taken == want ? Io::Done : Io::WantWrite, taken};
      }
      if (errno == EINTR) continue;
      return {wait_or_fail(Io::WantWrite), 0};
    }
  }
  // See tls::Stream. A plain stream holds nothing: epoll sees all there is.
  bool holds_input() const noexcept { return tls() && tls()->holds_input(); }
  bool holds_output() const noexcept { return tls() && tls()->holds_output(); }

  // Nothing more will be sent: close_notify where there is TLS, and FIN. Reading goes on.
  void shutdown_write() noexcept {
    if (auto* t = tls()) t->close_notify();
    if (open()) ::shutdown(fd(), SHUT_WR);
  }
  // Says close_notify if it can and closes the socket.
  void close() noexcept {
    if (auto* t = tls()) t->close_notify();
    s_ = Fd{};
  }

  // After Failed: errno if the socket failed (0 for a TLS failure), and one clause for a log line.
  int error() const noexcept { return tls() ? tls()->failure().sys : sys_; }
  std::string error_text() const { return tls() ? tls()->failure().text() : std::strerror(sys_); }

 private:
  // Copying costs less than having the kernel gather: send() takes 0.1 us less than sendmsg().
  static constexpr std::size_t kFew = 1024;
  IoResult write_few(std::span<const ConstBytes> pieces) noexcept {
    std::array<std::uint8_t, kFew> all;
    std::size_t size = 0;
    for (const auto p : pieces) {
      std::copy(p.begin(), p.end(), all.begin() + size);
      size += p.size();
    }
    return write(ConstBytes(all).first(size));
  }

  Io wait_or_fail(Io wait) noexcept {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return wait;
    sys_ = errno;
    return Io::Failed;
  }

  using Tls = std::unique_ptr<tls::Stream>;  // never null; apart, so that plain streams do not carry its room
  std::variant<Fd, Tls> s_;
  int sys_ = 0;
};

}  // namespace sidepool::io
