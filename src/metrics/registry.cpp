// src/metrics/registry.cpp -- which pools and upstreams are counted, and the rare events of an upstream.
#include "src/metrics/registry.h"

#include <algorithm>

namespace sidepool::metrics {

namespace {

std::int64_t unix_seconds(std::chrono::system_clock::time_point t) {
  return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
}

}  // namespace

void UpstreamMetrics::phase_done(DialPhase phase, std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  phases_[static_cast<std::size_t>(phase)].observe(took);
}

void UpstreamMetrics::phase_failed(DialPhase phase) {
  const std::lock_guard lock(mutex_);
  ++now_.failed[static_cast<std::size_t>(phase)];
}

void UpstreamMetrics::dialed(std::chrono::nanoseconds took) {
  const double milliseconds = std::chrono::duration<double, std::milli>(took).count();
  const std::lock_guard lock(mutex_);
  ++now_.dials;
  now_.dials_milliseconds += milliseconds;
  for (std::size_t i = 0; i < kDialBounds.size(); ++i) {
    if (milliseconds <= kDialBounds[i]) {
      ++now_.dials_by_bound[i];
      return;
    }
  }
}

void UpstreamMetrics::dial_failed() {
  const std::lock_guard lock(mutex_);
  ++now_.dials_failed;
}

void UpstreamMetrics::opened() {
  const std::lock_guard lock(mutex_);
  ++now_.open;
  now_.was_open = true;
}

void UpstreamMetrics::closed() {
  const std::lock_guard lock(mutex_);
  --now_.open;
}

void UpstreamMetrics::login_failed(std::string_view reason) { login_failures_.add(reason); }

void UpstreamMetrics::refreshed(std::chrono::system_clock::time_point certificate_expires) {
  const std::lock_guard lock(mutex_);
  ++now_.refreshes;
  now_.certificate_expiry = unix_seconds(certificate_expires);
}

void UpstreamMetrics::refresh_failed(std::string_view reason, std::string_view api_code) {
  refresh_failures_.add(reason);
  const std::lock_guard lock(mutex_);
  // The connector's label carries Google's words as they are (notAuthorized), or does not exist.
  const auto in_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  const bool word =
      api_code.size() <= ReasonCounts::kLongest && std::all_of(api_code.begin(), api_code.end(), in_word);
  const std::string code(word ? api_code : "other");
  auto& codes = now_.refresh_failure_codes;
  if (codes.contains(code) || codes.size() + 1 < ReasonCounts::kMost) {
    ++codes[code];
  } else {
    ++codes["other"];
  }
}

void UpstreamMetrics::add_bytes(std::uint64_t sent, std::uint64_t received) {
  const std::lock_guard lock(mutex_);
  now_.sent += sent;
  now_.received += received;
}

UpstreamMetrics::Snapshot UpstreamMetrics::read() const {
  const std::lock_guard lock(mutex_);
  Snapshot copy = now_;
  for (std::size_t i = 0; i < phases_.size(); ++i) copy.phases[i] = phases_[i].read();
  copy.login_failures = login_failures_.read();
  copy.refresh_failures = refresh_failures_.read();
  return copy;
}

UpstreamMetrics& Registry::add_upstream(std::string upstream, bool cloud_sql) {
  const std::lock_guard lock(mutex_);
  for (auto& known : upstreams_) {
    if (known.upstream() == upstream) return known;
  }
  return upstreams_.emplace_back(std::move(upstream), cloud_sql);
}

PoolMetrics& Registry::add_pool(PoolLabels labels, PoolGaugesFn gauges) {
  const std::lock_guard lock(mutex_);
  return pools_.emplace_back(std::move(labels), workers_, std::move(gauges));
}

void Registry::remove_pool(PoolMetrics& pool) {
  const std::lock_guard lock(mutex_);
  std::uint64_t sent = 0, received = 0;
  for (const auto& block : pool.blocks()) {
    sent += block.to_servers.get();
    received += block.from_servers.get();
  }
  for (auto& upstream : upstreams_) {
    if (upstream.upstream() == pool.labels().upstream) upstream.add_bytes(sent, received);
  }
  pools_.remove_if([&](const PoolMetrics& p) { return &p == &pool; });
}

void Registry::config_loaded(bool ok, std::chrono::system_clock::time_point now) {
  const std::lock_guard lock(mutex_);
  config_.tried = true;
  config_.ok = ok;
  if (ok) config_.loaded_at = unix_seconds(now);
}

void Registry::each_pool(const std::function<void(const PoolMetrics&)>& f) const {
  const std::lock_guard lock(mutex_);
  for (const auto& pool : pools_) f(pool);
}

void Registry::each_upstream(const std::function<void(const UpstreamMetrics&)>& f) const {
  const std::lock_guard lock(mutex_);
  for (const auto& upstream : upstreams_) f(upstream);
}

Registry::ConfigState Registry::config_state() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

}  // namespace sidepool::metrics
