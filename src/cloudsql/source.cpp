// cloudsql/source.cpp -- the api thread's loop and the doors into it.
#include "src/cloudsql/source.h"

#include <time.h>

#include <algorithm>
#include <random>
#include <system_error>

#include "src/cloudsql/client_key.h"
#include "src/cloudsql/principal.h"

namespace sidepool::cloudsql {
namespace {

// Condition variables sleep by a clock that stops while the machine does, and certificates end by one that
// people set: so the loop looks at both at least this often.
constexpr Millis kMaxSleep = std::chrono::seconds{30};

Millis read_clock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return std::chrono::floor<Millis>(std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec});
}

Now system_now() {
  return {std::chrono::floor<Millis>(std::chrono::system_clock::now()), read_clock(CLOCK_BOOTTIME),
          read_clock(CLOCK_MONOTONIC)};
}

std::string whole_seconds(Millis t) {
  return std::to_string(std::chrono::round<std::chrono::seconds>(t).count()) + " s";
}

std::function<double()> system_random() {
  return [engine = std::mt19937_64{std::random_device{}()}]() mutable {
    return std::uniform_real_distribution<double>{0.0, 1.0}(engine);
  };
}

}  // namespace

Result<std::unique_ptr<CloudSql>> CloudSql::start(SourceOptions options) {
  const auto what = std::make_shared<const CredentialOptions>(std::move(options.credentials));
  const auto env = std::make_shared<const Environment>(std::move(options.environment));
  auto credentials = load_credentials(*what, *env);
  if (!credentials) return tl::unexpected(std::move(credentials.error()));
  ApiOptions& api = options.api;
  if (api.endpoint.empty()) api.endpoint = default_endpoint(*what, *env);
  const bool clear_text = api.endpoint.starts_with("http://") && !is_loopback_url(api.endpoint);
  const std::string endpoint = api.endpoint;
  std::unique_ptr<CloudSql> source{new CloudSql{std::move(options), std::move(*credentials),
                                                [what, env] { return load_credentials(*what, *env); },
                                                token_info_url(endpoint, universe_of(*what, *env))}};
  source->log(LogLevel::Info, source->tokens_.credentials().description);
  if (clear_text)
    source->log(LogLevel::Warning, endpoint + " is not https: access tokens travel in clear text");
  if (const std::string& who = source->tokens_.credentials().principal; !who.empty())
    source->set_principal(who);
  try {
    if (!source->lazy_) source->begin_key();
    source->thread_ = std::thread{[raw = source.get()] { raw->run(); }};
  } catch (const std::system_error& e) {
    return fail(Errc::Limit, "the api thread could not be started", e.code().value(), "threads");
  }
  return source;
}

CloudSql::CloudSql(SourceOptions options, Credentials credentials, TokenCache::Reload reload,
                   std::string token_info_url)
    : log_(std::move(options.log)),
      lazy_(options.lazy),
      quota_project_given_(!options.api.quota_project.empty()),
      now_(options.now ? std::move(options.now) : system_now),
      token_info_url_(std::move(token_info_url)),
      moved_(std::move(options.moved)),
      dns_(options.dns.txt ? std::move(options.dns)
                           : system_lookups(dns::Client{std::move(options.dns_servers), &stopping_})),
      send_(std::move(options.send)),
      run_(std::move(options.run)),
      random_(options.random ? std::move(options.random) : system_random()),
      tokens_(std::move(credentials), std::move(reload)),
      api_(std::move(options.api)),
      key_(std::move(options.key)),
      names_(
          dns_, now_, [this](const std::string& name, const NameAnswer& answer) { renamed(name, answer); },
          [this](std::string_view text) { log(LogLevel::Warning, text); }) {
  if (!send_)
    send_ = [curl = std::make_shared<CurlHttp>(stopping_, process_http_proxies(), process_ca_paths())](
                const HttpRequest& request) { return curl->send(request); };
  use_quota_project();
  if (!run_) run_ = [this](const Command& command) { return run_command(command, stopping_); };
}

CloudSql::~CloudSql() { stop(); }

void CloudSql::add(const InstanceKey& key) {
  {
    const std::lock_guard lock{mutex_};
    static_cast<void>(entry_of(key));
    woken_ = true;
  }
  changed_.notify_one();
}

void CloudSql::remove(const InstanceKey& key) {
  {
    const std::lock_guard lock{mutex_};
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    // A refresh that runs for it keeps the entry alive, finds nobody waiting, and its result goes with the
    // entry.
    for (Callback& waiter : found->second->waiters)
      orphans_.emplace_back(std::move(waiter),
                            fail(Errc::Config, "the instance is no longer configured", 0, "removed"));
    found->second->waiters.clear();
    entries_.erase(found);
    const bool named = std::any_of(entries_.begin(), entries_.end(),
                                   [&](const auto& e) { return e.first.dns_name == key.dns_name; });
    if (!named) {
      answers_.erase(key.dns_name);
      names_.forget(key.dns_name);
    }
  }
  changed_.notify_one();
}

void CloudSql::report_dial_failure(const InstanceKey& key, std::uint64_t epoch, DialFailure kind) {
  const Now now = now_();
  {
    const std::lock_guard lock{mutex_};
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    Entry& entry = *found->second;
    ++entry.stats.dial_failures;
    if (!entry.info || entry.info->epoch != epoch) return;
    if (kind == DialFailure::Tcp) entry.schedule.force(now);
    if (kind == DialFailure::Certificate) entry.schedule.suspect(now);
    woken_ = true;
  }
  changed_.notify_one();
}

std::vector<InstanceStatus> CloudSql::status() const {
  const WallTime wall = now_().wall;
  const std::lock_guard lock{mutex_};
  std::vector<InstanceStatus> out;
  out.reserve(entries_.size());
  for (const auto& [key, entry] : entries_) {
    out.push_back(entry->stats);
    out.back().valid = entry->schedule.valid(wall);
    out.back().failing = entry->schedule.failures() > 0;
  }
  return out;
}

std::string CloudSql::principal() const {
  const std::lock_guard lock{mutex_};
  return principal_;
}

void CloudSql::wake() {
  {
    const std::lock_guard lock{mutex_};
    woken_ = true;
  }
  changed_.notify_one();
  names_.wake();
}

void CloudSql::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
  }
  changed_.notify_all();
  names_.stop();
  if (thread_.joinable()) thread_.join();
}

CloudSql::Entry& CloudSql::entry_of(const InstanceKey& key) {
  EntryPtr& entry = entries_[key];
  if (!entry) entry = std::make_shared<Entry>(key, lazy_);
  return *entry;
}

void CloudSql::log(LogLevel level, std::string_view text) const {
  if (log_) log_(level, text);
}

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
    if (auto answers = answer_requests(now); !answers.empty()) {
      lock.unlock();
      deliver(std::move(answers));
      lock.lock();
      continue;
    }
    if (const EntryPtr entry = next_refresh(now)) {
      refresh(entry, lock);
      continue;
    }
    const Millis sleep = std::clamp(next_wake(now) - now.boot, Millis{1}, kMaxSleep);
    until = now.boot + sleep;
    changed_.wait_for(lock, sleep,
                      [this] { return stopped_ || woken_ || !requests_.empty() || !orphans_.empty(); });
  }
  auto rest = give_up();
  lock.unlock();
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
CloudSql::EntryPtr CloudSql::next_refresh(Now now) {
  EntryPtr found;
  for (auto& [key, entry] : entries_) {
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

void CloudSql::refresh(const EntryPtr& entry, std::unique_lock<std::mutex>& lock) {
  const Now started = now_();
  entry->schedule.started(started);
  auto answer = answer_in_use(entry->key, started);
  lock.unlock();
  auto result = fetch(*entry, answer);
  const bool done = result.has_value();
  lock.lock();
  auto settled = settle(*entry, std::move(result), started);
  if (answer && outdated(entry->key, *answer)) entry->schedule.replaced(started);
  lock.unlock();
  if (!settled.news.empty()) log(settled.level, settled.news);
  if (settled.moved && moved_) moved_(entry->key);
  deliver(std::move(settled.answers));
  if (done) learn_principal();  // last, so that nobody waits for it
  lock.lock();
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
