// src/app/app.cpp -- what the control loop does while the process lives, and how it ends.
#include "src/app/app.h"

#include <algorithm>

#include "conf/diff.h"
#include "protocol/encode.h"
#include "src/base/log.h"
#include "src/base/memory_reserve.h"
#include "src/worker/client.h"

namespace sidepool::app {

namespace {

constexpr Duration kTick = std::chrono::seconds(1);

void refuse(io::Fd fd, const protocol::ErrorFields& why) {
  protocol::Buffer refusal;
  protocol::error_response(refusal, why);
  io::turn_away(std::move(fd), refusal);
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_now().time_since_epoch()).count();
}

}  // namespace

App::App(cli::RunConfig run, const cli::Inputs& inputs)
    : invocation_(std::move(run.invocation)),
      inputs_(inputs),
      notes_(std::move(run.notes)),
      config_(std::make_shared<const conf::Config>(std::move(run.config))),
      tick_([](TimerNode& n) noexcept { owner_of<&App::tick_>(n).on_tick(); }),
      drain_([](TimerNode& n) noexcept { owner_of<&App::drain_>(n).on_drain_timer(); }) {}

App::~App() {
  http_.clear();
  doors_.clear();
  test_.reset();
  reach_test_.reset();
  if (cloudsql_) cloudsql_->stop();
  for (auto& w : workers_) {
    w->loop().request_stop();
    w->join();
  }
  tick_.disarm();
  drain_.disarm();
  signals_.clear();
  workers_.clear();
  shared_.upstreams.clear();
}

int App::run() {
  loop_->run();
  log::stop();
  return exit_code_;
}

void App::on_accept(Door& door, io::Fd fd, const io::SocketAddress& peer) {
  // Somewhat above the limit a client still hears why it is refused, and a CancelRequest comes through.
  constexpr std::uint32_t kUnserved = 100;
  if (++shared_.clients > config_->server.max_client_conn + kUnserved) {
    --shared_.clients;
    registry_->client_refused("max_client_conn");
    return refuse(
        std::move(fd),
        {"FATAL", "53300", "too many clients (max_client_conn)", {}, "Raise server.max_client_conn."});
  }
  if (memory_is_short()) {
    --shared_.clients;
    registry_->client_refused("memory");
    static log::Limiter limiter(std::chrono::seconds(10));
    if (const auto more = limiter.pass(steady_now()))
      log::error("out of memory: new clients are refused", {{"left_out", *more}});
    return refuse(std::move(fd),
                  {"FATAL", "53200", "sidepool is out of memory", {}, "Raise its memory limit."});
  }
  // The worker with the fewest clients; ties in turn, so that a burst does not fall on one.
  std::size_t best = next_worker_++ % workers_.size();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i]->load() < workers_[best]->load()) best = i;
  }
  workers_[best]->post(worker::NewClient{std::move(fd), peer, door.entrance});
}

void App::on_tick() {
  if (memory_is_short()) refill_memory_reserve();
  beat();
  publish_instances();
  if (files_.changed()) reload();
  end_when_idle();
  loop_->arm_after(tick_, kTick);
}

// A loop that sleeps makes no turns, so each is poked; the next tick sees whether it has turned.
void App::beat() {
  beats_[0]->last_ms = now_ms();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    auto& b = *beats_[i + 1];
    const auto turns = workers_[i]->loop().turns();
    if (turns != b.turns || b.last_ms.load() == 0) b.last_ms = now_ms();
    b.turns = turns;
    workers_[i]->loop().wake();
  }
}

void App::publish_instances() {
  if (!cloudsql_) return;
  auto now = cloudsql_->status();
  for (const auto& status : now) {
    cloudsql::InstanceStatus before;
    for (const auto& old : instances_) {
      if (old.key == status.key) before = old;
    }
    for (auto& up : shared_.upstreams) {
      if (!up->is_cloudsql() || up->instance_key() != status.key) continue;
      for (auto n = before.successes; n < status.successes; ++n) {
        up->metrics.refreshed(status.expires);
        up->metrics.phase_done(metrics::DialPhase::Api, status.last_refresh);
      }
      for (const auto& [why, count] : status.failures) {
        const auto seen = before.failures.find(why);
        for (auto n = seen == before.failures.end() ? 0 : seen->second; n < count; ++n) {
          up->metrics.refresh_failed(why.reason, why.api_code);
        }
      }
    }
  }
  instances_ = std::move(now);
}

// The configuration itself and the certificates that it names, which others renew.
void App::watch_files() {
  auto paths = invocation_.files;
  for (const auto& u : config_->upstreams) {
    for (const auto* path : {&u.tls.ca_file, &u.tls.cert_file, &u.tls.key_file, &u.listen_tls.cert_file,
                             &u.listen_tls.key_file, &u.listen_tls.ca_file})
      paths.push_back(*path);
  }
  files_.watch(std::move(paths));
}

// What other threads have to tell.
void App::on_wake() {
  if (quit_.exchange(false)) end(0, "/quitquitquit received request");
  if (test_) test_->on_wake();
  if (reach_test_) reach_test_->on_wake();
  if (reach_wanted_.exchange(false)) test_reach();
  std::vector<cloudsql::InstanceKey> moved;
  {
    const std::lock_guard lock(moved_mutex_);
    moved.swap(moved_);
  }
  for (const auto& key : moved) {
    for (const auto& up : shared_.upstreams) {
      if (up->is_cloudsql() && up->instance_key() == key)
        workers_[up->index % workers_.size()]->post(worker::RetireServers{up->index});
    }
  }
}

// The same command line again; on any error the running configuration stays.
void App::reload() {
  if (ending_ != Ending::No) return;
  files_.changed();  // as they are from now on
  auto outcome = cli::parse(invocation_.arguments, inputs_);
  auto* wanted = std::get_if<cli::RunConfig>(&outcome);
  const auto refuse = [this](const std::vector<std::string>& lines) {
    registry_->config_loaded(false, std::chrono::system_clock::now());
    for (const auto& l : lines) log::error(l);
    log::error("the configuration was not reloaded, the running one stays");
    refurnish_all();  // a certificate that was renewed is not to expire over that
  };
  if (!wanted) {
    const auto* failure = std::get_if<cli::Failure>(&outcome);
    return refuse(failure ? failure->lines : std::vector<std::string>{});
  }
  auto plan = conf::plan_reload(*config_, wanted->config);
  if (!plan.refused.empty()) {
    std::vector<std::string> lines;
    for (const auto& d : plan.refused) lines.push_back(conf::to_string(d));
    return refuse(lines);
  }
  for (const auto& c : plan.changes) log::info("configuration: " + conf::to_string(c));
  config_ = std::make_shared<const conf::Config>(std::move(plan.config));
  watch_files();
  max_client_conn_ = config_->server.max_client_conn;
  log::set_level(static_cast<log::Level>(config_->log.level));
  resolver_->set_ttl(config_->server.dns_ttl);
  const bool whole = refurnish_all();
  for (auto& w : workers_) w->post(worker::ConfigChanged{config_});
  registry_->config_loaded(whole, std::chrono::system_clock::now());
  log::info(whole ? "the configuration is loaded" : "the configuration is loaded, but for those TLS settings",
            {{"changes", plan.changes.size()}});
}

bool App::refurnish_all() {
  bool whole = true;
  for (auto& up : shared_.upstreams) {
    for (const auto& u : config_->upstreams) {
      if (u.name == up->name) whole &= refurnish(u, up->index);
    }
  }
  return whole;
}

// Certificates are read again even when no key has changed: the files may have been renewed. False: they
// cannot be used, and what was read before stays in use.
bool App::refurnish(const conf::Upstream& conf, std::uint16_t upstream) {
  const auto stay = [&conf](const Error& e) {
    log::error("TLS settings stay as they were", {{"upstream", conf.name}, {"reason", e.what}});
    return false;
  };
  bool whole = true;
  if (auto ok = shared_.upstreams[upstream]->set_route(conf); !ok) whole = stay(ok.error());
  const auto context = listener_tls(conf.listen_tls);
  if (!context) return stay(context.error());
  for (auto& door : doors_) {
    if (door->entrance->upstream == upstream) furnish(*door, conf, *context);
  }
  return whole;
}

void App::test_reach() {
  std::vector<const worker::Upstream*> all;
  for (const auto& up : shared_.upstreams) all.push_back(up.get());
  // The one before is over: reach_ asks for one at a time.
  reach_test_ = std::make_unique<ConnectionTest>(*loop_, *resolver_, config_->pool.server_connect_timeout,
                                                 [this](const auto& failures) { reach_.tested(failures); });
  reach_test_->start(all);
}

admin::Health App::health() {
  admin::Health h;
  h.life = [this] { return life_.load(); };
  h.clients = [this] { return admin::Clients{clients(), max_client_conn_}; };
  h.started = [this] {
    if (!cloudsql_ || cloudsql_->lazy())
      return true;  // with --lazy-refresh only a client could bring it about
    if (started_) return true;
    const auto all = cloudsql_->status();
    started_ = std::all_of(all.begin(), all.end(), [](const auto& s) { return s.successes > 0; });
    return started_.load();
  };
  h.unready = [this]() -> std::string {
    if (!cloudsql_) return {};
    for (const auto& s : cloudsql_->status()) {
      if (s.failing && !s.valid) return "no valid certificate for " + s.key.name() + ": " + s.last_error;
    }
    return {};
  };
  h.unreached = [this] { return reach_.ask(); };
  h.heartbeats = [this] {
    std::vector<admin::Heartbeat> beats;
    for (const auto& b : beats_) {
      const auto last = b->last_ms.load();
      beats.push_back({b->name, std::chrono::milliseconds(last == 0 ? 0 : now_ms() - last)});
    }
    return beats;
  };
  h.log_unready = [](const std::string& why) {
    static log::Limiter limiter(std::chrono::seconds(10));
    if (limiter.pass(steady_now())) log::error("[Health Check] Readiness failed: " + why);
  };
  return h;
}

}  // namespace sidepool::app
