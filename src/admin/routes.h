// src/admin/routes.h -- which paths the two HTTP listeners have.
#pragma once
#include <functional>

#include "src/admin/health.h"
#include "src/admin/http.h"
#include "src/metrics/registry.h"

namespace sidepool::admin {

// --health-check and --prometheus, each by itself; without either there is no listener to give this to.
struct Pages {
  bool health_check = false;
  bool prometheus = false;
};

// /startup, /readiness (with ?deep=1: see Health::unreached), /liveness (any method), /metrics. Nothing here
// changes state. `registry` and what `health` refers to must outlive the server.
Handler public_pages(Pages pages, Health health, const metrics::Registry& registry);

// /quitquitquit: GET and POST answer 200 and the first of them calls `quit` (on an HTTP thread), other
// methods get 400. What a browser sends for another page gets 403. For a listener on localhost only.
Handler admin_pages(std::function<void()> quit);

}  // namespace sidepool::admin
