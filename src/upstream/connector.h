// src/upstream/connector.h -- brings one server up: resolve, dial, TLS, log in. Runs on one worker.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "protocol/login.h"
#include "src/base/timer_wheel.h"
#include "src/cloudsql/mdx.h"
#include "src/io/loop.h"
#include "src/io/watch.h"
#include "src/upstream/attempt.h"
#include "src/upstream/dialer.h"
#include "src/upstream/resolver.h"

namespace sidepool::upstream {

// A server that has said ReadyForQuery.
struct Ready {
  Connected connection{};
  // Its parameters(), cancel key, protocol and SCRAM keys.
  std::unique_ptr<protocol::LoginMachine> login{};
  // What came behind the first ReadyForQuery; nearly always empty.
  protocol::Buffer rest{};
};

// One attempt at a time. Destroying it gives the attempt up and closes the connection.
class Connector final : private Dialer::Owner {
 public:
  // Called from the loop, never from inside start() or resume(). Each may destroy the connector.
  class Owner {
   public:
    // The server asks for a password: login().auth_method() and challenge() say how, connection() whether
    // cleartext may be sent. Answer on login() (here or later) and then call resume(). Until then the
    // deadline stands still, because a person may be typing: the owner bounds the wait
    // (client_login_timeout), and the server does.
    virtual void on_need_password(Connector& connector) noexcept = 0;
    virtual void on_ready(Connector& connector, Ready ready) noexcept = 0;
    virtual void on_connect_failed(Connector& connector, Failure failure) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  // All three must outlive the connector.
  Connector(io::Loop& loop, Resolver& resolver, Owner& owner) noexcept;
  ~Connector() { cancel(); }
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // on_ready() or on_connect_failed() follows, at `deadline` at the latest (plus the time spent waiting for a
  // password), unless cancel() comes first. REQUIRES: not active.
  void start(Route route, protocol::LoginParameters login, Time deadline);
  // After an answer to on_need_password(), a refusal included.
  void resume() noexcept;
  void cancel() noexcept;
  // As cancel(), but the connection, if it had come so far, is the caller's: whoever counts connections waits
  // for its end. Not open if there is none.
  io::Stream give_up() noexcept;
  bool active() const noexcept { return step_ != Step::Idle; }

  // REQUIRES: inside or after on_need_password(), before the next callback.
  protocol::LoginMachine& login() noexcept { return *login_; }
  const Connected& connection() const noexcept { return connection_; }

 private:
  enum class Step : std::uint8_t { Idle, Dialing, LoggingIn, NeedPassword };
  enum class Turn : std::uint8_t { Again, Stop };  // Stop: waiting, or finished and perhaps destroyed

  void on_connected(Dialer& dialer, Connected connected) noexcept override;
  void on_dial_failed(Dialer& dialer, Failure failure) noexcept override;
  void advance() noexcept;
  Turn write_some() noexcept;
  Turn read_some() noexcept;
  Turn take(protocol::Bytes in) noexcept;
  Turn need_password() noexcept;
  Turn ready(protocol::Bytes rest) noexcept;
  Turn login_failed() noexcept;
  Turn stream_failed() noexcept;
  Turn cannot_watch() noexcept;
  Turn closed() noexcept;
  Turn wait_for(int events) noexcept;
  bool arm(int events) noexcept;
  Turn fail_with(Failure failure) noexcept;
  void on_timeout() noexcept;
  void on_event(int events) noexcept;
  void reset() noexcept;

  io::Loop& loop_;
  Owner& owner_;
  Dialer dialer_;
  io::FdWatch watch_;
  io::Deferred kick_;
  TimerNode timer_;
  Step step_ = Step::Idle;
  Time deadline_{}, began_{}, paused_{};
  Duration login_time_{};  // without the waits for a password
  std::unique_ptr<protocol::LoginMachine> login_;
  Connected connection_;
  protocol::Buffer prologue_;
  std::size_t prologue_sent_ = 0;
  // The server does not read any more; what it said before (an error, an alert) may still be there to be
  // read.
  std::string write_error_;
  std::optional<cloudsql::MdxReply> reply_;  // while the answer to the prologue may still come
  protocol::Buffer held_;                    // read, and not taken because the machine waits for a password
};

}  // namespace sidepool::upstream
