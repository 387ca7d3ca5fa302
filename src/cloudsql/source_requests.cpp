// cloudsql/source_requests.cpp -- who waits for connection information, and what they are answered.
#include <utility>

#include "src/cloudsql/source.h"

namespace sidepool::cloudsql {
namespace {

Error stopped_error() { return {Errc::Io, 0, "sidepool is stopping", "stopped"}; }

}  // namespace

InfoPtr CloudSql::current(const InstanceKey& key) const {
  const Now now = now_();
  const std::lock_guard lock{mutex_};
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  const Entry& entry = *found->second;
  return entry.schedule.serves_at_once(now) ? entry.info : nullptr;
}

void CloudSql::request(const InstanceKey& key, Callback callback, std::uint64_t unreached) {
  {
    const std::lock_guard lock{mutex_};
    if (!stopped_) {
      requests_.push_back({key, std::move(callback), unreached});
      callback = nullptr;
    }
  }
  if (callback) return callback(tl::unexpected(stopped_error()));
  changed_.notify_one();
}

std::vector<CloudSql::Delivery> CloudSql::answer_requests(Now now) {
  std::vector<Delivery> out = std::move(orphans_);
  orphans_.clear();
  for (auto& [key, callback, unreached] : requests_) {
    Entry& entry = entry_of(key);
    const bool stale = unreached != 0 && entry.info && entry.info->epoch == unreached;
    switch (stale ? entry.schedule.on_unreached(now) : entry.schedule.on_client(now)) {
      case RefreshSchedule::Answer::Serve:
        out.emplace_back(std::move(callback), entry.info);
        break;
      case RefreshSchedule::Answer::Wait:
        entry.waiters.push_back(std::move(callback));
        break;
      case RefreshSchedule::Answer::Fail:
        out.emplace_back(std::move(callback), tl::unexpected(entry.last_error));
        break;
    }
  }
  requests_.clear();
  return out;
}

std::vector<CloudSql::Delivery> CloudSql::give_up() {
  std::vector<Delivery> out = std::move(orphans_);
  orphans_.clear();
  for (Request& request : requests_)
    out.emplace_back(std::move(request.callback), tl::unexpected(stopped_error()));
  for (auto& [key, entry] : entries_)
    for (Callback& waiter : entry->waiters)
      out.emplace_back(std::move(waiter), tl::unexpected(stopped_error()));
  requests_.clear();
  entries_.clear();
  return out;
}

void CloudSql::deliver(std::vector<Delivery>&& deliveries) {
  for (auto& [callback, answer] : deliveries) callback(std::move(answer));
}

}  // namespace sidepool::cloudsql
