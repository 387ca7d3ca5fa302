// src/commands/commands.cpp -- wait and shutdown.
#include "src/commands/commands.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "src/base/clock.h"
#include "src/commands/request.h"

namespace sidepool::commands {

namespace {

// Between two questions. The Auth Proxy's is a second, by which an application would start later.
constexpr auto kPause = std::chrono::milliseconds(200);
// For one answer: a process that is stopped or throttled must not use up all the time.
constexpr auto kOneRequest = std::chrono::seconds(5);

std::string url_of(const std::string& host, std::uint16_t port, const char* path) {
  const bool v6 = host.find(':') != std::string::npos;
  return "http://" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port) + path;
}

}  // namespace

Ending wait(const cli::Wait& command) {
  const std::string url = url_of(command.host, command.port, "/startup");
  const Time end = steady_now() + command.max;
  for (;;) {
    const Duration left = end - steady_now();
    const auto status = request(Method::Get, url, std::clamp<Duration>(left, kPause, kOneRequest));
    if (status && *status == 200) return {};
    const Duration pause = std::min<Duration>(kPause, end - steady_now());
    if (pause <= Duration::zero()) {
      std::string why = "command failed to complete successfully\n" + url + ": ";
      why.append(status ? "status code " + std::to_string(*status) : status.error().what);
      return {1, std::move(why)};
    }
    std::this_thread::sleep_for(pause);
  }
}

Ending shutdown(const cli::Shutdown& command) {
  const std::string url = url_of("127.0.0.1", command.port, "/quitquitquit");
  const auto status = request(Method::Post, url, kOneRequest);
  if (!status) return {1, "failed to send shutdown request: " + url + ": " + status.error().what};
  if (*status != 200) return {1, "shutdown request failed: status code " + std::to_string(*status)};
  return {};
}

}  // namespace sidepool::commands
