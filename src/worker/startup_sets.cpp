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
  for (std::size_t i = 0; i < shared_.size(); ++i) {
    if (shared_[i].key == key) return Outcome{nullptr, i + 1, shared_[i].reported};
  }
  const auto at = entries_.find(key);
  if (at == entries_.end()) return std::nullopt;
  auto& e = at->second;
  if (++e.clients < 2 || shared_.size() == kMostShared) return Outcome{e.overrides, 0, nullptr};
  auto told = reported ? *reported : pool::SettingSet{};
  for (const auto& [name, value] : e.overrides ? *e.overrides : pool::SettingSet{}) {
    if (told.find(name)) told.set(name, value);
  }
  shared_.push_back({key, e.settings, std::make_shared<pool::SettingSet>(std::move(told))});
  return Outcome{nullptr, shared_.size(), shared_.back().reported};
}

void StartupSets::accepted(const std::string& key, const pool::SettingSet& settings,
                           const pool::Settings& overrides) {
  if (key.size() > kLongest) return;
  auto kept = std::make_shared<pool::SettingSet>(settings);
  kept->erase(kApplication);
  std::lock_guard lock(mutex_);
  if (entries_.size() >= kMost) entries_.clear();
  entries_[key] = {std::move(kept), pool::without(overrides, kApplication), 1};
}

pool::Settings StartupSets::of(std::uint64_t startup) const {
  std::lock_guard lock(mutex_);
  return startup == 0 || startup > shared_.size() ? nullptr : shared_[startup - 1].settings;
}

pool::Settings StartupSets::note_reported(std::uint64_t startup, pool::SettingSet values) {
  std::lock_guard lock(mutex_);
  if (startup == 0 || startup > shared_.size()) return std::make_shared<pool::SettingSet>(std::move(values));
  auto& reported = shared_[startup - 1].reported;
  if (!reported || !(*reported == values)) reported = std::make_shared<pool::SettingSet>(std::move(values));
  return reported;
}

}  // namespace sidepool::worker
