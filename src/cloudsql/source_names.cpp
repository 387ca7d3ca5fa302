// cloudsql/source_names.cpp -- which instance a refresh is about: what DNS names stand for, and when that
// changes.
#include <algorithm>
#include <optional>
#include <utility>

#include "src/cloudsql/source.h"

namespace sidepool::cloudsql {

// nullopt: there is no answer, or nothing is lost by asking again.
std::optional<NameAnswer> CloudSql::answer_in_use(const InstanceKey& key, Now now) const {
  const auto known = answers_.find(key.dns_name);
  if (known == answers_.end()) return std::nullopt;
  const bool used = std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) {
    return e.first.dns_name == key.dns_name && e.second->schedule.valid(now.wall);
  });
  return used ? std::optional{known->second} : std::nullopt;
}

// The name has come to stand for something else while a refresh ran for this answer.
bool CloudSql::outdated(const InstanceKey& key, const NameAnswer& answer) const {
  const auto known = answers_.find(key.dns_name);
  return known != answers_.end() && !known->second.same(answer);
}

CallResult<NameAnswer> CloudSql::ask_dns(const InstanceKey& key) {
  auto answer = look_up(key.dns_name, dns_);
  if (!answer) {
    const bool certain = answer.error().reason == "name";
    return tl::unexpected(CallFailure{std::move(answer.error()),
                                      certain ? FailureKind::Refused : FailureKind::Transport, Millis{0}});
  }
  bool news = true;
  {
    const std::lock_guard lock{mutex_};
    const auto known = answers_.find(key.dns_name);
    news = known == answers_.end() || !known->second.same(*answer);
    answers_.insert_or_assign(key.dns_name, *answer);
  }
  if (auto watched = names_.watch(key.dns_name, *answer); !watched)
    return tl::unexpected(CallFailure{std::move(watched.error()), FailureKind::Transport, Millis{0}});
  if (news) log(LogLevel::Info, key.dns_name + " stands for " + answer->text());
  return std::move(*answer);
}

CallResult<ReachedInstance> CloudSql::reach(const InstanceKey& key, const NameAnswer* answer,
                                            const Means& means) {
  if (!answer) return ReachedInstance{key.instance};
  if (const auto* instance = std::get_if<InstanceName>(&answer->target))
    return ReachedInstance{*instance, answer->host};
  const auto& google = std::get<GoogleName>(answer->target);
  {
    const std::lock_guard lock{mutex_};
    const auto known = google_names_.find(google.name);
    if (known != google_names_.end()) return ReachedInstance{known->second, answer->host};
  }
  auto found = means.api.resolve(google, means.admin, means.caller);
  if (!found) return tl::unexpected(std::move(found.error()));
  const std::lock_guard lock{mutex_};
  google_names_.insert_or_assign(google.name, *found);
  return ReachedInstance{std::move(*found), answer->host};
}

void CloudSql::renamed(const std::string& name, const NameAnswer& now) {
  const Now at = now_();
  {
    const std::lock_guard lock{mutex_};
    const auto known = answers_.find(name);
    if (known == answers_.end()) return;  // removed meanwhile
    known->second = now;
    for (auto& [key, entry] : entries_)
      if (key.dns_name == name) entry->schedule.replaced(at);
    woken_ = true;
  }
  changed_.notify_one();
  log(LogLevel::Info, "two lookups agree: " + name + " stands for " + now.text() + " from now on");
}

}  // namespace sidepool::cloudsql
