// src/worker/startup_sets.cpp -- see startup_sets.h.
#include "src/worker/startup_sets.h"

namespace sidepool::worker {

namespace {
constexpr std::string_view kApplication = "application_name";
}

std::string StartupSets::key_of(const pool::SettingSet& settings) {
  std::string key;
  for (const auto& [name, value] : settings) {
    if (!pool::same_name(name, kApplication)) key.append(name).append(1, '\0').append(value).append(1, '\0');
  }
  return key;
}

std::optional<StartupSets::Outcome> StartupSets::known(const std::string& key,
                                                       const pool::Settings& reported) {
  std::lock_guard lock(mutex_);
  if (key == shared_key_ && shared_) return Outcome{nullptr, kShared, shared_reported_};
  const auto at = entries_.find(key);
  if (at == entries_.end()) return std::nullopt;
  auto& e = at->second;
  if (++e.clients < 2 || shared_) return Outcome{e.overrides, 0, nullptr};
  auto told = reported ? *reported : pool::SettingSet{};
  for (const auto& [name, value] : e.overrides ? *e.overrides : pool::SettingSet{}) {
    if (told.find(name)) told.set(name, value);
  }
  shared_key_ = key;
  shared_ = e.settings;
  shared_reported_ = std::make_shared<pool::SettingSet>(std::move(told));
  return Outcome{nullptr, kShared, shared_reported_};
}

void StartupSets::accepted(const std::string& key, const pool::SettingSet& settings,
                           pool::Settings overrides) {
  if (key.size() > kLongest) return;
  auto kept = std::make_shared<pool::SettingSet>(settings);
  kept->erase(kApplication);
  std::lock_guard lock(mutex_);
  if (entries_.size() >= kMost) entries_.clear();
  entries_[key] = {std::move(kept), pool::without(overrides, kApplication), 1};
}

pool::Settings StartupSets::of(std::uint64_t startup) const {
  std::lock_guard lock(mutex_);
  return startup == kShared ? shared_ : nullptr;
}

pool::Settings StartupSets::note_reported(std::uint64_t startup, pool::SettingSet values) {
  std::lock_guard lock(mutex_);
  if (startup != kShared) return std::make_shared<pool::SettingSet>(std::move(values));
  if (!shared_reported_ || !(*shared_reported_ == values)) {
    shared_reported_ = std::make_shared<pool::SettingSet>(std::move(values));
  }
  return shared_reported_;
}

}  // namespace sidepool::worker
