// src/worker/pool_entry.cpp -- see pool_entry.h.
#include "src/worker/pool_entry.h"

#include <memory>

namespace sidepool::worker {

PoolEntry::PoolEntry(Upstream& up, std::string db, std::string role)
    : upstream(up), database(std::move(db)), user(std::move(role)) {}

pool::Settings PoolEntry::reported() const {
  std::lock_guard lock(mutex_);
  return reported_;
}

pool::Settings PoolEntry::note_reported(pool::SettingSet values) {
  std::lock_guard lock(mutex_);
  if (!reported_ || !(*reported_ == values))
    reported_ = std::make_shared<pool::SettingSet>(std::move(values));
  return reported_;
}

}  // namespace sidepool::worker
