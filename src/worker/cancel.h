// src/worker/cancel.h -- carries one CancelRequest to a server (product.md §5, Cancel).
#pragma once
#include <optional>

#include "src/cloudsql/mdx.h"
#include "src/io/watch.h"
#include "src/upstream/dialer.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

// A side connection over the same way as any server's. Until the *server's* end of it has come the server
// takes no request of another client: the session waits for on_cancel_done().
class CancelConnection final : private upstream::Dialer::Owner {
 public:
  // `requester` stays open until this is over, so that PQcancel() returns after delivery.
  CancelConnection(Worker& worker, const Server& server, std::optional<pool::SessionId> session,
                   io::Stream requester);
  ~CancelConnection();
  void start();
  // It has waited for this.
  void on_turn();
  // Its turn has not come yet.
  bool waiting() const noexcept { return waiting_; }
  pool::ServerId server() const noexcept { return server_; }
  Upstream& upstream() const noexcept { return upstream_; }

 private:
  void begin();
  void find_way();
  void on_route(Result<upstream::Route> route);
  void on_connected(upstream::Dialer& dialer, upstream::Connected connected) noexcept override;
  void on_dial_failed(upstream::Dialer& dialer, upstream::Failure failure) noexcept override;
  void advance();
  void broke(bool certificate_refused);
  void over(bool delivered);
  static void on_event(void* self, int events) noexcept;
  static void on_timer(TimerNode& node) noexcept;

  Worker& worker_;
  Upstream& upstream_;
  const pool::ServerId server_;
  const upstream::Endpoint endpoint_;
  std::optional<pool::SessionId> session_;
  io::Stream requester_;
  RouteRequest route_;
  upstream::Dialer dialer_;
  io::Stream stream_;
  io::FdWatch watch_;
  TimerNode timer_;
  std::uint64_t epoch_ = 0;
  protocol::Buffer request_, out_;
  std::size_t sent_ = 0;
  bool waiting_ = false;
  bool retried_ = false;  // with a new certificate
  bool over_ = false;
};

}  // namespace sidepool::worker
