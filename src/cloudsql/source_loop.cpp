// cloudsql/source_loop.cpp -- the api thread's loop, and how a refresh begins and ends.
#include <algorithm>
#include <system_error>
#include <utility>

#include "src/cloudsql/source.h"

namespace sidepool::cloudsql {
namespace {

// Condition variables sleep by a clock that stops while the machine does, and certificates end by one that
// people set: so the loop looks at both at least this often.
constexpr Millis kMaxSleep = std::chrono::seconds{30};

std::string whole_seconds(Millis t) {
  return std::to_string(std::chrono::round<std::chrono::seconds>(t).count()) + " s";
}

}  // namespace

void CloudSql::run() {
  std::unique_lock lock{mutex_};
  BootTime until = BootTime::max();
  while (!stopped_) {
    woken_ = false;
    const Now now = now_();
    if (const auto news = look_at_clock(now, std::exchange(until, BootTime::max())); !news.empty()) {
      lock.unlock();
      log(LogLevel::Info, news);
      lock.lock();
    }
    if (!over_.empty()) {
      auto over = std::exchange(over_, {});
      lock.unlock();
      for (auto& thread : over) thread.join();
      lock.lock();
      continue;
    }
    if (auto answers = answer_requests(now); !answers.empty()) {
      lock.unlock();
      deliver(std::move(answers));
      lock.lock();
      continue;
    }
    const bool room = running_.size() < kRefreshesAtOnce;
    if (const EntryPtr entry = room ? next_refresh(now) : nullptr) {
      if (auto failed = begin_refresh(entry, now)) {
        lock.unlock();
        conclude(*entry, std::move(*failed));
        lock.lock();
      }
      continue;
    }
    const Millis sleep = room ? std::clamp(next_wake(now) - now.boot, Millis{1}, kMaxSleep) : kMaxSleep;
    until = now.boot + sleep;
    changed_.wait_for(lock, sleep,
                      [this] { return stopped_ || woken_ || !requests_.empty() || !orphans_.empty(); });
  }
  changed_.wait(lock, [this] { return running_.empty(); });
  auto rest = give_up();
  auto over = std::exchange(over_, {});
  lock.unlock();
  for (auto& thread : over) thread.join();
  deliver(std::move(rest));
}

// What to log, empty if time went by as always.
std::string CloudSql::look_at_clock(Now now, BootTime until) {
  using Event = ClockWatch::Event;
  const auto seen = clock_.look(now, until);
  switch (seen.event) {
    case Event::None:
      break;
    case Event::WallMoved:
      for (auto& [key, entry] : entries_) entry->schedule.force(now);
      return "the wall clock was moved by " + whole_seconds(seen.by) + ": certificates are fetched anew";
    case Event::Slept:
      return "the machine slept for " + whole_seconds(seen.by);
    case Event::Frozen:
      return "the process did not run for " + whole_seconds(seen.by) + " (a throttled or frozen container?)";
  }
  return {};
}

// Entries with somebody waiting come first.
CloudSql::EntryPtr CloudSql::next_refresh(Now now) const {
  EntryPtr found;
  for (const auto& [key, entry] : entries_) {
    if (!entry->schedule.should_start(now)) continue;
    if (!found || (found->waiters.empty() && !entry->waiters.empty())) found = entry;
  }
  return found;
}

BootTime CloudSql::next_wake(Now now) const {
  BootTime at = now.boot + kMaxSleep;
  for (const auto& [key, entry] : entries_) at = std::min(at, entry->schedule.wake_at(now));
  return at;
}

// What to tell if there is no thread to be had.
std::optional<CloudSql::Settled> CloudSql::begin_refresh(const EntryPtr& entry, Now now) {
  entry->schedule.started(now);
  const auto at = running_.emplace(running_.end());
  try {
    *at = std::thread{[this, entry, at, answer = answer_in_use(entry->key, now), now]() mutable {
      refresh(*entry, std::move(answer), now);
      const std::lock_guard lock{mutex_};
      over_.splice(over_.end(), running_, at);
      woken_ = true;
      changed_.notify_one();
    }};
    return std::nullopt;
  } catch (const std::system_error& e) {
    running_.erase(at);
    Error error{Errc::Limit, e.code().value(), "no thread for a refresh", "threads"};
    return settle(*entry, tl::unexpected(unusable(std::move(error), entry->key.name())), now);
  }
}

void CloudSql::refresh(Entry& entry, std::optional<NameAnswer> answer, Now started) {
  auto result = fetch(entry, answer);
  const bool done = result.has_value();
  Settled outcome;
  {
    const std::lock_guard lock{mutex_};
    outcome = settle(entry, std::move(result), started);
    if (answer && outdated(entry.key, *answer)) entry.schedule.replaced(started);
    woken_ = true;
  }
  changed_.notify_one();
  conclude(entry, std::move(outcome));
  if (done) learn_principal();  // last, so that nobody waits for it
}

void CloudSql::conclude(const Entry& entry, Settled&& outcome) {
  if (!outcome.news.empty()) log(outcome.level, outcome.news);
  if (outcome.moved && moved_) moved_(entry.key);
  deliver(std::move(outcome.answers));
}

CloudSql::Settled CloudSql::settle(Entry& entry, CallResult<InfoPtr> result, Now started) {
  const Now now = now_();
  const std::string name = entry.key.name();
  Settled out;
  if (result && entry.schedule.succeeded(now, (*result)->expires, random_())) {
    out.moved = entry.info && entry.info->reached.instance != (*result)->reached.instance;
    entry.info = std::move(*result);
    entry.stats.expires = entry.info->expires;
    entry.stats.last_refresh = now.boot - started.boot;
    const bool news = ++entry.stats.successes == 1 || !entry.stats.last_error.empty() || out.moved;
    out.level = news ? LogLevel::Info : LogLevel::Debug;
    out.news =
        "fetched connection information of " + entry.info->reached.text() + ", valid for " +
        std::to_string(std::chrono::floor<std::chrono::seconds>(entry.info->expires - now.wall).count()) +
        " s";
    entry.stats.last_error.clear();
    entry.gate.reset();
  } else if (result) {
    out.level = LogLevel::Error;
    out.news = note_failure(
        entry,
        unusable(Error{Errc::Api, 0, "the new certificate of " + name + " is over on arrival", "clock"}, ""),
        now);
  } else {
    CallFailure& failure = result.error();
    entry.schedule.failed(now, failure.kind, failure.retry_after, random_());
    out.level = entry.schedule.valid(now.wall) ? LogLevel::Warning : LogLevel::Error;
    out.news = note_failure(entry, std::move(failure), now);
    if (stopped_) out.news.clear();
  }
  const bool usable = entry.schedule.valid(now.wall);
  for (Callback& waiter : entry.waiters)
    out.answers.emplace_back(std::move(waiter),
                             usable ? Answer{entry.info} : Answer{tl::unexpected(entry.last_error)});
  entry.waiters.clear();
  return out;
}

// The line to log, empty if this error has been logged in the last minute.
std::string CloudSql::note_failure(Entry& entry, CallFailure failure, Now now) {
  constexpr std::size_t kMostReasons = 32;
  auto& counts = entry.stats.failures;
  RefreshFailure why{failure.error.reason.empty() ? "unknown" : failure.error.reason,
                     std::move(failure.api_code)};
  if (counts.size() >= kMostReasons && !counts.contains(why)) why = {"other"};
  ++counts[why];
  entry.last_error = std::move(failure.error);
  entry.stats.last_error = entry.last_error.what;
  const auto pass = entry.gate.admit(entry.last_error.what, now.boot);
  if (!pass) return {};
  // Without a certificate every client fails: the Auth Proxy's line, which operators look for.
  const bool usable = entry.schedule.valid(now.wall);
  std::string line = usable ? std::string{} : "[" + entry.key.name() + "] failed to connect to instance: ";
  line += entry.last_error.what;
  const auto advice = remedy(entry.last_error);
  if (pass->first && !advice.empty()) line += ". " + std::string{advice};
  if (usable) line += " (the certificate in use is still valid)";
  if (pass->left_out > 0)
    line += " (the same " + std::to_string(pass->left_out) + " times more since it was last said)";
  return line;
}

}  // namespace sidepool::cloudsql
