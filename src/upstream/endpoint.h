// src/upstream/endpoint.h -- one place where a PostgreSQL server may listen.
#pragma once
#include <cstdint>
#include <string>

namespace sidepool::upstream {

// `host`: a name, an IP literal, or, as in libpq, the directory of a unix socket (it begins with '/', or with
// '@' for the abstract space), in which the socket is called .s.PGSQL.<port>.
struct Endpoint {
  std::string host;
  std::uint16_t port = 5432;
  // An IP literal to dial instead of looking `host` up, as libpq's hostaddr; `host` is still the name for
  // TLS.
  std::string address{};

  bool is_unix() const noexcept { return !host.empty() && (host.front() == '/' || host.front() == '@'); }
  std::string socket_path() const { return host + "/.s.PGSQL." + std::to_string(port); }
  std::string text() const {
    if (is_unix()) return socket_path();
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  }
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace sidepool::upstream
