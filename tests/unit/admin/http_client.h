// tests/unit/admin/http_client.h -- just enough HTTP to look at a listener from outside, byte by byte.
#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sidepool::admin {

class Connection {
 public:
  explicit Connection(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(fd_); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // the listener has had enough
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  // Everything until the listener closes.
  std::string read_all() {
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = recv(fd_, buffer, sizeof buffer, 0)) > 0;)
      all.append(buffer, static_cast<std::size_t>(n));
    return all;
  }

 private:
  int fd_;
};

inline std::string send_and_read(std::uint16_t port, std::string_view bytes) {
  Connection connection(port);
  connection.send(bytes);
  return connection.read_all();
}

struct Reply {
  int status = 0;
  std::string head, body;
};

inline Reply ask(std::uint16_t port, const std::string& method, const std::string& path) {
  const std::string all =
      send_and_read(port, method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const auto end = all.find("\r\n\r\n");
  if (all.substr(0, 9) != "HTTP/1.1 " || end == std::string::npos) return {};
  return {std::stoi(all.substr(9, 3)), all.substr(0, end + 2), all.substr(end + 4)};
}

}  // namespace sidepool::admin
