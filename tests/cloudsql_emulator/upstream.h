// tests/cloudsql_emulator/upstream.h -- where PostgreSQL listens.
#pragma once
#include <string>

#include "src/base/result.h"

namespace sidepool::emulator {

struct Upstream {
  std::string text;         // as given
  std::string unix_socket;  // the socket file, empty for TCP
  std::string host;         // IPv4
  int port = 0;

  // "unix:/folder:PORT" or "127.0.0.1:PORT".
  static Result<Upstream> parse(const std::string& text);
  // A connected non-blocking socket, -1 with errno set otherwise. Local peers only, so it blocks while it
  // connects.
  int connect() const;
};

}  // namespace sidepool::emulator
