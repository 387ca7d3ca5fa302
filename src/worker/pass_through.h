// src/worker/pass_through.h -- a client with a server of its own: the authentication and everything after it
// is relayed unchanged (product.md §4.5). Nothing is shared, so nothing is looked at but the way to the key.
#pragma once
#include <optional>
#include <string>

#include "protocol/frame.h"
#include "protocol/startup.h"
#include "src/cloudsql/mdx.h"
#include "src/io/outbox.h"
#include "src/upstream/dialer.h"
#include "src/worker/server.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

class Client;

class PassThrough final : public Server::User, private upstream::Dialer::Owner {
 public:
  // `rest`: what the client has sent behind its startup packet.
  PassThrough(Client& client, LocalUpstream& up, const protocol::StartupMessage& startup,
              protocol::Bytes rest);
  ~PassThrough();

  void start();
  void on_slot(pool::ServerId slot);
  void on_client_event(int events);
  void on_client_gone();
  void cancel(io::Stream requester);
  bool over() const noexcept { return over_; }
  // Of the login, which the client may not draw out (client_login_timeout).
  std::optional<Time> deadline() const {
    return in_login_ && !over_ ? std::optional<Time>(login_until_) : std::nullopt;
  }
  void on_deadline();
  void on_server_event(Server& server, int events) noexcept override;

 private:
  void connect();
  void on_connected(upstream::Dialer& dialer, upstream::Connected connected) noexcept override;
  void on_dial_failed(upstream::Dialer& dialer, upstream::Failure failure) noexcept override;
  void fail(const Error& error);
  void read_client();
  void read_server();
  void from_server(protocol::Bytes in);
  void welcome_message(const protocol::Slice& s);
  bool whole(const protocol::Slice& s);
  void key_message();
  void authentication_message(const protocol::Slice& s);
  void to_server(protocol::Bytes bytes);
  void update();
  void end();

  Client& client_;
  Worker& worker_;
  LocalUpstream& up_;
  protocol::Buffer first_;  // prologue and startup packet
  const Time login_until_;
  std::optional<pool::Ticket> ticket_;
  std::optional<pool::ServerId> slot_;
  RouteRequest route_;
  std::uint64_t epoch_ = 0;
  upstream::Dialer dialer_;
  std::unique_ptr<Server> server_;
  io::Outbox out_;  // to the server
  std::optional<cloudsql::MdxReply> reply_;
  protocol::Framer framer_{(1U << 30) - 1};
  protocol::Buffer part_;  // a message that is looked at, in pieces
  bool asked_ = false;     // the server has asked the client to prove who it is
  bool in_login_ = true;   // until the first ReadyForQuery
  bool over_ = false;
};

}  // namespace sidepool::worker
