// src/metrics/subjects.h -- the parts of the page, one source file each.
#pragma once
#include <vector>

#include "src/metrics/families.h"
#include "src/metrics/registry.h"

namespace sidepool::metrics {

using Families = std::vector<prometheus::MetricFamily>;

void add_pools(const Registry& registry, Families& page);
void add_upstreams(const Registry& registry, Families& page);
void add_connector(const Registry& registry, Families& page);  // cloudsqlconn_*
void add_process(const Registry& registry, Families& page);

}  // namespace sidepool::metrics
