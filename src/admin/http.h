// src/admin/http.h -- a small HTTP listener on civetweb: probes, metrics, the admin port.
//
// Two threads of its own answer; nothing here runs on a worker. A hostile client can hold a thread for
// kRequestTimeout and no memory beyond kMaxHeader; request bodies are never read.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace sidepool::admin {

struct Request {                  // borrowed for the call
  std::string_view method, path;  // the path is decoded and has no dot segments
  std::string_view query{};       // as sent, without '?'
};

struct Answer {
  int status = 404;
  std::string body = "404 page not found\n";
  const char* content_type = "text/plain; charset=utf-8";  // a literal
};

// Called on the listener's threads, up to kThreads at a time.
using Handler = std::function<Answer(const Request&)>;

class HttpServer {
 public:
  static constexpr int kThreads = 2;
  static constexpr int kMaxHeader = 8192;
  static constexpr std::chrono::milliseconds kRequestTimeout{3000};

  // Listens at once. "localhost" means 127.0.0.1; port 0 takes a free one; IPv4 only. Errors begin with
  // "failed to start HTTP server: ", as the Auth Proxy's do.
  static Result<std::unique_ptr<HttpServer>> start(std::string_view address, std::uint16_t port,
                                                   Handler handler);

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();  // waits for handlers that run

  std::uint16_t port() const { return port_; }

 private:
  struct Civet;  // civetweb's types stay in http.cpp
  HttpServer(Handler handler);
  std::unique_ptr<Civet> civet_;
  std::uint16_t port_ = 0;
};

}  // namespace sidepool::admin
