// tests/cloudsql_emulator/upstream.cpp -- connecting to PostgreSQL.
#include "tests/cloudsql_emulator/upstream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace sidepool::emulator {
namespace {

int connect_to(int family, const sockaddr* address, socklen_t length) {
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (::connect(fd, address, length) != 0) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

}  // namespace

Result<Upstream> Upstream::parse(const std::string& text) {
  Upstream out;
  out.text = text;
  std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return fail(Errc::Config, "\"" + text + "\" has no port");
  out.port = std::atoi(text.c_str() + colon + 1);
  if (out.port < 1 || out.port > 65535) return fail(Errc::Config, "\"" + text + "\" has no valid port");
  std::string place = text.substr(0, colon);
  if (place.starts_with("unix:")) {
    out.unix_socket = place.substr(5) + "/.s.PGSQL." + std::to_string(out.port);
    if (out.unix_socket.size() >= sizeof(sockaddr_un::sun_path)) {
      return fail(Errc::Config, "the path of the unix socket is too long: " + out.unix_socket);
    }
    return out;
  }
  in_addr address{};
  if (inet_pton(AF_INET, place.c_str(), &address) != 1) {
    return fail(Errc::Config, "\"" + text + "\" is neither unix:/folder:PORT nor IPV4:PORT");
  }
  out.host = place;
  return out;
}

int Upstream::connect() const {
  if (!unix_socket.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, unix_socket.c_str(), unix_socket.size() + 1);
    return connect_to(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  int fd = connect_to(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  int on = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

}  // namespace sidepool::emulator
