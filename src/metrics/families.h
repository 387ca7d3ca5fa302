// src/metrics/families.h -- building metric families in prometheus-cpp's types.
#pragma once
#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/metrics/counters.h"

namespace sidepool::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

// One family under construction. Families without a sample are left out of the page: a series exists once it
// has something to say.
class Family {
 public:
  Family(std::string name, std::string help, prometheus::MetricType type);

  void add(const Labels& labels, double value);
  void add(const Labels& labels, const Distribution& distribution);
  // `counts[i]` is not cumulative; `total` includes what is above the last bound.
  void add(const Labels& labels, const double* bounds, const std::uint64_t* counts, std::size_t n,
           std::uint64_t total, double sum);

  void move_to(std::vector<prometheus::MetricFamily>& page);

 private:
  prometheus::ClientMetric& sample(const Labels& labels);
  prometheus::MetricFamily family_;
};

inline Family counter(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Counter};
}
inline Family gauge(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Gauge};
}
inline Family histogram(std::string name, std::string help) {
  return {std::move(name), std::move(help), prometheus::MetricType::Histogram};
}

// `labels` and one more.
Labels with(const Labels& labels, std::string_view name, std::string_view value);

// A name that a client chose, as a label value: at most 128 bytes, and valid UTF-8, which the exposition
// format requires and PostgreSQL's names do not promise; what is not becomes U+FFFD.
std::string label_value(std::string_view text);

}  // namespace sidepool::metrics
