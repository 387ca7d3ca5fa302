// src/admin/routes.cpp -- which paths the two HTTP listeners have.
#include "src/admin/routes.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "src/metrics/page.h"

namespace sidepool::admin {

namespace {

bool has(std::string_view query, std::string_view parameter) {
  while (!query.empty()) {
    const auto one = query.substr(0, query.find('&'));
    if (one == parameter) return true;
    query.remove_prefix(std::min(one.size() + 1, query.size()));
  }
  return false;
}

}  // namespace

Handler public_pages(Pages pages, Health health, const metrics::Registry& registry) {
  return [pages, health = std::move(health), &registry](const Request& request) -> Answer {
    if (pages.health_check) {
      if (request.path == "/startup") return startup(health);
      if (request.path == "/readiness") return readiness(health, has(request.query, "deep=1"));
      if (request.path == "/liveness") return liveness(health);
    }
    if (pages.prometheus && request.path == "/metrics") {
      return {200, metrics::page(registry), metrics::kContentType};
    }
    return {};
  };
}

Handler admin_pages(std::function<void()> quit) {
  auto asked = std::make_shared<std::atomic<bool>>(false);
  return [quit = std::move(quit), asked = std::move(asked)](const Request& request) -> Answer {
    if (request.path != "/quitquitquit") return {};
    if (request.method != "GET" && request.method != "POST") return {400, ""};
    if (request.cross_site) return {403, "a page of a browser may not ask for this\n"};
    if (!asked->exchange(true) && quit) quit();
    return {200, ""};
  };
}

}  // namespace sidepool::admin
