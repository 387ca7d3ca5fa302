// src/app/ending.cpp -- how the process ends: signals, delays, exit codes (product.md §6, the SIGTERM row).
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "conf/units.h"
#include "src/app/app.h"
#include "src/base/log.h"
#include "src/cloudsql/command.h"

namespace sidepool::app {

namespace {

constexpr Duration kDrainStep = std::chrono::milliseconds(20);
// Cloud Run kills ten seconds after SIGTERM (product.md §6).
constexpr Duration kAtMost = std::chrono::seconds(5);
// Of that, for the last words to clients and for the cancelling of what runs.
constexpr Duration kCutAtMost = std::chrono::milliseconds(500);

}  // namespace

void App::on_signal(int number) {
  if (number == SIGHUP) return reload();
  const bool term = number == SIGTERM;
  if (ending_ != Ending::No) return cut();  // the second one: no more patience
  end(!term                                    ? 130
      : config_->shutdown.exit_zero_on_sigterm ? 0
                                               : 143,
      term ? "SIGTERM signal received" : "SIGINT signal received");
}

bool App::transactions_open() const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [](const auto& w) { return w->open_transactions().get() > 0; });
}

// Readiness refuses from here on. Certificates are renewed and clients served until the last has gone.
void App::end(int code, const std::string& why) {
  if (ending_ != Ending::No) return;
  exit_code_ = code;
  notify_systemd("STOPPING=1");
  if (life_.exchange(admin::Life::Stopping) == admin::Life::Starting) {
    log::error("The proxy has encountered a terminal error: " + why);
    return cut();
  }
  log::info(why + ". Shutting down...");
  const Duration linger = config_->shutdown.min_sigterm_delay;
  if (linger == Duration::zero()) return drain();
  ending_ = Ending::Lingering;
  loop_->arm_after(drain_, linger);
}

void App::on_drain_timer() {
  if (ending_ == Ending::Lingering) return drain();
  drain_step();
}

void App::drain() {
  ending_ = Ending::Draining;
  shared_.stopping = true;
  for (auto& d : doors_) d->listener->close();
  const auto& delay = config_->shutdown.max_sigterm_delay;
  explicit_delay_ = delay.has_value() && *delay > Duration::zero();
  if (delay && *delay == Duration::zero()) return cut();
  drain_until_ = steady_now() + delay.value_or(kAtMost - kCutAtMost);
  if (!explicit_delay_) {
    for (auto& w : workers_) w->post(worker::Stop{worker::StopStep::Drain});
  }
  drain_step();
}

void App::drain_step() {
  if (clients() == 0) return cut();
  if (steady_now() >= drain_until_) {
    if (explicit_delay_ && transactions_open()) {
      const auto delay = config_->shutdown.max_sigterm_delay.value_or(Duration::zero());
      log::error("error during shutdown: " + std::to_string(clients()) +
                 " connection(s) still open after waiting " + conf::format_duration(delay));
      exit_code_ = 1;
    }
    return cut();
  }
  loop_->arm_after(drain_, kDrainStep);
}

bool App::cancels_something() const {
  return std::any_of(shared_.upstreams.begin(), shared_.upstreams.end(),
                     [](const auto& up) { return !up->cancels.empty(); });
}

// Idle clients are told, running work is cancelled; then the process ends.
void App::cut() {
  if (ending_ == Ending::Cutting) return;
  ending_ = Ending::Cutting;
  shared_.stopping = true;
  for (auto& d : doors_) d->listener->close();
  for (auto& w : workers_) w->post(worker::Stop{worker::StopStep::Cut});
  const auto until = steady_now() + kCutAtMost;
  while ((clients() > 0 || cancels_something()) && steady_now() < until) ::usleep(2000);
  cloudsql::end_commands();
  log::stop(std::chrono::milliseconds(200));
  ::_exit(exit_code_);
}

// A client is who has sent a startup packet: probes that only connect neither begin the count nor stop it.
void App::end_when_idle() {
  const auto& limit = config_->shutdown.exit_when_idle;
  const auto seen = shared_.startups.load();
  if (!limit || seen == 0 || ending_ != Ending::No) return;
  if (shared_.sessions.load() > 0 || seen != startups_seen_) {
    startups_seen_ = seen;
    idle_since_ = steady_now();
    return;
  }
  if (steady_now() - idle_since_ < *limit) return;
  end(0, "No client has come for " + conf::format_duration(*limit));
}

}  // namespace sidepool::app
