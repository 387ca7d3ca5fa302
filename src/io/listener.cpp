// src/io/listener.cpp -- binding, stale sockets, accepting in batches.
#include "src/io/listener.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "src/base/log.h"

namespace sidepool::io {

namespace {
constexpr int kBatch = 64;  // connections per turn, so that a flood does not starve the loop's other work
constexpr auto kRest = std::chrono::milliseconds(100);

auto cannot_listen(const SocketAddress& a, int sys) {
  return fail(Errc::Io, "cannot listen on " + a.text() + ": " + std::strerror(sys), sys,
              sys == EADDRINUSE ? "in_use" : "listen");
}

bool names_file(const SocketAddress& a) { return a.is_unix() && !a.host().starts_with('@'); }

Status make_directory_of(const std::string& path) {
  const auto dir = std::filesystem::path(path).parent_path();
  if (dir.empty() || ::mkdir(dir.c_str(), 0777) == 0) return {};
  const int sys = errno;
  struct stat st {};
  if (sys == EEXIST && ::stat(dir.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
  return fail(Errc::Config,
              "cannot create the directory \"" + dir.string() + "\" for a unix socket: " + std::strerror(sys),
              sys, "directory");
}

// A server that was killed leaves its socket file behind, and bind() would fail on it for ever.
Status remove_stale(const SocketAddress& a) {
  const std::string path = a.host();
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode))
    return fail(Errc::Config, "cannot listen on " + path + ": a file that is not a socket is in the way",
                EEXIST, "in_use");
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe) return cannot_listen(a, errno);
  // EAGAIN is a full backlog: somebody listens. Only a refusal proves that nobody does.
  if (::connect(probe.get(), a.raw(), a.size()) == 0 || errno != ECONNREFUSED)
    return cannot_listen(a, EADDRINUSE);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return cannot_listen(a, errno);
  return {};
}

Fd open_reserve() noexcept { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }
}  // namespace

std::string_view listen_remedy(int sys) noexcept {
  switch (sys) {
    case EADDRINUSE:
      return "Stop what listens there, or choose another port (--port, ?port=, listen)";
    case EEXIST:
      return "Remove it, or choose another path (--unix-socket, ?unix-socket=, listen)";
    case EADDRNOTAVAIL:
      return "Choose an address of this machine (--address, ?address=, listen)";
    case EACCES:
    case EPERM:
      return "Choose a port above 1023 or a directory that this user may write to";
    case ENOENT:
    case ENOTDIR:
      return "Create the directory above the socket's";
    default:
      return {};
  }
}

Listener::Listener(Loop& loop, Fd fd, const SocketAddress& address, const ListenOptions& options) noexcept
    : loop_(loop),
      fd_(std::move(fd)),
      reserve_(open_reserve()),
      rest_([](TimerNode& n) noexcept { owner_of<&Listener::rest_>(n).resume(); }),
      address_(address),
      options_(options) {}

Result<std::unique_ptr<Listener>> Listener::open(Loop& loop, const SocketAddress& address,
                                                 const ListenOptions& options) {
  const bool file = names_file(address);
  if (file) {
    if (options.make_directory)
      if (auto made = make_directory_of(address.host()); !made) return tl::unexpected(made.error());
    if (auto gone = remove_stale(address); !gone) return tl::unexpected(gone.error());
  }
  Fd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return cannot_listen(address, errno);
  const int on = 1;
  if (!address.is_unix()) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) {
    const int only = options.v6_only ? 1 : 0;
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  if (::bind(fd.get(), address.raw(), address.size()) != 0) return cannot_listen(address, errno);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    return cannot_listen(address, errno);
  const auto actual = file ? address : SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&bound), size);
  // From here on close() removes the file again if something fails.
  std::unique_ptr<Listener> listener(new Listener(loop, std::move(fd), actual, options));
  if (file) {
    struct stat st {};
    if (::lstat(address.host().c_str(), &st) == 0) {
      listener->file_device_ = st.st_dev;
      listener->file_inode_ = st.st_ino;
    }
    if (::chmod(address.host().c_str(), options.unix_mode) != 0)
      log::debug("cannot change the mode of a unix socket",
                 {{"path", address.host()}, {"error", std::strerror(errno)}});
  }
  if (::listen(listener->fd_.get(), options.backlog) != 0) return cannot_listen(address, errno);
  return listener;
}

Status Listener::start(void* owner, Accepted accepted) {
  owner_ = owner, accepted_ = accepted;
  int rc = 0;
  if (!watch_.started())
    rc = watch_.start(loop_.uv(), fd_.get(), this,
                      [](void* self, int) noexcept { static_cast<Listener*>(self)->on_readable(); });
  if (rc == 0) rc = watch_.arm(UV_READABLE);
  if (rc != 0)
    return fail(Errc::Io, "cannot watch the listener " + address_.text() + ": " + uv_strerror(rc), -rc);
  return {};
}

void Listener::pause() noexcept {
  rest_.disarm();
  watch_.stop();
}

void Listener::close() noexcept {
  pause();
  if (!fd_) return;
  fd_.reset();
  if (file_inode_ == 0) return;
  struct stat st {};
  const std::string path = address_.host();
  if (::lstat(path.c_str(), &st) == 0 && st.st_dev == file_device_ && st.st_ino == file_inode_)
    ::unlink(path.c_str());
  file_inode_ = 0;
}

Reach Listener::reach() const noexcept {
  if (address_.is_unix()) return Reach::UnixSocket;
  return address_.is_loopback() ? Reach::Loopback : Reach::Network;
}

void Listener::on_readable() noexcept {
  for (int i = 0; i < kBatch; ++i) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    const int fd =
        ::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (!address_.is_unix()) tune(fd, options_.keepalive ? &*options_.keepalive : nullptr);
      accepted_(owner_, Fd(fd), SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&from), size));
      if (!watch_.started()) return;  // the callback paused or closed us
      continue;
    }
    switch (errno) {
      case EINTR:
      case ECONNABORTED:  // gone before we looked; Linux also passes on the connection's network errors
                          // (accept(2))
      case EPROTO:
      case ENETDOWN:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case ENETUNREACH:
        continue;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return on_fd_limit(errno);
      default:
        return;
    }
  }
}

void Listener::on_fd_limit(int sys) noexcept {
  // Level-triggered: the backlog would wake the loop for ever. One connection is told why, then the listener
  // rests.
  reserve_.reset();
  if (const int fd = ::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); fd >= 0) {
    ++turned_away_;
    turn_away(Fd(fd), options_.refusal);
  }
  reserve_ = open_reserve();
  static log::Limiter limiter(std::chrono::seconds(10));
  if (const auto more = limiter.pass(steady_now()))
    log::error("cannot accept connections: out of file descriptors or memory",
               {{"listener", address_.text()}, {"error", std::strerror(sys)}, {"suppressed", *more}});
  watch_.arm(0);
  loop_.arm_after(rest_, kRest);
}

void Listener::resume() noexcept {
  if (watch_.started()) watch_.arm(UV_READABLE);
}

}  // namespace sidepool::io
