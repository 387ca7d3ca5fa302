// src/app/app.h -- the control loop: the order of start, reload and drain. Owns everything else.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/admin/health.h"
#include "src/admin/http.h"
#include "src/admin/reach_probe.h"
#include "src/app/connection_test.h"
#include "src/base/result.h"
#include "src/base/watched_files.h"
#include "src/cli/parse.h"
#include "src/cloudsql/source.h"
#include "src/io/handle.h"
#include "src/io/listener.h"
#include "src/io/loop.h"
#include "src/upstream/resolver.h"
#include "src/worker/worker.h"

namespace sidepool::app {

// systemd's readiness protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET, if there is one.
void notify_systemd(const char* state);

class App {
 public:
  App(cli::RunConfig run, const cli::Inputs& inputs);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  // Binds everything; after this clients are served. An error is one sentence for the terminal.
  Status start();
  // Until a signal or /quitquitquit has ended it; the exit code.
  int run();

 private:
  struct Door {  // one listener and what its clients may do
    App* app;
    std::shared_ptr<const worker::Entrance> entrance;
    std::unique_ptr<io::Listener> listener;
  };
  struct Beat {  // of one loop, written by the control loop, read by HTTP threads
    std::string name;
    std::uint64_t turns = 0;
    std::atomic<std::int64_t> last_ms{0};
  };
  // Lingering: new clients are still let in (--min-sigterm-delay).
  enum class Ending : std::uint8_t { No, Lingering, Draining, Cutting };

  // start.cpp
  void check_open_files();
  Status start_cloudsql();
  std::shared_ptr<const upstream::SocksProxy> socks_proxy() const;
  Status start_upstreams();
  Status start_workers();
  Status open_doors();
  Status open_door(std::uint16_t upstream, const conf::Upstream& conf, const conf::Listener& where,
                   const tls::Context& tls);
  // Null: the listeners of this upstream offer no TLS.
  static Result<tls::Context> listener_tls(const conf::ClientTls& conf);
  // What a reload may change about a door, for clients that come from now on.
  static void furnish(Door& door, const conf::Upstream& conf, const tls::Context& tls);
  // What a listener that could not be opened means.
  Status not_opened(const conf::Upstream& conf, const conf::Listener& where, const Error& error);
  Status start_http();
  // announce(), or the connection test and then announce().
  void begin();
  void on_tested(const std::vector<std::string>& failures);
  void announce();
  void watch_signals();

  void on_accept(Door& door, io::Fd fd, const io::SocketAddress& peer);
  void on_signal(int number);
  void on_tick();
  void on_wake();
  void beat();
  void publish_instances();
  void watch_files();
  void reload();
  bool refurnish_all();
  bool refurnish(const conf::Upstream& conf, std::uint16_t upstream);

  // ending.cpp
  void end(int code, const std::string& why);
  void end_when_idle();
  void on_drain_timer();
  void drain();
  void drain_step();
  void cut();
  std::uint32_t clients() const { return shared_.clients.load(); }
  bool transactions_open() const;
  bool cancels_something() const;

  const std::shared_ptr<const conf::Config>& config() const { return config_; }
  admin::Health health();
  void test_reach();

  cli::Invocation invocation_;
  const cli::Inputs inputs_;
  std::vector<cli::Note> notes_;
  std::shared_ptr<const conf::Config> config_;
  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<upstream::Resolver> resolver_;
  std::unique_ptr<cloudsql::CloudSql> cloudsql_;
  worker::Shared shared_;
  std::vector<std::unique_ptr<worker::Worker>> workers_;
  std::vector<std::unique_ptr<Door>> doors_;
  std::vector<std::unique_ptr<admin::HttpServer>> http_;
  std::vector<std::unique_ptr<Beat>> beats_;
  std::vector<io::Handle<uv_signal_t>> signals_;
  std::vector<cloudsql::InstanceStatus> instances_;  // as last published
  std::unique_ptr<ConnectionTest> test_;
  std::unique_ptr<ConnectionTest> reach_test_;  // the last one for reach_
  TimerNode tick_, drain_;
  protocol::Buffer refusal_;  // for connections that no descriptor is left for
  std::atomic<admin::Life> life_{admin::Life::Starting};
  std::atomic<bool> quit_{false};
  std::atomic<bool> reach_wanted_{false};
  admin::ReachProbe reach_{[this] {
    reach_wanted_ = true;
    loop_->wake();
  }};
  std::atomic<bool> started_{false};  // every instance has had connection information once
  std::mutex moved_mutex_;
  std::vector<cloudsql::InstanceKey> moved_;       // guarded: DNS names that stand for another instance now
  std::atomic<std::uint32_t> max_client_conn_{0};  // of config_, for the threads of the HTTP servers
  WatchedFiles files_;
  Ending ending_ = Ending::No;
  int exit_code_ = 0;
  Time drain_until_{};
  bool explicit_delay_ = false;
  std::uint64_t startups_seen_ = 0;  // by end_when_idle()
  Time idle_since_{};
  std::size_t next_worker_ = 0;
};

}  // namespace sidepool::app
