// src/app/start.cpp -- from a configuration to a process that serves.
#include <malloc.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <thread>

#include "conf/address.h"
#include "protocol/encode.h"
#include "src/admin/routes.h"
#include "src/app/app.h"
#include "src/base/cgroup.h"
#include "src/base/limits.h"
#include "src/base/log.h"
#include "src/base/memory_reserve.h"
#include "src/base/random.h"
#include "src/upstream/source_options.h"
#include "src/worker/client.h"

namespace sidepool::app {

namespace {

constexpr std::uint16_t kMostWorkers = 1U << worker::CancelKey::kWorkerBits;

std::uint16_t worker_count(std::uint32_t configured) {
  if (configured > 0) return static_cast<std::uint16_t>(std::min<std::uint32_t>(configured, kMostWorkers));
  const double cpus = cgroup_cpu_quota().value_or(std::max(1U, std::thread::hardware_concurrency()));
  return static_cast<std::uint16_t>(std::clamp(std::ceil(cpus), 1.0, 4.0));
}

std::string random_hex(std::size_t digits) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::vector<std::uint8_t> bytes(digits);
  fill_random(bytes);
  std::string text;
  for (const auto b : bytes) text += kDigits[b & 15];
  return text;
}

std::string uuid() {
  auto h = random_hex(32);
  h[12] = '4';
  return h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" + h.substr(16, 4) + "-" +
         h.substr(20);
}

}  // namespace

void notify_systemd(const char* state) {
  const char* path = std::getenv("NOTIFY_SOCKET");  // NOLINT(concurrency-mt-unsafe): nobody changes it
  if (!path || (path[0] != '/' && path[0] != '@')) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const std::size_t size = std::strlen(path);
  if (size >= sizeof to.sun_path) return;
  std::memcpy(to.sun_path, path, size);
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
  const io::Fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  if (::sendto(fd.get(), state, std::strlen(state), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
               length) < 0) {
    log::debug("systemd could not be notified");
  }
}

Status App::start() {
  ignore_sigpipe();
  log::Options options;
  options.json = config_->log.format == conf::LogFormat::Json;
  options.level = static_cast<log::Level>(config_->log.level);
  log::start(options);
  for (const auto& n : notes_) n.warning ? log::warn(n.text) : log::info(n.text);
  keep_memory_reserve();
  check_open_files();
  auto loop = io::Loop::create();
  if (!loop) return tl::unexpected(loop.error());
  loop_ = std::move(*loop);
  max_client_conn_ = config_->server.max_client_conn;
  registry_ = std::make_unique<metrics::Registry>(
      worker_count(config_->server.workers),
      metrics::Identity{SIDEPOOL_VERSION, uuid(), config_->http.prometheus_namespace}, [this] {
        metrics::ProcessGauges g;
        g.clients = clients();
        g.clients_limit = max_client_conn_;
        g.workers = static_cast<std::uint32_t>(workers_.size());
        g.log_lines_dropped = log::dropped();
        g.ready = admin::is_ready(health());
        return g;
      });
  registry_->config_loaded(true, std::chrono::system_clock::now());
  using Step = Status (App::*)();
  for (const Step step : {&App::start_cloudsql, &App::start_upstreams, &App::start_workers, &App::open_doors,
                          &App::start_http}) {
    if (auto ok = (this->*step)(); !ok) return ok;
  }
  watch_signals();
  begin();
  return {};
}

// A client and a server are a file each; what else is open are a few dozens.
void App::check_open_files() {
  constexpr std::uint64_t kOthers = 64;
  const auto files = raise_open_files();
  if (!files) return log::warn("the limit of open files stays as it is: " + files.error().what);
  std::uint64_t servers = 0;
  for (const auto& up : config_->upstreams)
    servers += up.pool.max_server_connections != 0 ? up.pool.max_server_connections : up.pool.size;
  const auto needed = config_->server.max_client_conn + servers + kOthers;
  if (files->now >= needed) return;
  log::warn("max_client_conn is " + std::to_string(config_->server.max_client_conn) + " and " +
            std::to_string(servers) + " server connections may be open, but only " +
            std::to_string(files->now) +
            " files: clients will be turned away before the limit is reached. Raise the limit of open files "
            "(ulimit -n, LimitNOFILE=) to " +
            std::to_string(needed) + ", or lower max_client_conn.");
}

Status App::start_cloudsql() {
  const bool needed = std::any_of(config_->upstreams.begin(), config_->upstreams.end(),
                                  [](const auto& u) { return u.is_cloudsql(); });
  if (!needed) return {};
  auto o = upstream::source_options(config_->cloudsql, SIDEPOOL_VERSION);
  o.log = [](cloudsql::LogLevel level, std::string_view text) {
    switch (level) {
      case cloudsql::LogLevel::Debug:
        return log::debug(text);
      case cloudsql::LogLevel::Info:
        return log::info(text);
      case cloudsql::LogLevel::Warning:
        return log::warn(text);
      case cloudsql::LogLevel::Error:
        return log::error(text);
    }
  };
  o.dns_servers = config_->server.dns_servers;
  o.moved = [this](const cloudsql::InstanceKey& key) {
    {
      const std::lock_guard lock(moved_mutex_);
      moved_.push_back(key);
    }
    loop_->wake();
  };
  auto started = cloudsql::CloudSql::start(std::move(o));
  if (!started) return tl::unexpected(started.error());
  cloudsql_ = std::move(*started);
  return {};
}

// For connections to instances, as the Auth Proxy has it; one that cannot be used is said and left out.
std::shared_ptr<const upstream::SocksProxy> App::socks_proxy() const {
  auto proxy = upstream::SocksProxy::of_environment(inputs_.environment);
  if (!proxy) {
    log::warn(proxy.error().what);
    return nullptr;
  }
  if (*proxy) log::info("connections to instances go through the proxy " + (*proxy)->server().text());
  return *proxy;
}

Status App::start_upstreams() {
  resolver_ = upstream::Resolver::create(4, config_->server.dns_servers);
  const auto proxy = socks_proxy();
  resolver_->set_ttl(config_->server.dns_ttl);
  shared_.resolver = resolver_.get();
  shared_.registry = registry_.get();
  shared_.statement_token = random_hex(12);
  const auto workers = worker_count(config_->server.workers);
  for (const auto& u : config_->upstreams) {
    const auto index = static_cast<std::uint16_t>(shared_.upstreams.size());
    auto made = std::make_unique<worker::Upstream>(index, workers, u, cloudsql_.get(), *registry_,
                                                   u.is_cloudsql() ? proxy : nullptr);
    if (auto ok = made->set_route(u); !ok) return ok;
    if (made->is_cloudsql()) cloudsql_->add(made->instance_key());
    shared_.upstreams.push_back(std::move(made));
  }
  return {};
}

Status App::start_workers() {
  const auto count = worker_count(config_->server.workers);
  mallopt(M_ARENA_MAX, count + 1);  // glibc's arenas would multiply with the threads
  std::vector<std::unique_ptr<io::Loop>> loops;
  for (std::uint16_t i = 0; i < count; ++i) {
    auto loop = io::Loop::create();
    if (!loop) return tl::unexpected(loop.error());
    loops.push_back(std::move(*loop));
  }
  shared_.workers.assign(count, nullptr);
  for (std::uint16_t i = 0; i < count; ++i) {
    workers_.push_back(std::make_unique<worker::Worker>(i, shared_, config_, std::move(loops[i])));
    shared_.workers[i] = workers_.back().get();
  }
  beats_.push_back(std::make_unique<Beat>());
  beats_.back()->name = "control";
  for (std::uint16_t i = 0; i < count; ++i) {
    beats_.push_back(std::make_unique<Beat>());
    beats_.back()->name = "worker " + std::to_string(i);
  }
  for (auto& w : workers_) w->start();
  return {};
}

Status App::open_doors() {
  protocol::error_response(refusal_, {"FATAL",
                                      "53300",
                                      "sidepool is out of file descriptors",
                                      {},
                                      "Raise the limit of open files (RLIMIT_NOFILE)."});
  for (std::uint16_t i = 0; i < config_->upstreams.size(); ++i) {
    const auto& u = config_->upstreams[i];
    auto context = listener_tls(u.listen_tls);
    if (!context) return tl::unexpected(context.error());
    for (const auto& l : u.listeners) {
      auto ok = open_door(i, u, l, *context);
      if (!ok) ok = not_opened(u, l, ok.error());
      if (!ok) return ok;
    }
  }
  if (doors_.empty()) return fail(Errc::Config, "unable to start: no listener could be opened");
  return {};
}

Status App::not_opened(const conf::Upstream& u, const conf::Listener& where, const Error& error) {
  const std::string who = "[" + u.label() + "] ";
  const bool unix = where.address.is_unix();
  log::error(who +
             (unix ? "could not mount unix socket \"" + where.address.path + "\": "
                   : "could not listen to address " + conf::to_string(where.address) + ": ") +
             error.what);
  const std::string why = who + "Unable to mount socket: " + error.what;
  if (!config_->server.skip_failed_listeners)
    return fail(error.code, "unable to start: " + why, error.sys, error.reason);
  log::error(why + " (skipped due to skip-failed-instance-config flag)");
  return {};
}

Result<tls::Context> App::listener_tls(const conf::ClientTls& conf) {
  using Mode = conf::ClientTlsMode;
  if (conf.mode == Mode::Disable) return tls::Context{};
  tls::ListenerTls t;
  t.cert_file = conf.cert_file;
  t.key_file = conf.key_file;
  t.ca_file = conf.ca_file;
  const bool verify = conf.mode == Mode::VerifyCa || conf.mode == Mode::VerifyFull;
  t.client_cert = verify ? tls::ClientCert::Required : tls::ClientCert::None;
  return tls::listener_context(t);
}

// Clients of a door share its entrance, so it is replaced and never changed.
void App::furnish(Door& door, const conf::Upstream& u, const tls::Context& tls) {
  auto keepalive = worker::keepalive_of(u.pool);
  keepalive.user_timeout = {};  // a client that merely reads slowly is none of the kernel's business
  door.listener->set_keepalive(keepalive);
  if (door.entrance->reach == io::Reach::UnixSocket) return;  // never TLS
  auto next = std::make_shared<worker::Entrance>(*door.entrance);
  next->tls = tls;
  next->tls_required = tls != nullptr && u.listen_tls.mode != conf::ClientTlsMode::Allow;
  next->certificate_is_user = tls != nullptr && u.listen_tls.mode == conf::ClientTlsMode::VerifyFull;
  door.entrance = std::move(next);
}

Status App::open_door(std::uint16_t upstream, const conf::Upstream& u, const conf::Listener& where,
                      const tls::Context& tls) {
  Result<io::SocketAddress> address = fail(Errc::Config, "not an IP address: " + where.address.ip);
  if (where.address.is_unix()) {
    address = io::SocketAddress::from_path(where.address.path);
  } else if (auto ip = io::SocketAddress::from_ip(where.address.ip, where.address.port)) {
    address = *ip;
  }
  if (!address) return tl::unexpected(address.error());
  io::ListenOptions o;
  o.backlog = static_cast<int>(config_->server.listen_backlog);
  o.unix_mode = config_->server.unix_socket_mode;
  o.make_directory = true;
  o.v6_only = true;  // as the Auth Proxy binds each family by itself
  o.refusal = refusal_;
  auto listener = io::Listener::open(*loop_, *address, o);
  if (!listener) return tl::unexpected(listener.error());
  auto door = std::make_unique<Door>();
  door->app = this;
  auto entrance = std::make_shared<worker::Entrance>();
  entrance->upstream = upstream;
  entrance->reach = (*listener)->reach();
  entrance->remote_opt_in = where.remote_opt_in != conf::RemoteOptIn::No;
  entrance->name = (*listener)->address().text();
  door->entrance = std::move(entrance);
  door->listener = std::move(*listener);
  furnish(*door, u, tls);
  if (door->entrance->reach == io::Reach::Network && where.remote_opt_in == conf::RemoteOptIn::FlagOrEnv) {
    log::warn("whoever reaches this address may use the logins that need no password",
              {{"address", door->entrance->name}});
  }
  if (door->entrance->reach == io::Reach::Network && u.client_auth == conf::ClientAuth::Trust) {
    log::warn("whoever reaches this address is let in without a password (client_auth = \"trust\")",
              {{"address", door->entrance->name}});
  }
  log::info("[" + u.label() + "] Listening on " + door->entrance->name);
  doors_.push_back(std::move(door));
  return {};
}

Status App::start_http() {
  const auto& h = config_->http;
  const bool together = h.health && h.metrics && *h.health == *h.metrics;
  const auto serve = [this](const conf::Address& where, admin::Pages pages) -> Status {
    auto server =
        admin::HttpServer::start(where.ip, where.port, admin::public_pages(pages, health(), *registry_));
    if (!server) return tl::unexpected(server.error());
    const std::string host = where.ip == "127.0.0.1"                   ? "localhost"
                             : where.ip.find(':') != std::string::npos ? "[" + where.ip + "]"
                                                                       : where.ip;
    log::info((pages.health_check ? "Starting health check server at " : "Starting metrics server at ") +
              host + ":" + std::to_string((*server)->port()));
    http_.push_back(std::move(*server));
    return {};
  };
  if (h.health) {
    if (auto ok = serve(*h.health, {true, together}); !ok) return ok;
  }
  if (h.metrics && !together) {
    if (auto ok = serve(*h.metrics, {false, true}); !ok) return ok;
  }
  if (!h.quitquitquit) return {};
  auto server = admin::HttpServer::start("localhost", h.admin_port, admin::admin_pages([this] {
                                           quit_ = true;
                                           loop_->wake();
                                         }));
  if (!server) return tl::unexpected(server.error());
  log::info("Enabling quitquitquit endpoint at localhost:" + std::to_string((*server)->port()));
  http_.push_back(std::move(*server));
  return {};
}

void App::begin() {
  if (!config_->cloudsql.run_connection_test || !cloudsql_) return announce();
  log::info("Connection test started");
  test_ = std::make_unique<ConnectionTest>(*loop_, *resolver_, config_->pool.server_connect_timeout,
                                           [this](const auto& failures) { on_tested(failures); });
  std::vector<const worker::Upstream*> instances;
  for (const auto& up : shared_.upstreams)
    if (up->is_cloudsql()) instances.push_back(up.get());
  test_->start(instances);
}

void App::on_tested(const std::vector<std::string>& failures) {
  if (ending_ != Ending::No) return;
  if (failures.empty()) {
    log::info("Connection test passed");
    return announce();
  }
  std::string all;
  for (const auto& failure : failures) all.append(all.empty() ? "" : "; ").append(failure);
  log::error("Connection test failed");
  end(1, all);
}

void App::announce() {
  for (auto& d : doors_) {
    auto ok = d->listener->start(d.get(), [](void* owner, io::Fd fd, const io::SocketAddress& peer) noexcept {
      auto& door = *static_cast<Door*>(owner);
      door.app->on_accept(door, std::move(fd), peer);
    });
    if (!ok)
      log::error("cannot accept clients", {{"address", d->entrance->name}, {"reason", ok.error().what}});
  }
  life_ = admin::Life::Serving;
  log::info("The proxy has started successfully and is ready for new connections!");
  notify_systemd("READY=1");
}

void App::watch_signals() {
  loop_->on_wake(this, [](void* self) noexcept { static_cast<App*>(self)->on_wake(); });
  static constexpr std::array<int, 3> kSignals{SIGTERM, SIGINT, SIGHUP};
  signals_ = std::vector<io::Handle<uv_signal_t>>(kSignals.size());
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    auto* h = signals_[i].open(this);
    uv_signal_init(loop_->uv(), h);
    uv_signal_start(
        h,
        [](uv_signal_t* s, int number) {
          if (s->data) static_cast<App*>(s->data)->on_signal(number);
        },
        kSignals[i]);
  }
  release_signals();
  watch_files();
  loop_->arm_after(tick_, std::chrono::seconds(1));
}

}  // namespace sidepool::app
