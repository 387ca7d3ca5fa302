// src/worker/client.h -- one client's connection on its worker: socket and server on one side, the session
// machine on the other.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "pool/session.h"
#include "src/base/slab.h"
#include "src/io/outbox.h"
#include "src/io/stream.h"
#include "src/io/watch.h"
#include "src/worker/messages.h"
#include "src/worker/server.h"
#include "src/worker/worker.h"

namespace sidepool::worker {

class Login;
class PassThrough;

// What a client was given to cancel its queries with (product.md §5, Cancel).
struct CancelKey {
  static constexpr std::uint32_t kMark = 0x40000000, kSlotBits = 20, kWorkerBits = 4;
  std::array<std::uint8_t, 32> secret{};
  std::uint8_t size = 0;  // 4, or 32 under protocol 3.2; 0: the client has none yet
  protocol::Bytes bytes() const noexcept { return {secret.data(), size}; }
};

class Client final : public Server::User {
 public:
  using Key = Slab<Client>::Key;
  Client(Key key, Worker& worker, io::Stream stream, io::SocketAddress peer,
         std::shared_ptr<const Entrance> entrance);
  ~Client();

  // Begins to read. False: the socket cannot be watched, dispose of the client.
  bool start();

  pool::SessionId id() const noexcept { return {worker_.id(), key_.slot, key_.generation}; }
  Key key() const noexcept { return key_; }
  Worker& worker() noexcept { return worker_; }
  const Entrance& entrance() const noexcept { return *entrance_; }
  const io::SocketAddress& peer() const noexcept { return peer_; }

  // ---- Told by the worker.
  void on_granted(std::unique_ptr<Server> server);
  void on_login_slot(pool::ServerId slot);
  void on_yield_login(pool::ServerId slot);
  void on_look_again();
  void on_notify();
  void on_cancel_done(bool server_unfit);
  // Time-outs may have become shorter.
  void on_config() { update_timer(); }
  // A CancelRequest whose secret matched; keeps `requester` until it has been delivered.
  void on_cancel_request(io::Stream requester);
  void on_stop(StopStep step);
  bool matches(protocol::Bytes secret) const noexcept;
  void on_server_event(Server& server, int events) noexcept override;

  // ---- Told by the login.
  // It has sent a startup packet: not a probe that only connects, nor a request to cancel.
  void begin_startup();
  // The client is authenticated for `pool`; its startup settings are tried next if they have to be.
  void begin_session(PoolRef pool, LocalUpstream& up, pool::Settings startup, std::uint32_t protocol,
                     protocol::Bytes rest);
  // The connection becomes a pair of sockets that nobody looks into.
  void begin_pass_through(std::unique_ptr<PassThrough> pass);
  // Writes what can be written, keeps the rest; `false`: the client is gone.
  bool send(protocol::Bytes bytes);
  // Who ends the connection, for the log.
  enum class EndedBy : std::uint8_t { Client, Instance, Us };
  void ended_by(EndedBy who) noexcept { ended_by_ = who; }
  // After what is still to be written.
  void finish();
  // The connection is of no more use.
  void hang_up() { client_gone(); }
  // At the end of an event that did not come through the client's own socket.
  void event_done() { after(); }
  // For the pass-through: on_again() in the next turn.
  void come_again() { worker_.loop().defer(again_); }
  void stop_watching() noexcept { watch_.stop(); }
  bool watch_again() noexcept {
    return watch_.start(worker_.loop().uv(), stream_.fd(), this, &Client::on_event) == 0;
  }
  io::Stream& stream() noexcept { return stream_; }
  bool arm(int events);
  bool has_output() const noexcept { return !out_.empty() || stream_.holds_output(); }
  Time output_since() const noexcept { return output_since_; }
  CancelKey& cancel_key() noexcept { return cancel_key_; }
  std::uint32_t pid() const noexcept;

 private:
  friend class Worker;
  enum class Shown : std::uint8_t { None, Idle, Waiting, Active };  // in the gauges of its pool

  static void on_event(void* self, int events) noexcept;
  static void on_timer(TimerNode& node) noexcept;
  static void on_again(io::Deferred& work) noexcept;
  void on_socket(int events);
  bool flush_output();
  void read_client();
  void feed(protocol::Bytes bytes);
  void offer_held();
  void keep_rest(protocol::Bytes rest);
  void process(protocol::Bytes& in);
  void read_server();
  void offer_server(protocol::Bytes& in);
  void server_lost();
  void run(pool::Actions& actions, protocol::Bytes* in = nullptr);
  std::size_t write_together(const pool::Actions& actions, std::size_t i);
  void act(pool::Do what);
  // Put off to the end of the event, by the worker.
  void on_refused_by_broker();
  void on_upstream_error(const pool::OpenError& error);
  protocol::ErrorFields wait_error();
  void acquire();
  void release_server();
  void close_server(bool say_terminate);
  void write(pool::Do to, std::span<const io::ConstBytes> pieces);
  void welcome();
  void client_gone();
  void dismiss(const protocol::ErrorFields& why);
  void cancel_running();
  void pass_on_held_cancel();
  bool queued() const noexcept { return ticket_ != pool::Ticket::None; }
  bool leave_queue();
  // Not while the client has more to take; one that has left, or is told to go, gets nothing any more.
  bool reads_server() const noexcept { return gone_ || finishing_ || out_.empty(); }
  // The server has not taken everything yet.
  bool server_lags() const noexcept {
    return server_ && (!server_->out.empty() || server_->stream.holds_output());
  }
  void note_phase(pool::Phase now);
  void refuse(const protocol::ErrorFields& why);
  metrics::PoolCounters& counters();
  void count_events();
  void show(Shown s);
  void after();
  void update_watches();
  void update_timer();
  std::optional<Time> deadline() const;
  void on_deadline();
  bool wants_client_bytes() const noexcept;
  bool ends_with_terminate() const noexcept;

  const Key key_;
  Worker& worker_;
  std::shared_ptr<const Entrance> entrance_;
  io::SocketAddress peer_;
  io::Stream stream_;
  io::FdWatch watch_;
  io::Outbox out_;         // to the client
  protocol::Buffer held_;  // from the client, not taken by the session yet
  std::unique_ptr<Login> login_;
  std::unique_ptr<PassThrough> pass_;
  std::shared_ptr<const pool::SessionOptions> options_;  // of session_
  std::optional<pool::Session> session_;
  PoolRef pool_;
  LocalUpstream* up_ = nullptr;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Server> granted_;       // to be told to the session as soon as it is not at work
  protocol::Bytes* server_in_ = nullptr;  // what on_server() has not taken, while it runs
  TimerNode timer_;
  io::Deferred again_;  // reading goes on in the next turn: what TLS holds wakes no watch
  Time timer_at_{}, phase_since_{}, transaction_since_{}, request_since_{}, query_since_{};
  Time output_since_{};                       // of the last byte that the client took, while some wait for it
  pool::Ticket ticket_ = pool::Ticket::None;  // of the queue that it waits in
  std::unique_ptr<const pool::OpenError> open_error_;  // what wait_error() borrows from
  std::unique_ptr<io::Stream> held_cancel_;  // who sent a CancelRequest that would have met work of ours
  pool::Settings startup_;                   // the startup settings that are being tried
  CancelKey cancel_key_;
  pool::Phase phase_ = pool::Phase::Idle;
  Shown shown_ = Shown::None;
  EndedBy ended_by_ = EndedBy::Client;
  bool started_up_ = false;
  bool gone_ = false;       // the client's socket is of no more use
  bool finishing_ = false;  // closes when everything has been written
  bool disposed_ = false;
  bool at_work_ = false;         // inside run(): grants wait
  bool wrote_ = false;           // to the server, which may be at work on it
  bool cancel_sent_ = false;     // by us, to the server we have
  bool in_transaction_ = false;  // counted in open_transactions()
};

}  // namespace sidepool::worker
