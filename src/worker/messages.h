// src/worker/messages.h -- what reaches a worker by its mailbox. Move-only; the message owns what it carries.
#pragma once
#include <cstdint>
#include <memory>
#include <variant>

#include "conf/config.h"
#include "pool/broker_types.h"
#include "pool/health.h"
#include "protocol/bytes.h"
#include "src/base/result.h"
#include "src/cloudsql/connection_info.h"
#include "src/io/fd.h"
#include "src/io/listener.h"
#include "src/io/socket.h"
#include "src/io/stream.h"
#include "src/worker/server.h"

namespace sidepool::worker {

// What a client's listener is, as far as its rights depend on it. Owned by the app, valid while workers run.
struct Entrance {
  std::uint16_t upstream = 0;
  io::Reach reach = io::Reach::Loopback;
  bool remote_opt_in = false;  // product.md §4.2
  tls::Context tls{};          // null: none is offered
  bool tls_required = false;
  bool certificate_is_user = false;  // the common name of the client's certificate has to be its user
  std::string name{};                // for log lines

  // Whether whoever connects here may use a pool for which the database asks no password, and may be asked
  // for one in clear.
  bool trusted() const noexcept { return reach != io::Reach::Network || remote_opt_in; }
};

struct NewClient {
  io::Fd fd;
  io::SocketAddress peer;
  std::shared_ptr<const Entrance> entrance;
};
struct GiveServer {  // the broker hands this server to that session
  std::unique_ptr<Server> server;
  pool::SessionId session;
};
struct BrokerOrder {
  std::uint16_t upstream;
  pool::Order order;
};
struct PollBroker {  // a time at which the upstream's broker wants to be polled
  std::uint16_t upstream;
  pool::Time when;
};
struct CancelRequested {  // for a client of this worker; the connection stays open until it has been
                          // delivered
  std::uint32_t pid;
  protocol::Buffer key;
  io::Stream stream;
};
struct CancelTurn {  // of the first CancelRequest for this upstream that waits on this worker
  std::uint16_t upstream;
};
struct InstanceInfo {  // the answer to a request to the api thread
  std::uint64_t request;
  Result<cloudsql::InfoPtr> answer;
};
struct WaiterError {  // logins of its pool are refused: this is why
  pool::SessionId session;
  pool::OpenError error;
};
// New connections of this upstream lead to another server; those that are there end when nobody uses them.
struct RetireServers {
  std::uint16_t upstream;
};
struct ConfigChanged {
  std::shared_ptr<const conf::Config> config;
};
enum class StopStep : std::uint8_t {
  Drain,  // new transactions are refused from clients that hold no server; idle clients are sent away
  Cut,    // cancel what runs, close everything
};
struct Stop {
  StopStep step;
};
using Message = std::variant<NewClient, GiveServer, BrokerOrder, PollBroker, CancelRequested, CancelTurn,
                             InstanceInfo, WaiterError, RetireServers, ConfigChanged, Stop>;

}  // namespace sidepool::worker
