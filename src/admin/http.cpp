// src/admin/http.cpp -- a small HTTP listener.
#include "src/admin/http.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sidepool::admin {

namespace {

constexpr std::string_view kNoDescriptors =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
// Unread bytes would turn the close into a reset, which can overtake the answer.
constexpr std::chrono::milliseconds kLinger{1000};

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

// Whatever follows the head of a request is not read: the connection ends with the answer. No CORS: no page
// of a browser may read this.
std::string to_text(const Answer& answer, bool with_body) {
  std::string out =
      "HTTP/1.1 " + std::to_string(answer.status) + " " + reason_phrase(answer.status) +
      "\r\nContent-Type: " + answer.content_type +
      "\r\nContent-Length: " + std::to_string(answer.body.size()) +
      "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
  if (with_body) out += answer.body;
  return out;
}

}  // namespace

class HttpServer::Connection {
 public:
  Connection(HttpServer& server, io::Fd fd)
      : server_(server), fd_(std::move(fd)), timer_([](TimerNode& n) noexcept {
          auto& connection = owner_of<&Connection::timer_>(n);
          connection.server_.drop(connection);
        }) {}
  ~Connection() { watch_.stop(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // False: it cannot be watched.
  bool start() {
    const auto ready = [](void* self, int) noexcept { static_cast<Connection*>(self)->advance(); };
    server_.loop_->arm_after(timer_, kRequestTimeout);
    return watch_.start(server_.loop_->uv(), fd_.get(), this, ready) == 0 && watch_.arm(UV_READABLE) == 0;
  }
  bool answering() const noexcept { return step_ == Step::Answering; }

 private:
  enum class Step : std::uint8_t { Reading, Answering, Lingering };

  // Does what can be done without waiting; may end with this connection's destruction.
  void advance() noexcept {
    if (step_ == Step::Reading && !read()) return;
    if (step_ == Step::Answering && !write()) return;
    if (step_ == Step::Lingering) linger();
  }

  // True: the answer is there.
  bool read() noexcept {
    std::array<char, 4096> buffer;
    for (;;) {
      const auto n = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return wait_for(UV_READABLE);
      if (n <= 0) {
        server_.drop(*this);
        return false;
      }
      in_.append(buffer.data(), static_cast<std::size_t>(n));
      if (const auto size = head_size(in_); size != 0 || in_.size() > kMaxHeader) {
        answer(size);
        return true;
      }
    }
  }

  void answer(std::size_t size) noexcept {
    step_ = Step::Answering;
    server_.loop_->arm_after(timer_, kAnswerTimeout);
    if (size == 0 || size > kMaxHeader) {
      out_ = to_text({431, ""}, true);
    } else if (const auto request = parse_request(std::string_view(in_).substr(0, size))) {
      out_ = to_text(server_.handler_(*request), request->method != "HEAD");
    } else {
      out_ = to_text({400, ""}, true);
    }
    std::string{}.swap(in_);
  }

  // True: all of it is on its way.
  bool write() noexcept {
    while (sent_ < out_.size()) {
      const auto n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return wait_for(UV_WRITABLE);
      if (n < 0) {
        server_.drop(*this);
        return false;
      }
      sent_ += static_cast<std::size_t>(n);
    }
    std::string{}.swap(out_);
    ::shutdown(fd_.get(), SHUT_WR);
    step_ = Step::Lingering;
    server_.loop_->arm_after(timer_, kLinger);
    return true;
  }

  void linger() noexcept {
    constexpr int kReadsPerTurn = 16;
    std::array<char, 4096> buffer;
    for (int i = 0; i < kReadsPerTurn; ++i) {
      const auto n = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return server_.drop(*this);
      if (n < 0) break;
    }
    wait_for(UV_READABLE);
  }

  bool wait_for(int events) noexcept {
    if (watch_.arm(events) != 0) server_.drop(*this);
    return false;
  }

  HttpServer& server_;
  io::Fd fd_;
  io::FdWatch watch_;
  TimerNode timer_;
  Step step_ = Step::Reading;
  std::string in_, out_;
  std::size_t sent_ = 0;
};

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(std::string_view address, std::uint16_t port,
                                                      Handler handler) {
  const auto failed = [](const std::string& why, int sys = 0) {
    return fail(Errc::Io, "failed to start HTTP server: listen tcp " + why, sys, sys == 0 ? "" : "listen");
  };
  const std::string host(address == "localhost" ? "127.0.0.1" : address);
  const auto where = io::SocketAddress::from_ip(host, port);
  if (!where) return failed(host + ": not an IP address");
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(handler)));
  auto loop = io::Loop::create();
  if (!loop) return failed(where->text() + ": " + loop.error().what);
  server->loop_ = std::move(*loop);
  io::ListenOptions options;
  options.refusal = {reinterpret_cast<const std::uint8_t*>(kNoDescriptors.data()), kNoDescriptors.size()};
  auto listener = io::Listener::open(*server->loop_, *where, options);
  if (!listener)
    return failed(where->text() + ": " + std::strerror(listener.error().sys), listener.error().sys);
  server->listener_ = std::move(*listener);
  const auto accepted = [](void* self, io::Fd fd, const io::SocketAddress&) noexcept {
    static_cast<HttpServer*>(self)->accept(std::move(fd));
  };
  if (auto ok = server->listener_->start(server.get(), accepted); !ok)
    return failed(where->text() + ": " + ok.error().what);
  server->thread_ = std::thread([loop = server->loop_.get()] { loop->run(); });
  return server;
}

HttpServer::~HttpServer() {
  if (thread_.joinable()) {
    loop_->request_stop();
    thread_.join();
  }
  connections_.clear();
  listener_.reset();
}

void HttpServer::accept(io::Fd fd) noexcept {
  if (connections_.size() >= kMaxConnections) {
    const auto idle = std::find_if(connections_.begin(), connections_.end(),
                                   [](const Connection& c) { return !c.answering(); });
    connections_.erase(idle != connections_.end() ? idle : connections_.begin());
  }
  auto& connection = connections_.emplace_back(*this, std::move(fd));
  if (!connection.start()) connections_.pop_back();
}

void HttpServer::drop(Connection& connection) noexcept {
  connections_.remove_if([&connection](const Connection& c) { return &c == &connection; });
}

}  // namespace sidepool::admin
