// src/io/listener.h -- one listening socket on a loop.
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/base/timer_wheel.h"
#include "src/io/fd.h"
#include "src/io/io_result.h"
#include "src/io/loop.h"
#include "src/io/socket.h"
#include "src/io/watch.h"

namespace sidepool::io {

// Who can reach a listener, by the address it is bound to: what product.md §4 lets depend on it must not
// depend on the peer's address, which a local proxy or NAT can make look like loopback.
enum class Reach : std::uint8_t { UnixSocket, Loopback, Network };

struct ListenOptions {
  int backlog = 1024;
  bool v6_only = false;         // "::" takes IPv4 too unless this is set, as Go's net.Listen does
  mode_t unix_mode = 0777;      // chmod of the socket file, best effort, as the Auth Proxy does
  bool make_directory = false;  // create the socket's directory (its parent must exist), 0777 minus umask
  std::optional<Keepalive> keepalive{};  // of accepted connections; they get TCP_NODELAY in any case
  // Sent to a connection that cannot be served because the process is out of file descriptors. Borrowed for
  // the life of the listener.
  ConstBytes refusal{};
};

// What can be done about an errno with which Listener::open() has failed; empty: nothing is known.
std::string_view listen_remedy(int sys) noexcept;

class Listener {
 public:
  // `fd` is non-blocking and closed on exec. May pause or close the listener, not destroy it.
  using Accepted = void (*)(void* owner, Fd fd, const SocketAddress& peer) noexcept;

  // Binds and listens at once, so the kernel's backlog fills; nothing is accepted before start(). Port 0
  // takes a free one. A unix socket that nobody answers on is a leftover and is replaced; one that somebody
  // answers on, or a file of another kind, is an error.
  static Result<std::unique_ptr<Listener>> open(Loop& loop, const SocketAddress& address,
                                                const ListenOptions& options);
  ~Listener() { close(); }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  Status start(void* owner, Accepted accepted);
  // Stops accepting; what is in the backlog waits for start().
  void pause() noexcept;
  // Also removes the socket file, if it is still ours.
  void close() noexcept;

  // Of connections accepted from now on.
  void set_keepalive(const Keepalive& keepalive) noexcept { options_.keepalive = keepalive; }

  // With the port the kernel chose.
  const SocketAddress& address() const noexcept { return address_; }
  Reach reach() const noexcept;
  // Connections turned away because the process was out of file descriptors.
  std::uint64_t turned_away() const noexcept { return turned_away_; }

 private:
  Listener(Loop& loop, Fd fd, const SocketAddress& address, const ListenOptions& options) noexcept;
  void on_readable() noexcept;
  void on_fd_limit(int sys) noexcept;
  void resume() noexcept;

  Loop& loop_;
  Fd fd_;
  Fd reserve_;  // given up for a moment when there are no descriptors left, to turn one connection away
  FdWatch watch_;
  TimerNode rest_;
  SocketAddress address_;
  ListenOptions options_;
  dev_t file_device_ = 0;
  ino_t file_inode_ = 0;
  void* owner_ = nullptr;
  Accepted accepted_ = nullptr;
  std::uint64_t turned_away_ = 0;
};

}  // namespace sidepool::io
