// src/metrics/page.h -- the /metrics page in Prometheus' text format 0.0.4.
//
// Names follow Prometheus' conventions (base units, _total), all begin with sidepool_, and are a promise to
// dashboards: docs and alert rules in conf/examples/ use them. Beside them, for Cloud SQL instances, the
// cloudsqlconn_ names that the Cloud SQL connector publishes (milliseconds, no _total), and the process_
// names of Prometheus' client libraries.
#pragma once
#include <string>

#include "src/metrics/registry.h"

namespace sidepool::metrics {

inline constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

// Any thread. Never throws but for lack of memory.
std::string page(const Registry& registry);

}  // namespace sidepool::metrics
