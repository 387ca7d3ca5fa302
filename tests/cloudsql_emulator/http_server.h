// tests/cloudsql_emulator/http_server.h -- the HTTP/1.1 listener (civetweb) in front of one handler function.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/http_message.h"

namespace sidepool::emulator {

class HttpServer {
 public:
  using Handler = std::function<Response(const Request&)>;  // called on many threads at once

  // Port 0: the kernel chooses. `handler` is called until the destructor returns.
  static Result<std::unique_ptr<HttpServer>> listen(const std::string& address, int port, Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const { return port_; }

 private:
  struct Callbacks;

  explicit HttpServer(Handler handler) : handler_(std::move(handler)) {}

  Handler handler_;
  void* context_ = nullptr;  // mg_context, owned
  int port_ = 0;
};

}  // namespace sidepool::emulator
