// cloudsql/refresh.h -- when connection information is fetched again. Pure: time and randomness are
// arguments.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

namespace sidepool::cloudsql {

using Millis = std::chrono::milliseconds;
// The wall clock judges certificates; CLOCK_BOOTTIME, which runs on while the machine sleeps, paces calls.
// CLOCK_MONOTONIC, which does not, only tells that it slept.
using WallTime = std::chrono::sys_time<Millis>;
using BootTime = Millis;
struct Now {
  WallTime wall;
  BootTime boot;
  Millis awake{0};
};

// How long a certificate that is valid for `left` is used before the next one is fetched: half of an hour and
// more, else until 4 minutes before its end, but at least half of the rest (a certificate that is nearly over
// is not fetched in a loop). `u` in [0,1) takes up to 10 % off, so that processes started together drift
// apart.
Millis refresh_delay(Millis left, double u) noexcept;

// Why a refresh failed, as far as the pace of the next attempt depends on it.
enum class FailureKind : std::uint8_t {
  Transport,  // Google was not reached: 1 s, doubling to 30 s; costs no quota
  Server,     // 5xx, after the retries inside the call: 5 s, doubling to 60 s
  Refused,    // 4xx or an unusable answer: 30 s, doubling to 5 min
};
// `failures` counts from 1. Up to 20 % is added by `u`.
Millis failure_delay(FailureKind kind, unsigned failures, double u) noexcept;

// A bucket of two refreshes that fills by one in 30 s (the original's limiter).
class RefreshLimiter {
 public:
  bool available(BootTime now) const noexcept { return level(now) >= 1.0; }
  // Takes one, or empties the bucket if less is left.
  void take(BootTime now) noexcept;
  void give_back(BootTime now) noexcept;
  BootTime available_at(BootTime now) const noexcept;

 private:
  double level(BootTime now) const noexcept;

  double level_ = 2.0;
  BootTime at_{0};
};

// The life of one (instance, IAM) entry. It outlives every failure, so nothing that clients do resets the
// limiter or the memory of an error. One thread at a time.
//
// A waiting client may start a refresh 5 s after the last call or later, whatever the limiter says, unless
// Google asked for more time: a lifted fault is noticed by the first client, and a permanent one costs a call
// in 5 s.
//
// `lazy` (--lazy-refresh) takes the timer away and nothing else: what it would do is done for the next client
// after that time, who gets what is there meanwhile.
class RefreshSchedule {
 public:
  explicit RefreshSchedule(bool lazy = false) noexcept : lazy_(lazy) {}

  enum class Answer : std::uint8_t {
    Serve,  // what is there is valid
    Wait,   // a refresh runs or starts as soon as should_start() says so
    Fail,   // the last error, at once: no call is made for this client
  };

  Answer on_client(Now now) noexcept;
  // The client could not reach the instance with what is there: it waits for a refresh that runs or may start
  // now. The pace is that of force(), which a failed dial asks for anyway.
  Answer on_unreached(Now now) noexcept;

  bool should_start(Now now) const noexcept;
  void started(Now now) noexcept;
  // False, and counted as a failure, when the certificate is already over by this machine's clock.
  bool succeeded(Now now, WallTime expires, double u) noexcept;
  // `retry_after`: what Google asked for, 0 if nothing.
  void failed(Now now, FailureKind kind, Millis retry_after, double u) noexcept;

  // A dial failed, or the clock jumped: fetch soon (the address may have changed). What is there keeps being
  // served.
  void force(Now now) noexcept;
  // What is there is about to be replaced by something of another kind: fetch it now, and what failed before
  // says nothing about it. What is there is served until then.
  void replaced(Now now) noexcept;
  // The server refused the certificate: clients wait for a new one if one may be fetched now, else get this
  // one.
  void suspect(Now now) noexcept;

  // What is there may be used: at-use check against the wall clock.
  bool valid(WallTime now) const noexcept { return expires_ && now < *expires_; }
  // on_client() would say Serve and start nothing.
  bool serves_at_once(Now now) const noexcept { return valid(now.wall) && !suspect_ && !lazily_due(now); }
  bool running() const noexcept { return running_; }
  unsigned failures() const noexcept { return failures_; }
  // When should_start() can become true by itself; BootTime::max() if only an event can do that.
  BootTime wake_at(Now now) const noexcept;

 private:
  BootTime client_at(BootTime now) const noexcept;
  BootTime paced_at(BootTime now) const noexcept;
  BootTime background_at(BootTime now) const noexcept { return lazy_ ? BootTime::max() : paced_at(now); }
  bool lazily_due(Now now) const noexcept;

  RefreshLimiter limiter_;
  std::optional<WallTime> expires_;
  std::optional<BootTime> last_call_;
  BootTime next_{0};        // background refresh, back-off included
  BootTime hold_until_{0};  // Retry-After
  unsigned failures_ = 0;   // in a row
  const bool lazy_;
  bool running_ = false;
  bool wanted_ = false;  // a client waits for a refresh that has not started
  bool suspect_ = false;
};

// Notices what happened to time between two looks at the clocks.
//
// Only a wall clock that moved calls for a refresh by itself: what it says of the certificate's end was wrong
// before or is wrong now. After a sleep or a freeze CLOCK_BOOTTIME has gone on, so a refresh that is due is
// due, and every use checks the end anyway (cloudsql.md §9 row 1).
class ClockWatch {
 public:
  enum class Event : std::uint8_t {
    None,
    WallMoved,  // against CLOCK_BOOTTIME: set by hand, restored snapshot
    Slept,      // CLOCK_MONOTONIC stood still: the machine was suspended
    Frozen,     // all clocks went on and the process did not run: SIGSTOP, a throttled container
  };
  struct Seen {
    Event event = Event::None;
    Millis by{0};  // how far, how long
  };
  // `until`: when the thread wanted to look again at the latest; BootTime::max() if it was at work.
  Seen look(Now now, BootTime until) noexcept;

 private:
  std::optional<Now> last_;
};

}  // namespace sidepool::cloudsql
