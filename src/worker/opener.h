// src/worker/opener.h -- a login of our own, because the broker wants one more server for a pool.
#pragma once
#include "src/upstream/connector.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

class Opener final : private upstream::Connector::Owner {
 public:
  Opener(Worker& worker, Upstream& upstream, pool::OpenOne order);
  // The broker is told in any case, now or later.
  void start();
  // The process ends: the attempt is given up.
  void give_up();

 private:
  void on_route(Result<upstream::Route> route);
  void on_need_password(upstream::Connector& connector) noexcept override;
  void on_ready(upstream::Connector& connector, upstream::Ready ready) noexcept override;
  void on_connect_failed(upstream::Connector& connector, upstream::Failure failure) noexcept override;
  void failed(const pool::OpenError& error, bool peer_closed = true);
  void done();

  Worker& worker_;
  Upstream& upstream_;
  const PoolRef pool_;
  const pool::OpenOne order_;
  RouteRequest route_;
  std::uint64_t epoch_ = 0;
  upstream::Connector connector_;
  bool over_ = false;
  bool retried_ = false;  // with a new certificate
};

}  // namespace sidepool::worker
