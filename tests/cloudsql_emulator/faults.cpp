// tests/cloudsql_emulator/faults.cpp -- the queues of fault steps.
#include "tests/cloudsql_emulator/faults.h"

#include <chrono>

namespace sidepool::emulator {

Result<std::vector<FaultStep>> Faults::parse_steps(const Json& steps) {
  if (steps.array() == nullptr) return fail(Errc::Config, "steps must be an array");
  std::vector<FaultStep> out;
  for (const Json& item : *steps.array()) {
    if (item.object() == nullptr) return fail(Errc::Config, "a step must be an object");
    FaultStep step;
    step.status = static_cast<int>(item.number("status", 0));
    step.reason = item.text("reason");
    step.message = item.text("message");
    if (const Json* headers = item.find("headers"); headers != nullptr && headers->object() != nullptr) {
      for (const auto& [name, value] : *headers->object()) {
        if (value.string() != nullptr) step.headers[name] = *value.string();
      }
    }
    if (const Json* body = item.find("body"); body != nullptr && body->string() != nullptr) {
      step.body = *body->string();
    }
    step.delay_ms = static_cast<int>(item.number("delay_ms", 0));
    step.hold = item.flag("hold", false);
    step.drop = item.flag("drop", false);
    step.malformed = item.text("malformed");
    step.times = static_cast<long>(item.number("times", 1));
    static const Json kKnown = Json::Object{
        {"status", true},   {"reason", true}, {"message", true}, {"headers", true},   {"body", true},
        {"delay_ms", true}, {"hold", true},   {"drop", true},    {"malformed", true}, {"times", true}};
    for (const auto& [name, value] : *item.object()) {
      if (kKnown.find(name) == nullptr) return fail(Errc::Config, "unknown step member \"" + name + "\"");
    }
    out.push_back(std::move(step));
  }
  return out;
}

void Faults::set(const std::string& method, const std::string& instance, std::vector<FaultStep> steps) {
  std::lock_guard lock(mutex_);
  queues_[{method, instance}] = std::deque<FaultStep>(steps.begin(), steps.end());
}

void Faults::clear() {
  std::lock_guard lock(mutex_);
  queues_.clear();
  ++clears_;
  changed_.notify_all();
}

std::optional<FaultStep> Faults::take(const std::string& method, const std::string& instance) {
  std::lock_guard lock(mutex_);
  for (const Where& where : {Where{method, instance}, Where{method, ""}}) {
    auto it = queues_.find(where);
    if (it == queues_.end()) continue;
    std::deque<FaultStep>& queue = it->second;
    while (!queue.empty() && queue.front().times == 0) queue.pop_front();
    if (queue.empty()) continue;
    FaultStep step = queue.front();
    if (queue.front().times > 0 && --queue.front().times == 0) queue.pop_front();
    return step;
  }
  return std::nullopt;
}

void Faults::wait(const std::string& method, const FaultStep& step) {
  std::unique_lock lock(mutex_);
  std::uint64_t clears = clears_;
  if (step.delay_ms > 0) {
    changed_.wait_for(lock, std::chrono::milliseconds(step.delay_ms),
                      [&] { return stopped_ || clears_ != clears; });
  }
  if (!step.hold) return;
  std::uint64_t releases = releases_[method];
  ++held_[method];
  changed_.wait(lock, [&] { return stopped_ || clears_ != clears || releases_[method] != releases; });
  --held_[method];
}

void Faults::release(const std::string& method) {
  std::lock_guard lock(mutex_);
  ++releases_[method];
  changed_.notify_all();
}

void Faults::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

Json Faults::describe() const {
  std::lock_guard lock(mutex_);
  Json out = Json::Object{};
  Json queued = Json::Array{};
  for (const auto& [where, queue] : queues_) {
    if (queue.empty()) continue;
    Json entry;
    entry["method"] = where.first;
    entry["instance"] = where.second;
    entry["steps"] = queue.size();
    queued.push(entry);
  }
  out["queued"] = queued;
  out["held"] = Json::Object{};
  for (const auto& [method, count] : held_) out["held"][method] = count;
  return out;
}

}  // namespace sidepool::emulator
