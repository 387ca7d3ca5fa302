// src/io/socket.h -- addresses, non-blocking dialling, socket options.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/io/fd.h"
#include "src/io/io_result.h"

namespace sidepool::io {

// An IPv4, IPv6 or unix-socket address in the kernel's form. Every client keeps one, so what only a long path
// needs lies apart, shared by copies.
class SocketAddress {
 public:
  // An IP literal; nullopt if `ip` is not one. A zone ("fe80::1%eth0") is understood.
  static std::optional<SocketAddress> from_ip(std::string_view ip, std::uint16_t port);
  // The error names the path and the limit: sun_path holds 107 characters. A leading '@' means the abstract
  // space.
  static Result<SocketAddress> from_path(std::string_view path);
  static SocketAddress from_raw(const sockaddr* address, socklen_t size);

  const sockaddr* raw() const noexcept {
    return path_ ? reinterpret_cast<const sockaddr*>(path_.get())
                 : reinterpret_cast<const sockaddr*>(&short_);
  }
  socklen_t size() const noexcept { return size_; }
  int family() const noexcept { return raw()->sa_family; }
  bool is_unix() const noexcept { return family() == AF_UNIX; }
  // 127.0.0.0/8, ::1, and 127.0.0.0/8 mapped into IPv6.
  bool is_loopback() const noexcept;
  std::uint16_t port() const noexcept;
  // "127.0.0.1:5432", "[::1]:5432", a path, or "@" for a unix socket without a name. An IPv4 address mapped
  // into IPv6 is written as IPv4.
  std::string text() const;
  // The same without the port.
  std::string host() const;

 private:
  sockaddr_in6 short_{};
  socklen_t size_ = 0;
  std::shared_ptr<const sockaddr_un> path_;  // instead of short_, if it is longer
};

// Liveness of a connection that the other side forgot: probes after `idle`, then every `interval`, and
// unacknowledged data breaks the connection after `user_timeout` (TCP_USER_TIMEOUT, tcp(7)). 0 leaves the
// kernel's value.
struct Keepalive {
  bool probe = true;  // false: the next three mean nothing
  std::chrono::seconds idle{30};
  std::chrono::seconds interval{10};
  int probes = 3;
  std::chrono::milliseconds user_timeout{30000};
};

// Sets TCP_NODELAY, and keep-alive if given. A sandbox may lack an option; that costs a debug line and
// nothing else. Does nothing to a unix socket.
void tune(int fd, const Keepalive* keepalive) noexcept;

// Sends what fits into the socket of a connection that is not served, and closes it.
void turn_away(Fd fd, ConstBytes refusal) noexcept;

struct Dialled {
  Fd fd;
  bool connected;  // false: wait until it is writable, then ask socket_error()
};
// Begins to connect; never blocks. The socket is non-blocking and closed on exec. `sys` of an error is errno,
// its reason "refused", "unreachable", "no_file", "permission", "fd_limit" or "other".
Result<Dialled> dial(const SocketAddress& to, const Keepalive& keepalive = {});
// The reason word for an errno of connect().
const char* dial_reason(int sys) noexcept;

// Takes SO_ERROR: 0 or the errno of a connect() that has finished.
int socket_error(int fd) noexcept;

// The process at the other end of a unix socket when it connected; nullopt if the socket is not one.
struct PeerProcess {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
std::optional<PeerProcess> peer_process(int fd) noexcept;

}  // namespace sidepool::io
