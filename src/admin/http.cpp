// src/admin/http.cpp -- a small HTTP listener on civetweb.
#include "src/admin/http.h"

#include <civetweb.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

namespace sidepool::admin {

struct HttpServer::Civet {
  Handler handler;
  mg_context* context = nullptr;
  std::string host;
};

namespace {

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

void write_answer(mg_connection* connection, const Answer& answer, bool with_body) {
  // One write, so that a probe gets one segment. The connection ends here: whatever follows the header is not
  // read.
  std::string out =
      "HTTP/1.1 " + std::to_string(answer.status) + " " + reason_phrase(answer.status) +
      "\r\nContent-Type: " + answer.content_type +
      "\r\nContent-Length: " + std::to_string(answer.body.size()) +
      "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
  if (with_body) out += answer.body;
  mg_write(connection, out.data(), out.size());
}

// civetweb asks this before anything else it could do with a request; a result above 0 means that the request
// is answered and which status its own log would tell.
int on_request(mg_connection* connection) noexcept {
  const mg_request_info* info = mg_get_request_info(connection);
  const auto* handler = static_cast<const Handler*>(info->user_data);
  const std::string_view method = info->request_method != nullptr ? info->request_method : "";
  const std::string_view path = info->local_uri != nullptr ? info->local_uri : "";
  const Answer answer = (*handler)({method, path, info->query_string != nullptr ? info->query_string : ""});
  mg_disable_keep_alive(connection);
  write_answer(connection, answer, method != "HEAD");
  return answer.status;
}

// civetweb's own messages go to stderr otherwise. They tell of single hostile or broken requests.
int drop_message(const mg_connection* /*connection*/, const char* /*message*/) noexcept { return 1; }

// Calls `use` with a fresh socket and the address of host:port. Returns why that failed, or an empty string.
std::string with_socket(const std::string& host, std::uint16_t port,
                        const std::function<bool(int, const addrinfo&)>& use) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found); code != 0) {
    return gai_strerror(code);
  }
  std::string why;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || !use(fd, *found)) why = std::strerror(errno);
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return why;
}

// civetweb does not say why a bind failed: try it again, for the words only.
std::string bind_error(const std::string& host, std::uint16_t port) {
  const std::string why = with_socket(host, port, [](int fd, const addrinfo& to) {
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(fd, to.ai_addr, to.ai_addrlen) == 0 && listen(fd, 1) == 0;
  });
  return why.empty() ? "the address cannot be used" : why;
}

void wake_listener(const std::string& host, std::uint16_t port) {
  with_socket(host, port,
              [](int fd, const addrinfo& to) { return connect(fd, to.ai_addr, to.ai_addrlen) == 0; });
}

std::string listening_address(const std::string& host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

HttpServer::HttpServer(Handler handler) : civet_(std::make_unique<Civet>()) {
  civet_->handler = std::move(handler);
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(std::string_view address, std::uint16_t port,
                                                      Handler handler) {
  // One family, as the Auth Proxy does; probes of the kubelet and of Cloud Run come over IPv4.
  const std::string host(address == "localhost" ? "127.0.0.1" : address);
  const std::string where = listening_address(host, port);
  if (host.find(':') != std::string::npos) {  // Debian builds civetweb without IPv6
    return fail(Errc::Config, "failed to start HTTP server: listen tcp " + where +
                                  ": IPv6 addresses are not supported for HTTP; use 127.0.0.1 or 0.0.0.0");
  }
  const std::string threads = std::to_string(kThreads), header = std::to_string(kMaxHeader),
                    timeout = std::to_string(kRequestTimeout.count());
  // No document root: civetweb has no file to serve. No CORS: no page of a browser may read this.
  std::array<const char*, 17> options{"listening_ports",
                                      where.c_str(),
                                      "num_threads",
                                      threads.c_str(),
                                      "max_request_size",
                                      header.c_str(),
                                      "request_timeout_ms",
                                      timeout.c_str(),
                                      "enable_keep_alive",
                                      "no",
                                      "connection_queue",
                                      "64",
                                      "enable_directory_listing",
                                      "no",
                                      "access_control_allow_methods",
                                      "",
                                      nullptr};
  mg_callbacks callbacks{};
  callbacks.begin_request = on_request;
  callbacks.log_message = drop_message;
  callbacks.log_access = drop_message;

  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));
  server->civet_->host = host;
  mg_init_library(MG_FEATURES_DEFAULT);
  mg_init_data init{&callbacks, &server->civet_->handler, options.data()};
  std::array<char, 256> text{};
  unsigned code = 0;
  mg_error_data error{&code, text.data(), text.size()};
  server->civet_->context = mg_start2(&init, &error);
  if (server->civet_->context == nullptr) {
    return fail(Errc::Io, "failed to start HTTP server: listen tcp " + where + ": " + bind_error(host, port));
  }
  mg_server_port bound{};
  if (mg_get_server_ports(server->civet_->context, 1, &bound) == 1) {
    server->port_ = static_cast<std::uint16_t>(bound.port);
  }
  return server;
}

// civetweb's accepting thread looks at its stop flag every two seconds only, or when somebody connects: so
// connect until it has stopped. The wish to stop and the connection may pass each other, hence more than
// once.
HttpServer::~HttpServer() {
  if (civet_->context != nullptr) {
    std::atomic<bool> stopped{false};
    std::thread stopper([&] {
      mg_stop(civet_->context);
      stopped = true;
    });
    while (!stopped) {
      wake_listener(civet_->host, port_);
      std::this_thread::sleep_for(std::chrono::milliseconds{10});
    }
    stopper.join();
  }
  mg_exit_library();
}

}  // namespace sidepool::admin
