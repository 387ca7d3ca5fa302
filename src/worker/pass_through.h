// src/worker/pass_through.h -- a client with a server of its own: the authentication and everything after it
// is relayed unchanged (product.md §4.5). Nothing is shared, so nothing is looked at but the way to the key.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
  // `rest`: what the client has sent behind its startup packet. `login_until`: the end of its login's time.
  PassThrough(Client& client, LocalUpstream& up, const protocol::StartupMessage& startup,
              protocol::Bytes rest, Time login_until);
  ~PassThrough();

  void start();
  void on_slot(pool::ServerId slot);
  // The client has not answered the database yet, and somebody else needs what this login holds.
  void on_yield(pool::ServerId slot);
  void on_client_event(int events);
  // What TLS holds of either side is read on.
  void on_again();
  void on_client_gone();
  // The process ends.
  void on_stop(StopStep step);
  void cancel(io::Stream requester);
  bool over() const noexcept { return over_; }
  // Of the login, which the client may not draw out (client_login_timeout), and of what it has to take
  // (client_write_timeout).
  std::optional<Time> deadline() const;
  void on_deadline();
  void on_server_event(Server& server, int events) noexcept override;

 private:
  void connect();
  void dial(Result<upstream::Route> route, std::uint64_t epoch, Time until);
  bool look_again(const upstream::Failure& failure);
  void on_connected(upstream::Dialer& dialer, upstream::Connected connected) noexcept override;
  void on_dial_failed(upstream::Dialer& dialer, upstream::Failure failure) noexcept override;
  bool once_more(bool certificate_refused);
  void fail(const Error& error);
  void refuse(const protocol::ErrorFields& why);
  void server_ended();
  bool reads_client() const noexcept;
  void read_client();
  bool resume();
  void read_server();
  void from_server(protocol::Bytes in);
  void welcome_message(const protocol::Slice& s);
  bool negotiation_message(const protocol::Slice& s);
  bool whole(const protocol::Slice& s);
  void client_is_asked();
  bool authenticated();
  void key_message();
  void authentication_message(const protocol::Slice& s);
  void offer_mechanisms();
  void take_answer(protocol::Bytes in);
  static bool binds(protocol::Bytes answer) noexcept;
  void tell_metrics();
  void to_server(protocol::Bytes bytes);
  void update();
  void close_server();
  void end();

  Client& client_;
  Worker& worker_;
  LocalUpstream& up_;
  protocol::Buffer first_;  // what the client has sent before the server has said anything
  const Time login_until_;
  std::optional<pool::Ticket> ticket_;
  std::optional<pool::ServerId> slot_;  // of the login, until the database has let the client in
  RouteRequest route_;
  std::uint64_t epoch_ = 0;
  Time connect_until_{};
  upstream::Dialer dialer_;
  std::unique_ptr<Server> server_;
  io::Outbox out_;  // to the server
  std::optional<cloudsql::MdxReply> reply_;
  protocol::Framer framer_{(1U << 30) - 1};
  protocol::Buffer part_;  // a message of the server that is looked at, in pieces
  struct Negotiation {
    std::uint32_t minor = 0;           // the newest that we speak of what the client has asked for
    std::vector<std::string> options;  // that we do not know
  };
  std::optional<Negotiation> negotiation_;  // to be told before the server's first message
  protocol::Buffer answer_;                 // what the client has said while slot_ is held, not passed on
  std::uint64_t sent_ = 0, received_ = 0;   // bytes that the metrics do not know yet
  Time told_metrics_{};
  bool heard_ = false;     // the server has said something
  bool told_ = false;      // the server has said why it ends
  bool retried_ = false;   // with a new certificate
  bool asked_ = false;     // the server has asked the client to prove who it is
  bool waits_ = false;     // for the client's answer as a whole, and the broker knows that
  bool withheld_ = false;  // it offered channel binding, and the client's answer is yet to come
  bool in_login_ = true;   // until the first ReadyForQuery
  bool over_ = false;
};

}  // namespace sidepool::worker
