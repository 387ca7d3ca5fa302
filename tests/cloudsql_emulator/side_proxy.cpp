// tests/cloudsql_emulator/side_proxy.cpp -- listening and accepting.
#include "tests/cloudsql_emulator/side_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace sidepool::emulator {

SideProxy::~SideProxy() {
  {
    std::lock_guard lock(mutex_);
    for (auto& [address, listener] : listeners_) close_listener(listener);
    listeners_.clear();
  }
  // A connection may just be past its last look at an order, so the order is given until all are gone.
  do {
    connections_.kill("", End::Close);
  } while (!connections_.wait_empty(std::chrono::milliseconds(100)));
  join_finished();
}

void SideProxy::join_finished() {
  std::vector<std::thread> finished;
  {
    std::lock_guard lock(threads_mutex_);
    finished.swap(finished_);
  }
  for (std::thread& thread : finished) thread.join();
}

void SideProxy::close_listener(Listener& listener) {
  shutdown(listener.fd, SHUT_RDWR);  // wakes the accept
  listener.thread.join();
  close(listener.fd);
}

Status SideProxy::sync() {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> wanted = services_.instances.listeners();
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    auto match = wanted.find(it->first);
    if (match != wanted.end() && match->second == it->second.instance) {
      ++it;
      continue;
    }
    close_listener(it->second);
    it = listeners_.erase(it);
  }
  for (const auto& [address, instance] : wanted) {
    if (listeners_.contains(address)) continue;
    if (Status status = open(address, instance); !status) return status;
  }
  return {};
}

Status SideProxy::open(const std::string& address, const std::string& instance) {
  std::string where = address + ":" + std::to_string(port_);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_port = htons(static_cast<std::uint16_t>(port_));
  if (inet_pton(AF_INET, address.c_str(), &local.sin_addr) != 1) {
    return fail(Errc::Config, "\"" + address + "\" is no IPv4 address");
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int on = 1;
  if (fd < 0) return fail(Errc::Io, "no socket for " + where, errno);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0 || ::listen(fd, 1024) != 0) {
    int error = errno;
    close(fd);
    return fail(Errc::Io, "cannot listen on " + where + ": " + std::strerror(error), error);
  }
  Listener& listener = listeners_[address];
  listener.fd = fd;
  listener.instance = instance;
  listener.thread = std::thread([this, fd, instance] { accept_loop(fd, instance); });
  return {};
}

void SideProxy::accept_loop(int listen_fd, const std::string& instance) {
  while (true) {
    int fd = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      start_connection(fd, instance);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      poll(nullptr, 0, 20);
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return;
    }
  }
}

void SideProxy::start_connection(int fd, const std::string& instance) {
  services_.recorder.count("accepted");
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  auto endpoint = services_.instances.accept(instance);
  if (!endpoint) {
    close(fd);
    return;
  }
  join_finished();
  auto slot = connections_.add(fd, instance);
  std::lock_guard lock(threads_mutex_);
  try {
    running_[slot.get()] = std::thread(&SideProxy::live, this, slot, *endpoint);
  } catch (const std::system_error&) {  // no more threads: as if the machine had refused
    running_.erase(slot.get());
    connections_.remove(slot);
    close(fd);
  }
}

void SideProxy::live(const std::shared_ptr<Slot>& slot, Endpoint endpoint) {
  serve_connection(*slot, endpoint, services_);
  services_.recorder.count("closed");
  {
    std::lock_guard lock(threads_mutex_);
    auto self = running_.find(slot.get());
    finished_.push_back(std::move(self->second));
    running_.erase(self);
  }
  // Out of the table before the socket is closed: kill() must not touch a number that the kernel may already
  // have given out again. Once the table is empty, the destructor finds every thread in finished_.
  connections_.remove(slot);
  close(slot->fd);
}

}  // namespace sidepool::emulator
