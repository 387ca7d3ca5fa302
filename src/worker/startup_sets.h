// src/worker/startup_sets.h -- the startup settings that a pool's clients bring, what a server made of them,
// and the sets for which servers of their own are opened.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "pool/settings.h"

namespace sidepool::worker {

// Startup parameters are what every RESET returns to, so a server opened with a set belongs to the clients
// that bring exactly that set: they need no replay (product.md §5). The first few sets that a second client
// brings get servers of their own (sub-pools inside the pool's bound); all others are replayed on servers
// opened with the operator's parameters. A few, because servers cannot change between sets and a bound that
// is shared by many would be spent on logins. application_name is left out of sets: its replay costs no round
// trip.
//
// Of one pool, shared by all workers: mutex_ guards everything. Bounded.
class StartupSets {
 public:
  struct Outcome {
    pool::Settings overrides;   // the set as a server of the operator's spells it
    std::uint64_t startup = 0;  // not 0: the broker's key of the sub-pool, whose servers report `reported`
    pool::Settings reported;
  };

  // The canonical text of a set, without application_name; empty when nothing else is in it.
  static std::string key_of(const pool::SettingSet& settings);

  // Nothing: no server has tried this set yet. Counts the client. `reported`: of the operator's servers.
  std::optional<Outcome> known(const std::string& key, const pool::Settings& reported);
  // A server has accepted `settings`, which made these overrides.
  void accepted(const std::string& key, const pool::SettingSet& settings, const pool::Settings& overrides);

  // What servers of the sub-pool are opened with; null for 0 and for a set that is not known.
  pool::Settings of(std::uint64_t startup) const;
  // The canonical object for what such a server reports.
  pool::Settings note_reported(std::uint64_t startup, pool::SettingSet values);

 private:
  struct Entry {
    pool::Settings settings, overrides;
    std::uint32_t clients = 0;
  };
  // A sub-pool; its number for the broker is its place plus one. Never removed: servers carry the number.
  struct Shared {
    std::string key;
    pool::Settings settings, reported;
  };
  static constexpr std::size_t kMost = 256, kLongest = 4096, kMostShared = 4;

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::vector<Shared> shared_;
};

}  // namespace sidepool::worker
