// src/io/socket.cpp -- the system calls behind socket.h.
#include "src/io/socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "src/base/log.h"

namespace sidepool::io {

namespace {
const sockaddr_in& v4(const sockaddr* s) noexcept { return *reinterpret_cast<const sockaddr_in*>(s); }
const sockaddr_in6& v6(const sockaddr* s) noexcept { return *reinterpret_cast<const sockaddr_in6*>(s); }

// The IPv4 address inside an IPv6 one, or null.
const std::uint8_t* mapped_v4(const sockaddr* s) noexcept {
  return s->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6(s).sin6_addr) ? &v6(s).sin6_addr.s6_addr[12]
                                                                            : nullptr;
}

void set_option(int fd, int level, int name, int value, const char* what) noexcept {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0)
    log::debug("socket option is not available", {{"option", what}, {"error", std::strerror(errno)}});
}
}  // namespace

std::optional<SocketAddress> SocketAddress::from_ip(std::string_view ip, std::uint16_t port) {
  std::string host(ip);
  if (host.find('\0') != std::string::npos) return std::nullopt;
  in_addr a4{};
  if (::inet_pton(AF_INET, host.c_str(), &a4) == 1) {
    sockaddr_in s{};
    s.sin_family = AF_INET, s.sin_addr = a4, s.sin_port = htons(port);
    return from_raw(reinterpret_cast<const sockaddr*>(&s), sizeof s);
  }
  std::uint32_t zone = 0;
  if (const auto percent = host.find('%'); percent != std::string::npos) {
    zone = ::if_nametoindex(host.c_str() + percent + 1);
    if (zone == 0) return std::nullopt;
    host.resize(percent);
  }
  in6_addr a6{};
  if (::inet_pton(AF_INET6, host.c_str(), &a6) != 1 || host.find('\0') != std::string::npos)
    return std::nullopt;
  sockaddr_in6 s{};
  s.sin6_family = AF_INET6, s.sin6_addr = a6, s.sin6_port = htons(port), s.sin6_scope_id = zone;
  return from_raw(reinterpret_cast<const sockaddr*>(&s), sizeof s);
}

Result<SocketAddress> SocketAddress::from_path(std::string_view path) {
  sockaddr_un s{};
  s.sun_family = AF_UNIX;
  constexpr std::size_t kMax = sizeof s.sun_path - 1;
  if (path.empty() || path.find('\0') != std::string_view::npos)
    return fail(Errc::Config, "the path of a unix socket is empty or contains a zero byte");
  if (path.size() > kMax)
    return fail(Errc::Config,
                "the path of the unix socket \"" + std::string(path) + "\" has " +
                    std::to_string(path.size()) + " characters, the system allows " + std::to_string(kMax) +
                    "; choose a shorter directory",
                ENAMETOOLONG);
  std::memcpy(s.sun_path, path.data(), path.size());
  const bool abstract = path.front() == '@';
  if (abstract) s.sun_path[0] = '\0';  // then the size says where the name ends (unix(7))
  const auto size = offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1);
  return from_raw(reinterpret_cast<const sockaddr*>(&s), static_cast<socklen_t>(size));
}

SocketAddress SocketAddress::from_raw(const sockaddr* address, socklen_t size) {
  SocketAddress a;
  if (size <= sizeof a.short_) {
    a.size_ = size;
    std::memcpy(&a.short_, address, a.size_);
    return a;
  }
  const auto path = std::make_shared<sockaddr_un>();
  a.size_ = std::min<socklen_t>(size, sizeof *path);
  std::memcpy(path.get(), address, a.size_);
  a.path_ = path;
  return a;
}

bool SocketAddress::is_loopback() const noexcept {
  if (family() == AF_INET) return (ntohl(v4(raw()).sin_addr.s_addr) >> 24) == 127;
  if (const auto* m = mapped_v4(raw())) return m[0] == 127;
  return family() == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6(raw()).sin6_addr);
}

std::uint16_t SocketAddress::port() const noexcept {
  if (family() == AF_INET) return ntohs(v4(raw()).sin_port);
  return family() == AF_INET6 ? ntohs(v6(raw()).sin6_port) : std::uint16_t{0};
}

std::string SocketAddress::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (const auto* m = mapped_v4(raw())) return ::inet_ntop(AF_INET, m, text.data(), text.size());
  if (family() == AF_INET) return ::inet_ntop(AF_INET, &v4(raw()).sin_addr, text.data(), text.size());
  if (family() == AF_INET6) {
    std::string host = ::inet_ntop(AF_INET6, &v6(raw()).sin6_addr, text.data(), text.size());
    if (const auto zone = v6(raw()).sin6_scope_id; zone != 0) {
      std::array<char, IF_NAMESIZE> name{};
      host += '%';
      host += ::if_indextoname(zone, name.data()) ? std::string(name.data()) : std::to_string(zone);
    }
    return host;
  }
  const auto& u = *reinterpret_cast<const sockaddr_un*>(raw());
  constexpr socklen_t kHead = offsetof(sockaddr_un, sun_path);
  if (size_ <= kHead) return "@";
  if (u.sun_path[0] == '\0') return "@" + std::string(u.sun_path + 1, size_ - kHead - 1);
  return std::string(u.sun_path, ::strnlen(u.sun_path, size_ - kHead));
}

std::string SocketAddress::text() const {
  if (is_unix()) return host();
  if (family() == AF_INET6 && !mapped_v4(raw())) return "[" + host() + "]:" + std::to_string(port());
  return host() + ":" + std::to_string(port());
}

void tune(int fd, const Keepalive* keepalive) noexcept {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX) return;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  if (!keepalive) return;
  const auto unless_zero = [fd](int name, auto value, const char* what) {
    if (value != 0) set_option(fd, IPPROTO_TCP, name, static_cast<int>(value), what);
  };
  unless_zero(TCP_USER_TIMEOUT, keepalive->user_timeout.count(), "TCP_USER_TIMEOUT");
  if (!keepalive->probe) return;
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE");
  unless_zero(TCP_KEEPIDLE, keepalive->idle.count(), "TCP_KEEPIDLE");
  unless_zero(TCP_KEEPINTVL, keepalive->interval.count(), "TCP_KEEPINTVL");
  unless_zero(TCP_KEEPCNT, keepalive->probes, "TCP_KEEPCNT");
}

void turn_away(Fd fd, ConstBytes refusal) noexcept {
  (void)!::send(fd.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(fd.get(), SHUT_WR);
  // Unread bytes would turn the close into a reset, which can overtake the refusal.
  std::array<std::uint8_t, 1024> unread;
  for (int i = 0; i < 16 && ::recv(fd.get(), unread.data(), unread.size(), MSG_DONTWAIT) > 0; ++i) {
  }
}

const char* dial_reason(int sys) noexcept {
  switch (sys) {
    case ECONNREFUSED:
      return "refused";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
      return "unreachable";
    case ETIMEDOUT:
      return "timeout";
    case ECONNRESET:
      return "reset";
    case ENOENT:
      return "no_file";
    case EACCES:
    case EPERM:
      return "permission";
    case EMFILE:
    case ENFILE:
      return "fd_limit";
    default:
      return "other";
  }
}

Result<Dialled> dial(const SocketAddress& to, const Keepalive& keepalive) {
  const auto failed = [&](const char* call, int sys) {
    return fail(Errc::Io, std::string(call) + " " + to.text() + ": " + std::strerror(sys), sys,
                dial_reason(sys));
  };
  Fd fd(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return failed("cannot open a socket for", errno);
  tune(fd.get(), &keepalive);
  for (;;) {
    if (::connect(fd.get(), to.raw(), to.size()) == 0) return Dialled{std::move(fd), true};
    if (errno == EINTR) continue;
    if (errno == EINPROGRESS) return Dialled{std::move(fd), false};
    // A unix socket whose backlog is full answers EAGAIN and does not connect later (connect(2)).
    return failed("cannot connect to", errno);
  }
}

int socket_error(int fd) noexcept {
  int sys = 0;
  socklen_t size = sizeof sys;
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &sys, &size) == 0 ? sys : errno;
}

std::optional<PeerProcess> peer_process(int fd) noexcept {
  ucred c{};
  socklen_t size = sizeof c;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &size) != 0 || c.pid == 0) return std::nullopt;
  return PeerProcess{c.pid, c.uid, c.gid};
}

}  // namespace sidepool::io
