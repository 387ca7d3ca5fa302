// bench/floor/copy_loop.cpp -- the least a proxy can do: one thread, epoll, recv, send. The floor of the
// bench.
//
//   copy_loop --to PORT [--tls]
//
// Takes clients on a port of the kernel's choice, told on stdout as "listening on 127.0.0.1:PORT", and gives
// each a connection of its own to a PostgreSQL on loopback; with --tls that one is encrypted, unverified.
// Nothing is looked at, nothing is pooled. What a peer does not take at once is kept, and the other is not
// read until it is gone.
#include <arpa/inet.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "bench/floor/end.h"

namespace sidepool::bench {
namespace {

int check(int returned, const char* what) {
  if (returned < 0) throw std::system_error(errno, std::generic_category(), what);
  return returned;
}

struct Pair;
struct Side {
  Pair& pair;
  End end;
  std::string unsent;                  // of what the other side said
  std::optional<std::uint32_t> armed;  // as epoll knows it
};
struct Pair {
  Pair(End c, End s) : client{*this, std::move(c), {}, {}}, server{*this, std::move(s), {}, {}} {}
  Side& other(const Side& side) noexcept { return &side == &client ? server : client; }
  Side client, server;
  bool over = false;
};

class CopyLoop {
 public:
  CopyLoop(int listener, const sockaddr_in& to, SSL_CTX* tls)
      : listener_(listener),
        epoll_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        to_(to),
        tls_(tls) {
    epoll_event event{EPOLLIN, {.ptr = nullptr}};
    check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event), "epoll_ctl");
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int n = ::epoll_wait(epoll_, events.data(), events.size(), -1);
      for (int i = 0; i < n; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        if (event.data.ptr == nullptr) {
          accept();
        } else {
          handle(*static_cast<Side*>(event.data.ptr), event.events);
        }
      }
      // Later events of the same turn may have been of a pair that an earlier one ended.
      if (ended_) std::erase_if(pairs_, [](const auto& pair) { return pair->over; });
      ended_ = false;
    }
  }

 private:
  void accept() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    End client = End::accepted(fd);
    std::optional<End> server = End::dial(to_, tls_);
    if (!server) return;
    pairs_.push_back(std::make_unique<Pair>(std::move(client), std::move(*server)));
    arm(*pairs_.back());
  }

  void handle(Side& side, std::uint32_t events) {
    Pair& pair = side.pair;
    if (!pair.over && (events & EPOLLOUT) != 0) {
      send(side, {});
      // The bytes that TLS holds are not told by epoll.
      if (!pair.over && side.unsent.empty() && pair.other(side).end.holds_input()) copy(pair.other(side));
    }
    // An end or an error is found by reading.
    if (!pair.over && (events & ~EPOLLOUT) != 0 && pair.other(side).unsent.empty()) copy(side);
    if (!pair.over) arm(pair);
  }

  // One read, and what TLS has read beyond it, written at once.
  void copy(Side& from) {
    Side& to = from.pair.other(from);
    ssize_t n = 0;
    do {
      std::size_t size = 0;
      do {
        n = from.end.read(std::span(buffer_).subspan(size));
        size += n > 0 ? static_cast<std::size_t>(n) : 0;
      } while (n > 0 && size < buffer_.size() && from.end.holds_input());
      if (size > 0) send(to, {buffer_.data(), size});
      if (n == 0 || n == End::kFailed) end(from.pair);
    } while (n > 0 && !from.pair.over && to.unsent.empty() && from.end.holds_input());
  }

  // REQUIRES: `bytes` is empty, or nothing is unsent.
  void send(Side& to, std::string_view bytes) {
    const bool fresh = to.unsent.empty();
    const ssize_t n = to.end.write(fresh ? bytes : std::string_view(to.unsent));
    if (n == End::kFailed) return end(to.pair);
    const auto sent = n == End::kWait ? 0 : static_cast<std::size_t>(n);
    if (!fresh) {
      to.unsent.erase(0, sent);
    } else if (sent < bytes.size()) {
      to.unsent.assign(bytes.substr(sent));
    }
  }

  void arm(Pair& pair) {
    for (Side* side : {&pair.client, &pair.server}) {
      std::uint32_t events = 0;
      if (!side->unsent.empty()) events |= EPOLLOUT;
      if (pair.other(*side).unsent.empty()) events |= EPOLLIN;
      if (events == side->armed) continue;
      epoll_event event{events, {.ptr = side}};
      check(::epoll_ctl(epoll_, side->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, side->end.fd(), &event),
            "epoll_ctl");
      side->armed = events;
    }
  }

  void end(Pair& pair) noexcept {
    pair.client.end.close();
    pair.server.end.close();
    pair.over = ended_ = true;
  }

  int listener_, epoll_;
  sockaddr_in to_;
  SSL_CTX* tls_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  bool ended_ = false;
  std::array<char, 65536> buffer_;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int listen_somewhere() {
  const int fd = check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "socket");
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  check(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size), "bind");
  check(::listen(fd, SOMAXCONN), "listen");
  check(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  std::printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

// Set up as fast as OpenSSL goes: it is the floor. Read-ahead takes a record with one read instead of two.
SSL_CTX* client_context() {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) throw std::runtime_error(ERR_error_string(ERR_get_error(), nullptr));
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  return context;
}

}  // namespace
}  // namespace sidepool::bench

int main(int argc, char** argv) try {
  using namespace sidepool::bench;
  CLI::App app{"copies bytes between clients and a PostgreSQL on loopback"};
  std::uint16_t to = 0;
  bool tls = false;
  app.add_option("--to", to, "PostgreSQL's port")->required();
  app.add_flag("--tls", tls, "TLS to PostgreSQL");
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  CopyLoop(listen_somewhere(), loopback(to), tls ? client_context() : nullptr).run();
} catch (const std::exception& error) {
  std::fprintf(stderr, "copy_loop: %s\n", error.what());
  return 1;
}
