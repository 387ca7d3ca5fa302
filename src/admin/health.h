// src/admin/health.h -- what /startup, /readiness and /liveness answer. None of them dials the database, but
// for /readiness?deep=1.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/admin/http.h"

namespace sidepool::admin {

enum class Life : std::uint8_t { Starting, Serving, Stopping };

struct Clients {
  std::uint64_t open = 0, max = 0;  // max 0: no limit
};

// One event loop and how long ago it last turned. An idle loop must be poked to turn: the control loop pokes
// every worker once a second and itself by its timer.
struct Heartbeat {
  std::string loop;  // "control", "worker 0"
  std::chrono::milliseconds age{0};
};

// What the process tells about itself. The functions are called on HTTP threads: they must be thread-safe and
// must not wait, but for `unreached`. An empty function means: nothing to tell.
struct Health {
  std::function<Life()> life;
  std::function<Clients()> clients;
  // A sentence when no request can be served for a reason that will not pass by itself at once (certificate
  // expired and not renewed); empty when all is well.
  std::function<std::string()> unready;
  std::function<std::vector<Heartbeat>()> heartbeats;
  // Told about each refusal of /readiness.
  std::function<void(const std::string&)> log_unready;
  // Every instance has had its connection information once (the original does not serve before; cloudsql.md
  // §9 row 4). Never false again after it was true.
  std::function<bool()> started{};
  // What cannot be reached, found out by connections; empty when all is well. May take half a second.
  std::function<std::string()> unreached{};
};

// A loop that has not turned for so long hangs.
inline constexpr std::chrono::milliseconds kHung{5000};
// A process whose CPU was taken away (a throttled or frozen container) finds its heartbeats old when it wakes
// up: the loops get this long to turn before they are called hung. Below a kubelet's default time-out of 1 s.
inline constexpr std::chrono::milliseconds kGrace{500};

// Bodies and codes are the Auth Proxy's (internal/healthcheck/healthcheck.go of 2.25), with these
// differences: /readiness refuses from the first moment of a stop, above the limit of clients, and while an
// instance has no certificate that is valid; and /liveness can fail.
Answer startup(const Health& health);
Answer readiness(const Health& health, bool deep = false);
Answer liveness(const Health& health);
// What /readiness would say, without a line in the log.
bool is_ready(const Health& health);

}  // namespace sidepool::admin
