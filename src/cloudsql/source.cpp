// cloudsql/source.cpp -- the doors into the api thread.
#include "src/cloudsql/source.h"

#include <time.h>

#include <algorithm>
#include <random>
#include <system_error>

#include "src/cloudsql/client_key.h"
#include "src/cloudsql/principal.h"

namespace sidepool::cloudsql {
namespace {

Millis read_clock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return std::chrono::floor<Millis>(std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec});
}

Now system_now() {
  return {std::chrono::floor<Millis>(std::chrono::system_clock::now()), read_clock(CLOCK_BOOTTIME),
          read_clock(CLOCK_MONOTONIC)};
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
    if (!source->lazy_) static_cast<void>(source->begin_key());
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
      tokens_(std::move(credentials), std::move(reload)),
      api_(std::move(options.api)),
      key_(std::move(options.key)),
      random_(options.random ? std::move(options.random) : system_random()),
      names_(
          dns_, now_, [this](const std::string& name, const NameAnswer& answer) { renamed(name, answer); },
          [this](std::string_view text) { log(LogLevel::Warning, text); }) {
  if (!send_)
    send_ = [curl = std::make_shared<CurlClients>(stopping_, process_http_proxies(), process_ca_paths())](
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

bool CloudSql::at_rest() const {
  const std::lock_guard lock{mutex_};
  return !woken_ && running_.empty() && requests_.empty() && orphans_.empty() && !next_refresh(now_());
}

void CloudSql::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  {
    const std::lock_guard lock{mutex_};
    stopped_ = true;
  }
  changed_.notify_one();
  stopping_changed_.notify_all();
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

}  // namespace sidepool::cloudsql
