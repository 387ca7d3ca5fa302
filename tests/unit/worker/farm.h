// tests/unit/worker/farm.h -- workers on their threads in front of a FakeDatabase, and clients on socket
// pairs.
#pragma once
#include <fcntl.h>

#include "src/worker/client.h"
#include "tests/unit/worker/fake_database.h"

namespace sidepool::test {

// The far end of a client's connection. Blocking; gives up after 20 s.
class FakeClient {
 public:
  explicit FakeClient(io::Fd fd) : fd_(std::move(fd)) {
    const timeval patience{20, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }
  void send(const protocol::Buffer& b) { send_all(fd_.get(), b); }
  Message read() { return read_message(fd_.get()); }

  void start(std::string_view user = "app") {
    protocol::Buffer b;
    const std::array<protocol::Parameter, 2> p{{{"user", user}, {"database", "db"}}};
    protocol::startup_message(b, protocol::kProtocol30, p);
    send(b);
  }
  // The SQLSTATE of the refusal; empty: logged in.
  std::string login(std::string_view password = "secret") {
    start();
    auto m = read();
    if (m.type == 'R' && m.body == std::string("\0\0\0\3", 4)) {
      protocol::Buffer b;
      protocol::password_message(b, password);
      send(b);
    }
    return until_ready();
  }
  // Reads to ReadyForQuery. The SQLSTATE of an error, "end" for the end of the connection.
  std::string until_ready() {
    std::string error;
    rows.clear();
    for (;;) {
      const auto m = read();
      if (m.type == 0) return error.empty() ? "end" : error;
      if (m.type == 'E') error = m.body.substr(m.body.find(std::string("\0C", 2)) + 2, 5);
      if (m.type == 'S') ++parameters;
      if (m.type == 'D') rows.push_back(m.body.substr(6));
      if (m.type == 'K') pid = protocol::load_be32(protocol::as_bytes(m.body).data()), key = m.body.substr(4);
      if (m.type == 'Z') return error;
    }
  }
  void ask(std::string_view text) {
    protocol::Buffer b;
    protocol::query(b, text);
    send(b);
  }
  std::string query(std::string_view text) {
    ask(text);
    return until_ready();
  }

  std::vector<std::string> rows;
  std::uint32_t pid = 0, parameters = 0;
  std::string key;

 private:
  io::Fd fd_;
};

class Farm {
 public:
  explicit Farm(FakeDatabase& database, std::uint16_t workers = 1, conf::PoolConfig pool = {})
      : registry(workers, {"test", "test", {}}) {
    auto c = std::make_shared<conf::Config>();
    conf::Upstream u;
    u.name = "main";
    u.hosts = {conf::Host{"127.0.0.1", database.port, {}}};
    u.tls.mode = conf::ServerTlsMode::Disable;
    u.pool = pool;
    c->upstreams.push_back(u);
    config = c;
    shared.resolver = &resolver;
    shared.registry = &registry;
    shared.statement_token = "token";
    shared.upstreams.push_back(std::make_unique<worker::Upstream>(0, workers, u, nullptr, registry));
    EXPECT_TRUE(shared.upstreams[0]->set_route(u));
    shared.workers.assign(workers, nullptr);
    entrance = std::make_shared<worker::Entrance>();
    entrance->reach = io::Reach::UnixSocket;
    for (std::uint16_t i = 0; i < workers; ++i) {
      workers_.push_back(std::make_unique<worker::Worker>(i, shared, config, std::move(*io::Loop::create())));
      shared.workers[i] = workers_.back().get();
    }
    for (auto& w : workers_) w->start();
  }
  ~Farm() { stop(); }

  FakeClient client(std::size_t worker = 0) {
    int fds[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
    ++shared.clients;
    workers_[worker]->post(worker::NewClient{io::Fd(fds[0]), io::SocketAddress{}, entrance});
    return FakeClient(io::Fd(fds[1]));
  }
  void post(worker::StopStep step) {
    for (auto& w : workers_) w->post(worker::Stop{step});
  }
  // Every loop ends by itself, when nothing is left on it.
  void stop() {
    if (std::exchange(stopped_, true)) return;
    post(worker::StopStep::Cut);
    for (auto& w : workers_) w->join();
    EXPECT_EQ(shared.clients.load(), 0U);
    const auto counts = shared.upstreams[0]->broker.counts();
    EXPECT_EQ(counts.slots, 0U);
    EXPECT_EQ(shared.upstreams[0]->broker.check(steady_now()), "");
  }
  template <class Done>
  void wait(Done done) {
    const auto end = steady_now() + std::chrono::seconds(20);
    while (!done() && steady_now() < end) std::this_thread::yield();
    EXPECT_TRUE(done());
  }
  pool::BrokerCounts counts() { return shared.upstreams[0]->broker.counts(); }

  metrics::Registry registry;
  upstream::Resolver resolver;
  std::shared_ptr<const conf::Config> config;
  worker::Shared shared;
  std::shared_ptr<worker::Entrance> entrance;

 private:
  std::vector<std::unique_ptr<worker::Worker>> workers_;
  bool stopped_ = false;
};

}  // namespace sidepool::test
