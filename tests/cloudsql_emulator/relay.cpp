// tests/cloudsql_emulator/relay.cpp -- one poll loop for one connection.
#include "tests/cloudsql_emulator/relay.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace sidepool::emulator {
namespace {

constexpr std::size_t kChunk = 32768;
// How late an order is noticed while the client's socket is not being watched.
constexpr int kOrderPoll_ms = 100;

struct Pipe {
  std::string data;
  std::size_t begin = 0;
  bool source_ended = false;
  Clock::time_point ready_at;

  bool empty() const { return begin == data.size(); }
  void filled(std::size_t count, int delay_ms) {
    data.resize(count);
    begin = 0;
    ready_at = Clock::now() + std::chrono::milliseconds(delay_ms);
  }
};

class Relay {
 public:
  Relay(TlsSocket& client, int server, const Slot& slot, const std::function<SideFault()>& fault)
      : client_(client), server_(server), slot_(slot), fault_(fault) {}

  RelayEnd run(std::string first_bytes) {
    to_server_.data = std::move(first_bytes);
    while (true) {
      if (slot_.ordered != End::None) return RelayEnd::Ordered;
      SideFault fault = fault_();
      delay_ms_ = fault.relay_delay_ms;
      if (fault.stall) {
        pollfd one{client_.fd(), 0, 0};
        if (poll(&one, 1, 20) > 0) return RelayEnd::ClientLeft;
        continue;
      }
      bool progress = step_to_server();
      progress = step_to_client() || progress;
      if (server_gone_ || (to_client_.source_ended && to_client_.empty())) return RelayEnd::ServerLeft;
      if (client_gone_ || (to_server_.source_ended && to_server_.empty())) return RelayEnd::ClientLeft;
      if (!progress) wait();
    }
  }

 private:
  bool step_to_server() {
    bool progress = false;
    client_wants_write_ = false;
    if (to_server_.empty() && !to_server_.source_ended) {
      to_server_.data.resize(kChunk);
      std::size_t count = 0;
      TlsSocket::Io io = client_.read(to_server_.data.data(), kChunk, count);
      to_server_.filled(io == TlsSocket::Io::Done ? count : 0, delay_ms_);
      client_wants_write_ = io == TlsSocket::Io::WantWrite;
      to_server_.source_ended = io == TlsSocket::Io::Closed;
      progress = io == TlsSocket::Io::Done || io == TlsSocket::Io::Closed;
    }
    if (!to_server_.empty() && Clock::now() >= to_server_.ready_at) {
      ssize_t n = send(server_, to_server_.data.data() + to_server_.begin,
                       to_server_.data.size() - to_server_.begin, MSG_NOSIGNAL);
      if (n > 0) {
        to_server_.begin += static_cast<std::size_t>(n);
        progress = true;
      } else if (errno != EAGAIN && errno != EINTR) {
        // What PostgreSQL said before it closed is still to be read and delivered.
        to_server_.begin = to_server_.data.size();
        server_deaf_ = true;
      }
    }
    return progress;
  }

  bool step_to_client() {
    bool progress = false;
    if (to_client_.empty() && !to_client_.source_ended) {
      to_client_.data.resize(kChunk);
      ssize_t n = recv(server_, to_client_.data.data(), kChunk, 0);
      bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
      to_client_.filled(n > 0 ? static_cast<std::size_t>(n) : 0, delay_ms_);
      to_client_.source_ended = n == 0 || (n < 0 && !again);
      server_gone_ = server_deaf_ && again;
      progress = !again;
    }
    if (!to_client_.empty() && Clock::now() >= to_client_.ready_at) {
      std::size_t count = 0;
      TlsSocket::Io io = client_.write(to_client_.data.data() + to_client_.begin,
                                       to_client_.data.size() - to_client_.begin, count);
      if (io == TlsSocket::Io::Done) {
        to_client_.begin += count;
        progress = true;
      }
      client_wants_write_ = client_wants_write_ || io == TlsSocket::Io::WantWrite;
      client_gone_ = io == TlsSocket::Io::Closed;
    }
    return progress;
  }

  void wait() {
    Clock::time_point now = Clock::now();
    pollfd fds[2] = {{client_.fd(), 0, 0}, {server_, 0, 0}};
    if (to_server_.empty() && !to_server_.source_ended) fds[0].events |= POLLIN;
    if (client_wants_write_) fds[0].events |= POLLOUT;
    if (to_client_.empty() && !to_client_.source_ended) fds[1].events |= POLLIN;
    if (!to_server_.empty() && now >= to_server_.ready_at) fds[1].events |= POLLOUT;
    int timeout = -1;
    // A socket without interest is left out: its hang-up would make poll() return at once, again and again.
    if (fds[0].events == 0) {
      fds[0].fd = -1;
      timeout = kOrderPoll_ms;
    }
    if (fds[1].events == 0) fds[1].fd = -1;
    for (const Pipe* pipe : {&to_server_, &to_client_}) {
      if (pipe->empty() || pipe->ready_at <= now) continue;
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(pipe->ready_at - now).count() + 1;
      timeout = timeout < 0 ? static_cast<int>(left) : std::min(timeout, static_cast<int>(left));
    }
    poll(fds, 2, timeout);
  }

  TlsSocket& client_;
  int server_;
  const Slot& slot_;
  const std::function<SideFault()>& fault_;
  Pipe to_server_;
  Pipe to_client_;
  int delay_ms_ = 0;
  bool client_wants_write_ = false;
  bool client_gone_ = false;
  bool server_deaf_ = false;
  bool server_gone_ = false;
};

}  // namespace

RelayEnd relay(TlsSocket& client, int server, std::string first_bytes, const Slot& slot,
               const std::function<SideFault()>& fault) {
  return Relay(client, server, slot, fault).run(std::move(first_bytes));
}

}  // namespace sidepool::emulator
