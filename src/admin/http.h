// src/admin/http.h -- a small HTTP listener: probes, metrics, the admin port.
//
// A thread and a loop of its own; nothing here runs on a worker. Who says nothing holds no thread, and of
// connections that have sent no request the oldest makes way when there are kMaxConnections, so a probe is
// answered whatever others do. Memory is bounded by kMaxConnections heads and answers; bodies are never read.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "src/admin/request.h"
#include "src/base/result.h"
#include "src/io/listener.h"
#include "src/io/loop.h"

namespace sidepool::admin {

struct Answer {
  int status = 404;
  std::string body = "404 page not found\n";
  const char* content_type = "text/plain; charset=utf-8";  // a literal
};

// Called on the listener's thread, which serves nobody else meanwhile.
using Handler = std::function<Answer(const Request&)>;

class HttpServer {
 public:
  static constexpr std::size_t kMaxConnections = 64;
  static constexpr std::size_t kMaxHeader = 8192;
  static constexpr std::chrono::milliseconds kRequestTimeout{3000};  // from the connection to the whole head
  static constexpr std::chrono::milliseconds kAnswerTimeout{10000};  // until the answer has been taken

  // Listens at once. "localhost" means 127.0.0.1; port 0 takes a free one. Errors begin with "failed to start
  // HTTP server: ", as the Auth Proxy's do.
  static Result<std::unique_ptr<HttpServer>> start(std::string_view address, std::uint16_t port,
                                                   Handler handler);

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();  // waits for a handler that runs

  std::uint16_t port() const { return listener_->address().port(); }

 private:
  class Connection;
  explicit HttpServer(Handler handler);
  void accept(io::Fd fd) noexcept;
  void drop(Connection& connection) noexcept;

  const Handler handler_;
  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<io::Listener> listener_;
  std::list<Connection> connections_;  // oldest first
  std::thread thread_;
};

}  // namespace sidepool::admin
