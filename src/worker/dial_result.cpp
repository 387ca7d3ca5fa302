// src/worker/dial_result.cpp -- see dial_result.h.
#include "src/worker/dial_result.h"

#include <algorithm>
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

bool ignores(const conf::PoolConfig& conf, std::string_view parameter) {
  const auto& names = conf.ignore_startup_parameters;
  return std::any_of(names.begin(), names.end(),
                     [parameter](const auto& name) { return pool::same_name(name, parameter); });
}

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

std::unique_ptr<Server> make_server(pool::ServerId id, Upstream& upstream, PoolRef pool,
                                    upstream::Ready ready, std::uint64_t startup) {
  auto server = std::make_unique<Server>(id, upstream, std::move(pool));
  server->stream = std::move(ready.connection.stream);
  server->endpoint = std::move(ready.connection.endpoint);
  server->state.backend_pid = ready.login->backend_pid();
  const auto key = ready.login->cancel_key();
  server->cancel_key.assign(key.begin(), key.end());
  pool::SettingSet reported;
  for (const auto& [name, value] : ready.login->parameters()) reported.set(name, value);
  if (server->pool) {
    auto& entry = *server->pool;
    server->state.base = startup == 0 ? entry.note_reported(std::move(reported))
                                      : entry.startups.note_reported(startup, std::move(reported));
  }
  upstream.metrics.opened();
  return server;
}

void note_dial(Upstream& upstream, const upstream::Timings& t, Duration waited) {
  using metrics::DialPhase;
  const auto us = [](std::uint64_t n) { return std::chrono::microseconds(n); };
  auto& m = upstream.metrics;
  m.phase_done(DialPhase::Resolve, us(t.resolve));
  m.phase_done(DialPhase::Tcp, us(t.connect));
  m.phase_done(DialPhase::Tls, us(t.tls));
  if (t.login > 0) m.phase_done(DialPhase::Login, us(t.login));
  m.dialed(waited + us(t.resolve + t.connect + t.tls));
}

void note_dial_failure(Upstream& upstream, const upstream::Failure& failure, std::uint64_t epoch,
                       Duration waited) {
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
  if (failure.phase != upstream::Phase::Login) {
    upstream.metrics.dial_failed();
  } else if (const auto& t = failure.timings; t.connect > 0) {
    upstream.metrics.dialed(waited + std::chrono::microseconds(t.resolve + t.connect + t.tls));
  }
  if (!upstream.is_cloudsql()) return;
  const bool certificate = failure.certificate_refused || failure.phase == upstream::Phase::Tls;
  if (!certificate && failure.phase == upstream::Phase::Login) return;
  upstream.cloudsql()->report_dial_failure(
      upstream.instance_key(), epoch,
      certificate ? cloudsql::DialFailure::Certificate : cloudsql::DialFailure::Tcp);
}

void log_upstream_error(Upstream& upstream, const Error& error) {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(steady_now().time_since_epoch());
  std::optional<cloudsql::LogGate::Pass> pass;
  {
    const std::lock_guard lock(upstream.errors.mutex);
    pass = upstream.errors.gate.admit(error.what, now);
  }
  if (!pass) return;
  const std::string text = "[" + upstream.label + "] failed to connect to instance: " + error.what;
  if (const auto advice = remedy(error); pass->first && advice.empty()) {
    log::error(text);
  } else if (pass->first) {
    log::error(text, {{"remedy", advice}});
  } else {
    log::error(text, {{"left_out", pass->left_out}});
  }
}

namespace {

std::string_view sqlstate_of(const Error& e) noexcept {
  if (e.reason == "stopped") return "57P03";
  if (e.reason == "credentials" || e.reason == "no_credentials") return "28000";
  switch (e.code) {
    case Errc::Auth:
      return "28000";
    case Errc::Api:
      return e.sys == 401 || e.sys == 403 ? "28000" : "08001";
    case Errc::Limit:
      return "53300";
    case Errc::Config:
      return e.reason == "no_address" ? "08001" : "F0000";
    case Errc::Io:
    case Errc::Tls:
    case Errc::Timeout:
    case Errc::Protocol:
      return "08001";
  }
  return "08001";
}

// Reasons whose text names an address, a host or a file, and what is said in its place.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kOfDials{{
    {"refused", "it refuses connections"},
    {"timeout", "it does not answer in time"},
    {"unreachable", "there is no route to it"},
    {"dns", "its host name cannot be resolved"},
    {"proxy", "the proxy on the way does not let us through"},
    {"closed", "it closed the connection"},
    {"tls", "TLS with it failed"},
    {"certificate", "its certificate was not accepted"},
    {"client_certificate", "it did not accept our certificate"},
    {"tls_refused", "it does not support TLS, but the configuration requires it"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kOfCalls{{
    {"resolve", "the host name of the API cannot be resolved"},
    {"connect", "no connection to the API can be made"},
    {"timeout", "the API does not answer in time"},
    {"tls", "TLS with the API failed"},
    {"transport", "the connection to the API broke"},
    {"too_large", "the answer of the API is too large"},
}};

template <std::size_t kSize>
std::string_view find_words(const std::array<std::pair<std::string_view, std::string_view>, kSize>& table,
                            std::string_view reason) noexcept {
  for (const auto& [key, words] : table)
    if (key == reason) return words;
  return {};
}

}  // namespace

ClientError for_client(const Error& e) {
  ClientError out{sqlstate_of(e), {}, {}, remedy(e)};
  const bool cloud = e.code == Errc::Api || (e.code == Errc::Auth && e.sys >= 400);
  if (e.reason == "stopped") {
    out.message = "sidepool is shutting down";
  } else if (e.reason == "credentials" || e.reason == "no_credentials") {
    out.message = "sidepool has no usable credentials for the Cloud SQL instance";
  } else if (cloud && e.sys == 0 && !find_words(kOfCalls, e.reason).empty()) {
    out.message = "the Cloud SQL instance cannot be used: " + std::string(find_words(kOfCalls, e.reason));
  } else if (cloud) {
    out.message = "the Cloud SQL instance cannot be used: " + e.reason;
    out.detail = e.what;
  } else if (e.code == Errc::Io || e.code == Errc::Tls || e.code == Errc::Timeout) {
    out.message = "cannot connect to the database";
    if (const auto words = find_words(kOfDials, e.reason); !words.empty())
      out.message += ": " + std::string(words);
  } else {
    out.message = e.what;
  }
  return out;
}

std::string_view remedy(const Error& e) noexcept {
  if (e.code == Errc::Api || e.reason == "no_address" || (e.code == Errc::Auth && e.sys >= 400))
    return cloudsql::remedy(e);
  if (e.reason == "refused") return "Check that the database runs and listens at this address.";
  if (e.reason == "timeout" || e.reason == "unreachable") {
    return "Check the address, the IP type (public, private, PSC), routes, VPC and firewalls (Cloud SQL: "
           "port 3307).";
  }
  if (e.reason == "proxy") return "Check ALL_PROXY and NO_PROXY, and that the proxy lets port 3307 through.";
  if (e.reason == "dns") return "Check the host name and the name servers.";
  if (e.reason == "certificate" || e.reason == "client_certificate")
    return "Check the certificates and the clock.";
  if (e.reason == "tls_refused")
    return "The server has TLS switched off; set tls.mode to \"prefer\" or \"disable\".";
  if (e.reason == "protocol") return "Check the host and the port: PostgreSQL does not answer like that.";
  if (e.reason == kUserPassword) return "Correct the password in this user's [[user]] entry.";
  if (e.reason == "listener")
    return "Set allow_remote = true for this upstream, or connect over loopback or a unix socket.";
  if (e.reason == "cleartext")
    return "Use tls.mode = \"verify-full\", or another password method in pg_hba.conf.";
  return cloudsql::remedy(e);
}

void raw_error(protocol::Buffer& out, protocol::Bytes body, std::string_view hint) {
  const auto error = protocol::ErrorView::decode(body);
  const bool add = !hint.empty() && error && error->hint.empty();
  out.push_back('E');
  out.resize(out.size() + 4);
  const std::size_t at = out.size();
  out.insert(out.end(), body.begin(), body.end());
  if (add) {  // before the zero that ends the fields
    out.back() = 'H';
    out.insert(out.end(), hint.begin(), hint.end());
    out.insert(out.end(), 2, 0);
  }
  protocol::store_be32(out.data() + at - 4, static_cast<std::uint32_t>(out.size() - at + 4));
}

}  // namespace sidepool::worker
