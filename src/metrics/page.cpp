// src/metrics/page.cpp -- the /metrics page.
#include "src/metrics/page.h"

#include <prometheus/text_serializer.h>

#include "src/metrics/subjects.h"

namespace sidepool::metrics {

std::string page(const Registry& registry) {
  Families families;
  add_process(registry, families);
  add_upstreams(registry, families);
  add_pools(registry, families);
  add_connector(registry, families);
  const std::string& name_space = registry.identity().name_space;
  if (!name_space.empty())
    for (auto& family : families) family.name = name_space + "_" + family.name;
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace sidepool::metrics
