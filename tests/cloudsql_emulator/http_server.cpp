// tests/cloudsql_emulator/http_server.cpp -- the only file that includes civetweb.
#include "tests/cloudsql_emulator/http_server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <exception>

namespace sidepool::emulator {
namespace {

constexpr long long kMaxBody = 1 << 20;

struct Ends {
  sockaddr_in local{};
  sockaddr_in peer{};  // all zero for a listening socket
};

// civetweb gives no access to its sockets, so they are found among the descriptors of the process and shut
// down.
template <class Match>
void shut_down(const Match& match) {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (dirent* entry = readdir(folder)) {
    int fd = std::atoi(entry->d_name);
    Ends ends;
    socklen_t length = sizeof ends.local;
    if (fd <= 2 || getsockname(fd, reinterpret_cast<sockaddr*>(&ends.local), &length) != 0) continue;
    length = sizeof ends.peer;
    if (ends.local.sin_family != AF_INET) continue;
    getpeername(fd, reinterpret_cast<sockaddr*>(&ends.peer), &length);
    if (match(ends)) shutdown(fd, SHUT_RDWR);
  }
  closedir(folder);
}

// The connection of this request. An answerless return alone would keep it open; so civetweb reads EOF and
// closes.
void shut_down_peer(const mg_request_info& info) {
  shut_down([&](const Ends& ends) {
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &ends.peer.sin_addr, text, sizeof text);
    return ntohs(ends.local.sin_port) == info.server_port && ntohs(ends.peer.sin_port) == info.remote_port &&
           std::string(text) == info.remote_addr;
  });
}

bool read_body(mg_connection* connection, std::string& body) {
  char chunk[8192];
  while (true) {
    int n = mg_read(connection, chunk, sizeof chunk);
    if (n <= 0) return n == 0;
    body.append(chunk, static_cast<std::size_t>(n));
    if (static_cast<long long>(body.size()) > kMaxBody) return false;
  }
}

std::string render(const Response& response) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status) + " " +
                    mg_get_response_code_text(nullptr, response.status) + "\r\n";
  for (const auto& [name, value] : response.headers) out += name + ": " + value + "\r\n";
  out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n\r\n";
  return out + response.body;
}

}  // namespace

struct HttpServer::Callbacks {
  static int on_request(mg_connection* connection, void* data) noexcept {
    const mg_request_info* info = mg_get_request_info(connection);
    Request request;
    request.method = info->request_method;
    request.path = info->request_uri != nullptr ? info->request_uri : "";
    request.query = info->query_string != nullptr ? info->query_string : "";
    for (int i = 0; i < info->num_headers; ++i) {
      request.headers[info->http_headers[i].name] = info->http_headers[i].value;
    }
    Response response;
    if (!read_body(connection, request.body)) {
      response = google_error(413, "uploadTooLarge", "The request body could not be read or is too large.");
    } else {
      try {
        response = static_cast<HttpServer*>(data)->handler_(request);
      } catch (const std::exception& e) {
        response = google_error(500, "emulatorDefect", e.what());
      }
    }
    if (response.drop) {
      shut_down_peer(*info);
      return 444;
    }
    std::string bytes = render(response);
    mg_write(connection, bytes.data(), bytes.size());
    return response.status;
  }
};

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const std::string& address, int port,
                                                       Handler handler) {
  static const unsigned kInitialised = mg_init_library(0);
  (void)kInitialised;
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));
  std::string where = address + ":" + std::to_string(port);
  // A kept-alive connection occupies a thread, and so does a request that a test holds back.
  const char* options[] = {"listening_ports",
                           where.c_str(),
                           "num_threads",
                           "96",
                           "enable_keep_alive",
                           "yes",
                           "decode_url",
                           "no",
                           "keep_alive_timeout_ms",
                           "30000",
                           "request_timeout_ms",
                           "60000",
                           "tcp_nodelay",
                           "1",
                           nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  mg_context* context = mg_start(&callbacks, server.get(), options);
  if (context == nullptr) return fail(Errc::Io, "cannot listen on " + where);
  server->context_ = context;
  mg_server_port bound{};
  if (mg_get_server_ports(context, 1, &bound) < 1) return fail(Errc::Io, "no port is bound on " + where);
  server->port_ = bound.port;
  mg_set_request_handler(context, "**", &Callbacks::on_request, server.get());
  return server;
}

HttpServer::~HttpServer() {
  if (context_ == nullptr) return;
  // civetweb looks at its stop flag every 2 s only, unless its sockets wake it.
  shut_down([this](const Ends& ends) { return ntohs(ends.local.sin_port) == port_; });
  mg_stop(static_cast<mg_context*>(context_));
}

}  // namespace sidepool::emulator
