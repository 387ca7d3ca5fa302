// cloudsql/refresh.h -- when connection information is fetched again. Pure: time and randomness are
// arguments.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>

namespace sidepool::cloudsql {

using Millis = std::chrono::milliseconds;
// The wall clock judges certificates; CLOCK_BOOTTIME, which runs on while the machine sleeps, paces calls.
using WallTime = std::chrono::sys_time<Millis>;
using BootTime = Millis;
struct Now {
  WallTime wall;
  BootTime boot;
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
// limiter or the memory of an error. Owned by the api thread.
//
// A waiting client may start a refresh 5 s after the last call or later, whatever the limiter says, unless
// Google asked for more time: a lifted fault is noticed by the first client, and a permanent one costs a call
// in 5 s.
class RefreshSchedule {
 public:
  enum class Answer : std::uint8_t {
    Serve,  // what is there is valid
    Wait,   // a refresh runs or starts as soon as should_start() says so
    Fail,   // the last error, at once: no call is made for this client
  };

  Answer on_client(Now now) noexcept;

  bool should_start(Now now) const noexcept;
  void started(Now now) noexcept;
  // False, and counted as a failure, when the certificate is already over by this machine's clock.
  bool succeeded(Now now, WallTime expires, double u) noexcept;
  // `retry_after`: what Google asked for, 0 if nothing.
  void failed(Now now, FailureKind kind, Millis retry_after, double u) noexcept;

  // A dial failed, or the clock jumped: fetch soon (the address may have changed). What is there keeps being
  // served.
  void force(Now now) noexcept;
  // The server refused the certificate: clients wait for a new one if one may be fetched now, else get this
  // one.
  void suspect(Now now) noexcept;

  // What is there may be used: at-use check against the wall clock.
  bool valid(WallTime now) const noexcept { return expires_ && now < *expires_; }
  bool suspected() const noexcept { return suspect_; }
  bool running() const noexcept { return running_; }
  unsigned failures() const noexcept { return failures_; }
  // When should_start() can become true by itself; BootTime::max() if only an event can do that.
  BootTime wake_at(Now now) const noexcept;

 private:
  BootTime client_at(BootTime now) const noexcept;
  BootTime background_at(BootTime now) const noexcept;

  RefreshLimiter limiter_;
  std::optional<WallTime> expires_;
  std::optional<BootTime> last_call_;
  BootTime next_{0};        // background refresh, back-off included
  BootTime hold_until_{0};  // Retry-After
  unsigned failures_ = 0;   // in a row
  bool running_ = false;
  bool wanted_ = false;  // a client waits for a refresh that has not started
  bool suspect_ = false;
};

// Notices that the wall clock moved against CLOCK_BOOTTIME (set by hand, restored snapshot).
class ClockWatch {
 public:
  bool jumped(Now now) noexcept;

 private:
  std::optional<Millis> offset_;
};

}  // namespace sidepool::cloudsql
