// cloudsql/source.h -- keeps the connection information of every instance fresh and hands it out: the api
// thread, which decides when, and a thread for each refresh that runs.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/cloudsql/api.h"
#include "src/cloudsql/connection_info.h"
#include "src/cloudsql/credentials.h"
#include "src/cloudsql/log_gate.h"
#include "src/cloudsql/name_watch.h"
#include "src/cloudsql/refresh.h"
#include "src/cloudsql/token.h"

namespace sidepool::cloudsql {

enum class LogLevel : std::uint8_t { Debug, Info, Warning, Error };
// Called on the threads of this file, on the one that watches names, on start()'s caller, and never under a
// lock that a method of CloudSql takes. Never gets a secret.
using LogHook = std::function<void(LogLevel, std::string_view)>;

// What a dial with some connection information ran into.
enum class DialFailure : std::uint8_t {
  Tcp,          // the address may have changed: fetch anew
  Certificate,  // handshake failure or an alert about our certificate before the first server byte: replace
                // it
};

struct SourceOptions {
  CredentialOptions credentials{};
  Environment environment{};
  ApiOptions api{};   // no endpoint: sqladmin in the universe of the credentials
  bool lazy = false;  // --lazy-refresh: nothing is fetched before a client needs it
  LogHook log{};
  // A DNS name stands for another instance, whose connection information is what current() gives from now on.
  // Connections made with the earlier one still lead to the old instance. Called on the thread of a refresh,
  // outside every lock.
  std::function<void(const InstanceKey&)> moved{};
  std::vector<std::string> dns_servers{};  // for names of instances; see dns::Client
  // Seams for tests, thread-safe but for random(); what is not set is libcurl, c-ares, real processes, the
  // system's clocks, its randomness and a fresh key.
  HttpSend send{};
  DnsLookups dns{};
  RunCommand run{};
  std::function<Now()> now{};
  std::function<double()> random{};
  tls::KeyPtr key{};
};

// Why refreshes failed. `api_code` is the connector's label: Google's errors[].reason, comma-joined; nothing
// unless the Admin API answered with an error.
struct RefreshFailure {
  std::string reason;
  std::string api_code{};
  friend auto operator<=>(const RefreshFailure&, const RefreshFailure&) = default;
};

struct InstanceStatus {
  InstanceKey key;
  bool valid = false;           // a dial would be served now
  bool failing = false;         // the last refresh failed
  WallTime expires{};           // of the certificate in use; the epoch if there never was one
  std::uint64_t successes = 0;  // refreshes
  // At most 32 different ones; further ones count as "other", because the words are the answer's.
  std::map<RefreshFailure, std::uint64_t> failures{};
  std::uint64_t dial_failures = 0;
  Millis last_refresh{0};    // how long the last successful refresh took, tokens included
  std::string last_error{};  // empty while things go well
};

// Any thread may call any method, except stop(), which must not be called from a callback.
//
// A DNS name is looked up before the first refresh and, as long as no entry of it has a valid certificate,
// before each; then it is watched (NameWatch), and an entry changes over when the new instance's connection
// information is there: until then, and if it cannot be had, the old one's is used.
//
// A refresh belongs to the entry, not to who asked: callers that stop waiting change nothing. Entries are
// never dropped for failing, so their limiter and their memory of the last error hold whatever clients do. Up
// to kRefreshesAtOnce run side by side: an instance whose calls hang keeps no other one waiting.
class CloudSql {
 public:
  static constexpr std::size_t kRefreshesAtOnce = 8;
  using Answer = Result<InfoPtr>;
  // Called exactly once, on a thread of this object's and outside every lock: post to your own mailbox and
  // return. It must not throw. After stop() it is called at once, on the caller's thread, with an error.
  using Callback = std::function<void(Answer)>;

  // Reads the credential files, then starts the api thread and, beside it, the making of the key. No network
  // yet.
  static Result<std::unique_ptr<CloudSql>> start(SourceOptions options);
  ~CloudSql();
  CloudSql(const CloudSql&) = delete;
  CloudSql& operator=(const CloudSql&) = delete;

  // Keeps this entry fresh from now on, whether anybody asks or not.
  void add(const InstanceKey& key);
  // Ends it; who waits for it gets an error.
  void remove(const InstanceKey& key);

  // What is there if it may be used now and nothing better is on its way, else nullptr: then request(). Never
  // waits.
  InfoPtr current(const InstanceKey& key) const;
  // Adds the entry if need be. A failing instance without a valid certificate answers with the last error at
  // once. `unreached`: the epoch of information that has led nowhere; while it is what is there, the answer
  // waits for a refresh that runs or may start now.
  void request(const InstanceKey& key, Callback callback, std::uint64_t unreached = 0);
  // `epoch`: of the information that was dialled with. Reports about a replaced one are counted and otherwise
  // ignored.
  void report_dial_failure(const InstanceKey& key, std::uint64_t epoch, DialFailure kind);

  std::vector<InstanceStatus> status() const;
  bool lazy() const noexcept { return lazy_; }
  // E-mail of the principal; empty while it is not known (whoever knows is asked once, after the first
  // refresh).
  std::string principal() const;

  // Makes the api thread look at its clocks again (a test moved them, a signal says the machine was resumed).
  void wake();
  // Nothing runs, is due, or waits for an answer. For tests, whose clocks stand.
  bool at_rest() const;
  // Interrupts what runs (within a second), answers who waits, joins the threads. Called again it does
  // nothing.
  void stop();

 private:
  struct Entry {
    Entry(InstanceKey name, bool lazy) : key(std::move(name)), schedule(lazy) { stats.key = key; }
    const InstanceKey key;
    RefreshSchedule schedule;
    InfoPtr info;
    std::vector<Callback> waiters;
    Error last_error;
    LogGate gate;
    InstanceStatus stats;
    // The running refresh's: of the one before if its certificate was refused, soon after it. A refusal costs
    // one call, whichever of the two calls it is.
    std::optional<ConnectSettings> settings{};
    BootTime settings_at{0};
    InstanceName settings_of{};
  };
  using EntryPtr = std::shared_ptr<Entry>;
  using Delivery = std::pair<Callback, Answer>;
  struct Request {
    InstanceKey key;
    Callback callback;
    std::uint64_t unreached;
  };

  // What a refresh makes its calls with: its own, because several run.
  struct Means {
    Caller caller;
    SqlAdmin api;
    Token admin;
  };

  // The outcome of a refresh, to be carried out without the lock.
  struct Settled {
    std::vector<Delivery> answers;
    LogLevel level = LogLevel::Info;
    std::string news;  // empty: nothing to log
    bool moved = false;
  };

  CloudSql(SourceOptions options, Credentials credentials, TokenCache::Reload reload,
           std::string token_info_url);

  // Under the lock.
  Entry& entry_of(const InstanceKey& key);
  std::string look_at_clock(Now now, BootTime until);
  std::vector<Delivery> answer_requests(Now now);
  EntryPtr next_refresh(Now now) const;
  BootTime next_wake(Now now) const;
  std::optional<Settled> begin_refresh(const EntryPtr& entry, Now now);
  Settled settle(Entry& entry, CallResult<InfoPtr> result, Now started);
  static std::string note_failure(Entry& entry, CallFailure failure, Now now);
  std::optional<NameAnswer> answer_in_use(const InstanceKey& key, Now now) const;
  bool outdated(const InstanceKey& key, const NameAnswer& answer) const;
  std::vector<Delivery> give_up();

  // Without a lock: on the api thread
  void run();
  // and on those of the refreshes.
  void refresh(Entry& entry, std::optional<NameAnswer> answer, Now started);
  void conclude(const Entry& entry, Settled&& outcome);
  CallResult<InfoPtr> fetch(Entry& entry, std::optional<NameAnswer>& answer);
  CallResult<ConnectSettings> settings_of(Entry& entry, const InstanceName& instance, const Means& means);
  CallResult<ReachedInstance> reach(const InstanceKey& key, const NameAnswer* answer, const Means& means);
  CallResult<NameAnswer> ask_dns(const InstanceKey& key);
  void renamed(const std::string& name, const NameAnswer& now);
  CallResult<Token> token(Scope scope, const Caller& caller);
  void distrust(Scope scope, const Token& refused);
  SqlAdmin api() const;
  Status begin_key();
  Status ensure_key();
  void look_at_credentials();
  void use_quota_project();
  void learn_principal();
  void set_principal(const std::string& name);
  Caller caller_within(BootTime deadline);
  bool pause(Millis time, BootTime deadline);

  void log(LogLevel level, std::string_view text) const;
  static void deliver(std::vector<Delivery>&& deliveries);

  // Set before the thread starts and never changed; what is called is thread-safe.
  const LogHook log_;
  const bool lazy_;
  const bool quota_project_given_;  // by option, which wins over the credentials'
  const std::function<Now()> now_;
  const std::string token_info_url_;
  const std::function<void(const InstanceKey&)> moved_;
  const DnsLookups dns_;
  HttpSend send_;
  RunCommand run_;

  std::atomic<std::uint64_t> last_epoch_{0};

  // Guards what all refreshes use; taken before mutex_. Held while a token is fetched, which is how all of
  // them get the same one, and while the key is being made.
  mutable std::mutex means_mutex_;
  TokenCache tokens_;
  SqlAdmin api_;
  std::future<tls::KeyPtr> key_making_;
  tls::KeyPtr key_;  // once made it stays, and may be read without the lock by who has seen it made
  std::string public_key_;
  std::array<LogGate, 2> token_gates_;
  LogGate credentials_gate_;
  bool principal_asked_ = false;

  mutable std::mutex mutex_;                  // guards what follows
  std::condition_variable changed_;           // for the api thread
  std::condition_variable stopping_changed_;  // for refreshes between two tries
  std::function<double()> random_;
  ClockWatch clock_;
  std::list<std::thread> running_, over_;             // refreshes
  std::map<std::string, InstanceName> google_names_;  // what the API has said of them
  std::map<InstanceKey, EntryPtr> entries_;
  std::map<std::string, NameAnswer> answers_;  // what each DNS name stands for
  std::vector<Request> requests_;
  std::vector<Delivery> orphans_;  // answers for who waited on a removed entry
  std::string principal_;
  bool woken_ = false;  // something the loop sleeps on has changed; a notification alone is not seen
  bool stopped_ = false;

  std::atomic<bool> stopping_{false};
  NameWatch names_;
  std::thread thread_;
};

}  // namespace sidepool::cloudsql
