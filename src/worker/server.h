// src/worker/server.h -- one connection to PostgreSQL, logged in. Moves between workers as it is.
#pragma once
#include <cstdint>
#include <utility>

#include "pool/ids.h"
#include "pool/server_state.h"
#include "protocol/bytes.h"
#include "src/base/timer_wheel.h"
#include "src/io/outbox.h"
#include "src/io/stream.h"
#include "src/io/watch.h"
#include "src/upstream/endpoint.h"
#include "src/worker/pool_entry.h"

namespace sidepool::worker {

class Worker;
class Upstream;

// Who has a server. It has exactly one owner at any time: the idle list of its worker, a client, the closing
// list, or a mailbox on its way (its watch is stopped then).
struct Server {
  // Told when the socket is ready. Owner's thread.
  class User {
   public:
    virtual void on_server_event(Server& server, int events) noexcept = 0;

   protected:
    ~User() = default;
  };

  Server(pool::ServerId number, Upstream& up, PoolRef of_pool)
      : id(number), upstream(&up), pool(std::move(of_pool)), timer(&Server::on_timer) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Begins to watch on this worker's loop; false: the process is out of something, close it.
  bool watch_on(Worker& w);
  void unwatch() noexcept { watch.stop(); }
  static void on_timer(TimerNode& node) noexcept;

  const pool::ServerId id;
  Upstream* const upstream;
  const PoolRef pool;  // null: a pass-through client's own
  io::Stream stream;
  io::FdWatch watch;
  io::Outbox out;  // what the server does not take yet of the client that has it; empty while nobody has it
  User* user = nullptr;  // who has it; null while idle or closing
  Worker* worker = nullptr;
  pool::ServerState state;
  protocol::Buffer cancel_key;
  upstream::Endpoint endpoint;  // where it runs: a CancelRequest goes there
  TimerNode timer;              // of the closing list
  Time idle_since{};            // while idle
  bool closing = false;
};

}  // namespace sidepool::worker
