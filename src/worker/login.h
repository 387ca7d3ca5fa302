// src/worker/login.h -- a client's way in: startup packet, TLS, and who decides about its password
// (product.md §4).
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "protocol/accept.h"
#include "src/upstream/connector.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

class Client;

class Login final : public upstream::Connector::Owner {
 public:
  explicit Login(Client& client);
  ~Login();

  void on_readable();
  void on_slot(pool::ServerId slot);
  // The client is still typing, and somebody else needs what this login holds.
  void on_yield(pool::ServerId slot);
  void on_look_again();
  // The client has left.
  void cancel();
  std::optional<Time> deadline() const {
    return began_ + worker_.config().server.client_login_timeout;  // as it is now: a reload may change it
  }
  void on_deadline();
  // The process ends.
  void on_stop();
  bool in_handshake() const noexcept { return step_ == Step::Handshake; }

 private:
  enum class Step : std::uint8_t {
    Reading,      // startup packet or password
    Handshake,    // TLS with the client
    WaitingSlot,  // for the right to try a login at the database
    Connecting,   // that login
    Over,
  };

  // login_client.cpp: the client's side
  void read();
  void feed(protocol::Bytes& in);
  void on_event(protocol::AcceptMachine::Event e, protocol::Bytes& rest);
  void start_tls();
  void handshake();
  void flush_accept();
  bool first_byte_is_tls();
  void on_startup();
  bool certificate_fits();
  std::optional<pool::Settings> startup_settings();
  void decide();
  void trust();
  bool known_by_now() const;
  void on_password();
  void ask_password();
  void refuse(const protocol::ErrorFields& why);
  void drop();

  // login_database.cpp: the database's side
  void want_slot(bool trial);
  pool::LoginRank rank() const;
  void note_refused();
  void connect();
  void on_route(Result<upstream::Route> route, Time until);
  bool look_again(const upstream::Failure& failure);
  void on_need_password(upstream::Connector& connector) noexcept override;
  void on_ready(upstream::Connector& connector, upstream::Ready ready) noexcept override;
  void on_connect_failed(upstream::Connector& connector, upstream::Failure failure) noexcept override;
  void answer_database();
  void ask_for_database();
  void lose_turn();
  void refuse_pool();
  void logged_in(upstream::Ready ready);
  void tell_failure(const upstream::Failure& failure);
  void end_slot(io::Stream stream, bool say_terminate);
  void pass_through();
  void admit();
  bool may_ask_cleartext() const;
  void refuse_without_password();
  void refuse_unknown_user();

  Client& client_;
  Worker& worker_;
  protocol::AcceptMachine accept_;
  Step step_ = Step::Reading;
  LocalUpstream* up_ = nullptr;
  PoolRef pool_;
  pool::Settings settings_;  // of the startup packet
  protocol::Buffer rest_;    // what the client sent beyond what the machine took
  std::optional<pool::Ticket> ticket_;
  std::optional<pool::ServerId> slot_;
  std::unique_ptr<upstream::Connector> connector_;
  RouteRequest route_;
  std::uint64_t epoch_ = 0;
  Time connect_until_{};
  std::uint32_t destination_ = 0;  // Upstream::destination when it began to connect
  std::optional<protocol::SecretText> password_;
  const Time began_;
  bool heard_ = false;          // a byte of this connection has been read
  bool direct_ = false;         // TLS from the first byte
  bool asking_ = false;         // the client has been asked and has not answered
  bool database_asks_ = false;  // the connector waits for the password
  bool waits_ = false;          // the broker knows that
  bool retried_ = false;        // with a new certificate
};

}  // namespace sidepool::worker
