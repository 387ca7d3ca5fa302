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

// civetweb gives no access to its socket, and an answerless return keeps the connection open. So the socket
// of this request is found by its peer, and shut down; civetweb then reads EOF and closes it.
void shut_down_peer(const mg_request_info& info) {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return;
  while (dirent* entry = readdir(folder)) {
    int fd = std::atoi(entry->d_name);
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    if (fd <= 2 || getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    char text[INET_ADDRSTRLEN] = "";
    if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != info.remote_port) continue;
    inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
    sockaddr_in local{};
    length = sizeof local;
    getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length);
    if (std::string(text) == info.remote_addr && ntohs(local.sin_port) == info.server_port) {
      shutdown(fd, SHUT_RDWR);
    }
  }
  closedir(folder);
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
  if (context_ != nullptr) mg_stop(static_cast<mg_context*>(context_));
}

}  // namespace sidepool::emulator
