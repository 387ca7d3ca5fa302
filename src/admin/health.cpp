// src/admin/health.cpp -- what /startup, /readiness and /liveness answer.
#include "src/admin/health.h"

#include <algorithm>
#include <thread>

namespace sidepool::admin {

namespace {

Life life_of(const Health& health) { return health.life ? health.life() : Life::Serving; }

bool has_started(const Health& health) {
  return life_of(health) != Life::Starting && (!health.started || health.started());
}

std::string refusal(const Health& health) {
  switch (life_of(health)) {
    case Life::Starting:
      return "proxy is not started";
    case Life::Stopping:
      return "proxy has stopped";
    case Life::Serving:
      break;
  }
  if (health.unready) {
    if (std::string why = health.unready(); !why.empty()) return why;
  }
  if (!has_started(health)) return "proxy is not started";
  const Clients clients = health.clients ? health.clients() : Clients{};
  if (clients.max > 0 && clients.open >= clients.max) {
    return "max connections reached (open = " + std::to_string(clients.open) +
           ", max = " + std::to_string(clients.max) + ")";
  }
  return {};
}

// The loop that is furthest behind, if it hangs.
std::string hung_loop(const Health& health) {
  const auto beats = health.heartbeats ? health.heartbeats() : std::vector<Heartbeat>{};
  const auto oldest = std::max_element(beats.begin(), beats.end(),
                                       [](const Heartbeat& a, const Heartbeat& b) { return a.age < b.age; });
  if (oldest == beats.end() || oldest->age <= kHung) return {};
  return oldest->loop + " has not moved for " + std::to_string(oldest->age.count() / 1000) + " s";
}

}  // namespace

Answer startup(const Health& health) {
  if (!has_started(health)) return {503, "error"};
  return {200, "ok"};
}

Answer readiness(const Health& health, bool deep) {
  std::string why = refusal(health);
  if (why.empty() && deep && health.unreached) why = health.unreached();
  if (why.empty()) return {200, "ok"};
  if (health.log_unready) health.log_unready(why);
  return {503, std::move(why)};
}

bool is_ready(const Health& health) { return refusal(health).empty(); }

Answer liveness(const Health& health) {
  constexpr std::chrono::milliseconds kStep{25};
  std::string hung = hung_loop(health);
  for (auto waited = std::chrono::milliseconds{0}; !hung.empty() && waited < kGrace; waited += kStep) {
    std::this_thread::sleep_for(kStep);
    hung = hung_loop(health);
  }
  if (hung.empty()) return {200, "ok"};
  return {503, std::move(hung)};
}

}  // namespace sidepool::admin
