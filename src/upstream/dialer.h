// src/upstream/dialer.h -- a raw connection to an upstream: resolve, dial, TLS. For cancel requests and
// pass-through, and the first half of Connector.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "src/base/timer_wheel.h"
#include "src/io/loop.h"
#include "src/io/watch.h"
#include "src/upstream/attempt.h"
#include "src/upstream/resolver.h"
#include "src/upstream/socks5.h"

namespace sidepool::upstream {

// Lives on one worker; one attempt at a time. Destroying it gives the attempt up.
class Dialer {
 public:
  // Called from the loop, never from inside start(). May destroy the dialer or start it again.
  class Owner {
   public:
    // `connected.stream` has no watch on it any more; ask holds_input() before waiting for it.
    // Route::prologue has NOT been sent: it belongs in front of the first bytes.
    virtual void on_connected(Dialer& dialer, Connected connected) noexcept = 0;
    virtual void on_dial_failed(Dialer& dialer, Failure failure) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  // All three must outlive the dialer.
  Dialer(io::Loop& loop, Resolver& resolver, Owner& owner) noexcept;
  ~Dialer() { cancel(); }
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // Exactly one callback follows, unless cancel() comes first: at `deadline` at the latest. An address that
  // does not accept is followed by the next one; a failure after that is final. REQUIRES: not active.
  void start(Route route, Time deadline);
  void cancel() noexcept;
  bool active() const noexcept { return step_ != Step::Idle; }

 private:
  enum class Step : std::uint8_t {
    Idle,
    NextEndpoint,
    Resolving,
    NextAddress,
    Connecting,
    ConnectDone,
    Socks,
    AskTls,
    AwaitTls,
    Handshake
  };

  void advance() noexcept;
  std::optional<Step> step() noexcept;
  Step next_endpoint() noexcept;
  Step next_address() noexcept;
  std::optional<Step> connect_done() noexcept;
  std::optional<Step> begin_socks() noexcept;
  std::optional<Step> socks() noexcept;
  std::optional<Step> connected_tcp() noexcept;
  std::optional<Step> ask_tls() noexcept;
  std::optional<Step> await_tls() noexcept;
  std::optional<Step> begin_tls() noexcept;
  std::optional<Step> handshake() noexcept;
  Step look_up(const Endpoint& endpoint) noexcept;
  void on_resolved(Result<Addresses> addresses) noexcept;
  Step unresolved(Error error) noexcept;
  void on_timeout() noexcept;
  bool wait_for(int events) noexcept;
  Step address_failed(Error error) noexcept;
  void remember(Phase phase, Error error) noexcept;
  Duration share() const noexcept;
  std::string target_text() const;
  void succeed() noexcept;
  void fail_with(Phase phase, Error error, bool certificate_refused = false) noexcept;
  void reset() noexcept;
  void arm_timer() noexcept;

  io::Loop& loop_;
  Resolver& resolver_;
  Owner& owner_;
  Resolution resolution_;
  io::FdWatch watch_;
  io::Deferred kick_;
  TimerNode timer_;
  Step step_ = Step::Idle;
  Route route_;
  Time deadline_{}, step_deadline_{}, phase_began_{};
  std::size_t endpoint_ = 0, address_ = 0;
  Addresses addresses_;
  bool proxied_ = false;      // addresses_ are the proxy's
  bool any_address_ = false;  // of an endpoint was found
  struct Trouble {
    Phase phase;
    Error error;
    std::size_t more = 0;  // that are not in its text
  };
  std::optional<Trouble> trouble_;  // of the addresses that did not accept
  std::optional<Socks5> socks_;
  io::Stream stream_;
  std::size_t asked_ = 0;  // bytes of SSLRequest that are sent
  Timings timings_{};
};

}  // namespace sidepool::upstream
