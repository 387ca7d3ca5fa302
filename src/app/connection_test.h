// src/app/connection_test.h -- --run-connection-test: one connection to every instance before clients are
// served.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/cloudsql/source.h"
#include "src/io/loop.h"
#include "src/upstream/resolver.h"
#include "src/worker/upstream.h"

namespace sidepool::app {

// Names, API, TCP, TLS, as a pool's server would do it, and then a question that PostgreSQL answers without a
// login: a client certificate is refused only behind a TLS 1.3 handshake that went well. All instances at
// once. Lives on the control loop, whose wake-up has to be passed on.
class ConnectionTest {
 public:
  // One line per instance that could not be reached; empty: all were.
  using Done = std::function<void(const std::vector<std::string>& failures)>;

  // All must outlive the test. `most`: for one instance, from its connection information on.
  ConnectionTest(io::Loop& loop, upstream::Resolver& resolver, cloudsql::CloudSql& cloudsql, Duration most,
                 Done done);
  ~ConnectionTest();
  ConnectionTest(const ConnectionTest&) = delete;
  ConnectionTest& operator=(const ConnectionTest&) = delete;

  void start(const std::vector<std::unique_ptr<worker::Upstream>>& upstreams);
  // The loop was woken: the api thread may have answered.
  void on_wake();

 private:
  class Attempt;
  struct Answers;

  void finished(const std::string& failure);

  io::Loop& loop_;
  upstream::Resolver& resolver_;
  cloudsql::CloudSql& cloudsql_;
  const Duration most_;
  const Done done_;
  std::shared_ptr<Answers> answers_;  // shared with callbacks on the api thread
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::size_t running_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace sidepool::app
