// src/app/connection_test.h -- one connection to each upstream: --run-connection-test before clients are
// served, and /readiness?deep=1.
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
// login: a client certificate is refused only behind a TLS 1.3 handshake that went well. Of a host list TCP
// and TLS. All upstreams at once. Lives on the control loop, whose wake-up has to be passed on.
class ConnectionTest {
 public:
  // One line per upstream that could not be reached; empty: all were.
  using Done = std::function<void(const std::vector<std::string>& failures)>;

  // All must outlive the test. `most`: for one upstream, from its connection information on.
  ConnectionTest(io::Loop& loop, upstream::Resolver& resolver, Duration most, Done done);
  ~ConnectionTest();
  ConnectionTest(const ConnectionTest&) = delete;
  ConnectionTest& operator=(const ConnectionTest&) = delete;

  // Once; `upstreams` are not empty. `done` may be called before this returns.
  void start(const std::vector<const worker::Upstream*>& upstreams);
  // The loop was woken: the api thread may have answered.
  void on_wake();

 private:
  class Attempt;
  struct Answers;

  void finished(const std::string& failure);

  io::Loop& loop_;
  upstream::Resolver& resolver_;
  const Duration most_;
  const Done done_;
  std::shared_ptr<Answers> answers_;  // shared with callbacks on the api thread
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::size_t running_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace sidepool::app
