// src/worker/dial_result.cpp -- see dial_result.h.
#include "src/worker/dial_result.h"

#include <array>

#include "src/base/log.h"
#include "src/base/random.h"
#include "src/cloudsql/call.h"

namespace sidepool::worker {

namespace {
// PBKDF2 runs on the loop, for whoever is slow to answer: PostgreSQL's default is 4096 rounds (5 ms), more
// than this (scram_iterations of PostgreSQL 16) would let one server stall everybody.
constexpr std::uint32_t kMostScramIterations = 100'000;
}  // namespace

protocol::LoginParameters login_parameters(std::string_view database, std::string_view user,
                                           const conf::PoolConfig& conf, const pool::Settings& set) {
  protocol::LoginParameters p;
  p.startup.emplace_back("user", user);
  p.startup.emplace_back("database", database);
  for (const auto& [name, value] : conf.startup_parameters) p.startup.emplace_back(name, value);
  for (const auto& [name, value] : set ? *set : pool::SettingSet{}) p.startup.emplace_back(name, value);
  std::array<std::uint8_t, 18> random;
  fill_random(random);
  p.nonce = protocol::scram_nonce(random);
  p.max_scram_iterations = kMostScramIterations;
  return p;
}

std::unique_ptr<Server> make_server(pool::ServerId id, Upstream& upstream, PoolEntry* pool,
                                    upstream::Ready ready, std::uint64_t startup) {
  auto server = std::make_unique<Server>(id, upstream, pool);
  server->stream = std::move(ready.connection.stream);
  server->endpoint = std::move(ready.connection.endpoint);
  server->state.backend_pid = ready.login->backend_pid();
  const auto key = ready.login->cancel_key();
  server->cancel_key.assign(key.begin(), key.end());
  pool::SettingSet reported;
  for (const auto& [name, value] : ready.login->parameters()) reported.set(name, value);
  if (pool) {
    server->state.base = startup == 0 ? pool->note_reported(std::move(reported))
                                      : pool->startups.note_reported(startup, std::move(reported));
  }
  upstream.metrics.opened();
  return server;
}

void note_dial(Upstream& upstream, const upstream::Timings& t) {
  using metrics::DialPhase;
  const auto us = [](std::uint64_t n) { return std::chrono::microseconds(n); };
  auto& m = upstream.metrics;
  m.phase_done(DialPhase::Resolve, us(t.resolve));
  m.phase_done(DialPhase::Tcp, us(t.connect));
  m.phase_done(DialPhase::Tls, us(t.tls));
  m.phase_done(DialPhase::Login, us(t.login));
  m.dialed(us(t.resolve + t.connect + t.tls));
}

void note_dial_failure(Upstream& upstream, const upstream::Failure& failure, std::uint64_t epoch) {
  using metrics::DialPhase;
  DialPhase phase = DialPhase::Login;
  switch (failure.phase) {
    case upstream::Phase::Resolve:
      phase = DialPhase::Resolve;
      break;
    case upstream::Phase::Connect:
      phase = DialPhase::Tcp;
      break;
    case upstream::Phase::Tls:
      phase = DialPhase::Tls;
      break;
    case upstream::Phase::Login:
      break;
  }
  upstream.metrics.phase_failed(phase);
  if (failure.phase != upstream::Phase::Login) upstream.metrics.dial_failed();
  if (!upstream.is_cloudsql()) return;
  const bool certificate = failure.certificate_refused || failure.phase == upstream::Phase::Tls;
  if (!certificate && failure.phase == upstream::Phase::Login) return;
  upstream.cloudsql()->report_dial_failure(
      upstream.instance_key(), epoch,
      certificate ? cloudsql::DialFailure::Certificate : cloudsql::DialFailure::Tcp);
}

void log_upstream_error(const Upstream& upstream, const Error& error) {
  static log::Limiter limiter(std::chrono::seconds(1));
  const auto silenced = limiter.pass(steady_now());
  if (!silenced) return;
  log::error("cannot connect to the database", {{"upstream", upstream.name},
                                                {"reason", error.what},
                                                {"remedy", remedy(error)},
                                                {"left_out", *silenced}});
}

std::string_view sqlstate_of(const Error& e) noexcept {
  switch (e.code) {
    case Errc::Auth:
      return "28000";
    case Errc::Api:
      return e.sys == 401 || e.sys == 403 ? "28000" : "08001";
    case Errc::Limit:
      return "53300";
    case Errc::Config:
      return "F0000";
    case Errc::Io:
    case Errc::Tls:
    case Errc::Timeout:
    case Errc::Protocol:
      return "08001";
  }
  return "08001";
}

std::string_view remedy(const Error& e) noexcept {
  if (e.code == Errc::Api) return cloudsql::remedy(e);
  if (e.reason == "refused") return "Check that the database runs and listens at this address.";
  if (e.reason == "timeout" || e.reason == "unreachable") {
    return "Check the address, the IP type (public or private), routes and firewalls.";
  }
  if (e.reason == "dns") return "Check the host name.";
  if (e.reason == "certificate" || e.reason == "client_certificate")
    return "Check the certificates and the clock.";
  if (e.reason == "tls_refused")
    return "The server has TLS switched off; set tls.mode to \"prefer\" or \"disable\".";
  if (e.reason == "listener")
    return "Set allow_remote = true for this upstream, or connect over loopback or a unix socket.";
  if (e.reason == "cleartext")
    return "Use tls.mode = \"verify-full\", or another password method in pg_hba.conf.";
  return {};
}

void raw_error(protocol::Buffer& out, protocol::Bytes body) {
  out.push_back('E');
  out.resize(out.size() + 4);
  protocol::store_be32(out.data() + out.size() - 4, static_cast<std::uint32_t>(body.size() + 4));
  out.insert(out.end(), body.begin(), body.end());
}

}  // namespace sidepool::worker
