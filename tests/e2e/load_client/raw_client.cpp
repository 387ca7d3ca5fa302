// tests/e2e/load_client/raw_client.cpp -- see raw_client.h
#include "tests/e2e/load_client/raw_client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

namespace sidepool::load_client {

std::optional<Address> parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  Address a{std::string(text.substr(0, colon)), 0};
  const auto port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), a.port);
  if (error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  return a;
}

ErrorText error_text(std::string_view body) {
  ErrorText e;
  while (!body.empty() && body.front() != '\0') {
    const char field = body.front();
    const auto end = std::min(body.find('\0', 1), body.size());
    const std::string value(body.substr(1, end - 1));
    if (field == 'V') e.severity = value;
    if (field == 'C') e.code = value;
    if (field == 'M') e.message = value;
    body.remove_prefix(std::min(end + 1, body.size()));
  }
  return e;
}

bool RawClient::connect(const Address& to) {
  close();
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(to.port);
  if (inet_pton(AF_INET, to.host.c_str(), &peer.sin_addr) != 1) return false;
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  const int one = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0) {
    close();
    return false;
  }
  ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
  return true;
}

void RawClient::receive() {
  std::array<char, 65536> piece;
  while (!ended_) {
    const auto n = ::recv(fd_, piece.data(), piece.size(), 0);
    if (n > 0) {
      in_.append(piece.data(), static_cast<std::size_t>(n));
      if (static_cast<std::size_t>(n) < piece.size()) return;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      ended_ = true;
    } else {
      return;
    }
  }
}

bool RawClient::wait_and_receive(bool write, Clock::time_point until) {
  if (fd_ < 0) return false;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd p{fd_, static_cast<short>((ended_ ? 0 : POLLIN) | (write ? POLLOUT : 0)), 0};
  if (::poll(&p, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000))) <= 0) return false;
  if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive();
  return (p.revents & POLLOUT) != 0;
}

bool RawClient::send(protocol::Bytes bytes, Clock::time_point until) {
  while (!bytes.empty() && fd_ >= 0) {
    const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      wait_and_receive(true, until);
      if (Clock::now() >= until) return false;
    } else if (errno != EINTR) {
      receive();
      ended_ = true;
      return false;
    }
  }
  return bytes.empty();
}

RawClient::Got RawClient::read(Message& into, Clock::time_point until) {
  for (;;) {
    const std::string_view have = std::string_view(in_).substr(at_);
    if (have.size() >= 5) {
      const auto length = protocol::load_be32(reinterpret_cast<const std::uint8_t*>(have.data()) + 1);
      if (have.size() - 1 >= length) {
        into.type = have[0];
        into.body.assign(have.substr(5, length - 4));
        at_ += 1 + std::size_t{length};
        if (at_ == in_.size()) in_.clear(), at_ = 0;
        if (at_ > (1U << 20)) in_.erase(0, at_), at_ = 0;
        return Got::Message;
      }
    }
    if (ended_ || fd_ < 0) return Got::End;
    if (Clock::now() >= until) return Got::Late;
    wait_and_receive(false, until);
  }
}

bool RawClient::wait_end(Clock::time_point until) {
  while (!ended_ && fd_ >= 0) {
    if (Clock::now() >= until) return false;
    wait_and_receive(false, until);
    in_.clear();
    at_ = 0;
  }
  return true;
}

void RawClient::shut_write() noexcept {
  if (fd_ >= 0) ::shutdown(fd_, SHUT_WR);
}

void RawClient::close() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  ended_ = false;
  in_.clear();
  at_ = 0;
}

void RawClient::reset() noexcept {
  const linger now{1, 0};
  if (fd_ >= 0) ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

Login login(RawClient& client, const std::vector<protocol::Parameter>& parameters, Clock::time_point until,
            std::string_view password) {
  Buffer out;
  protocol::startup_message(out, protocol::kProtocol30, parameters);
  client.send(out, until);
  Login l;
  Message m;
  while (client.read(m, until) == RawClient::Got::Message) {
    const auto* body = reinterpret_cast<const std::uint8_t*>(m.body.data());
    if (m.type == 'R' && m.body.size() >= 4 && protocol::load_be32(body) == protocol::kAuthCleartext) {
      out.clear();
      protocol::password_message(out, password);
      client.send(out, until);
      continue;
    }
    if (m.type == 'K' && m.body.size() >= 8) l.pid = protocol::load_be32(body), l.key = m.body.substr(4);
    l.in = m.type == 'Z';
    l.messages.push_back(std::move(m));
    if (l.in) break;
  }
  return l;
}

}  // namespace sidepool::load_client
