// src/check/upstream_check.cpp -- see the header.
#include "src/check/upstream_check.h"

#include <array>
#include <ctime>
#include <utility>

#include "protocol/messages.h"
#include "src/check/advice.h"
#include "src/check/listeners.h"
#include "src/cloudsql/principal.h"
#include "src/tls/verify.h"
#include "src/worker/dial_result.h"

namespace sidepool::check {
namespace {

constexpr std::array<Subject, 6> kOfGoogle{Subject::Api,      Subject::Scopes,     Subject::Roles,
                                           Subject::Instance, Subject::LoginToken, Subject::IpType};
constexpr std::array<Subject, 3> kOfTheWay{Subject::Route, Subject::Certificate, Subject::Login};

std::string_view type_name(conf::IpType type) {
  switch (type) {
    case conf::IpType::Public:
      return "public";
    case conf::IpType::Private:
      return "private";
    case conf::IpType::Psc:
      return "PSC";
    case conf::IpType::Auto:
      return "public or private";
  }
  return "public";
}

Reach reach_of(const conf::Upstream& conf) {
  if (!conf.is_cloudsql()) return Reach::Host;
  if (conf.ip_type == conf::IpType::Psc) return Reach::Psc;
  return conf.ip_type == conf::IpType::Private ? Reach::PrivateIp : Reach::PublicIp;
}

std::string millis(std::uint64_t us) { return std::to_string((us + 999) / 1000) + " ms"; }

std::string end_of(const X509* certificate) {
  std::tm parts{};
  std::array<char, 32> text{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1) return "an unknown day";
  std::strftime(text.data(), text.size(), "%Y-%m-%d", &parts);
  return text.data();
}

}  // namespace

UpstreamCheck::UpstreamCheck(const conf::Upstream& conf, const Means& means, Report& report)
    : conf_(conf),
      means_(means),
      report_(report),
      upstream_(0, 1, conf, nullptr, means.registry, conf.is_cloudsql() ? means.proxy : nullptr) {}

void UpstreamCheck::run() {
  report_.section(conf_.is_cloudsql() ? conf_.instance : conf_.name);
  const auto route = conf_.is_cloudsql() ? route_of_instance() : route_of_hosts();
  const std::string why = "an earlier check failed";
  if (!route) {
    if (conf_.is_cloudsql()) {
      for (const Subject s : kOfGoogle) {
        if (s == Subject::LoginToken && !iam()) continue;
        report_.skip_rest(std::span(&s, 1), why);
      }
    }
    report_.skip_rest(kOfTheWay, why);
  } else {
    auto reached = *route;
    reached.endpoints = check_ways(*route);
    if (reached.endpoints.empty()) {
      report_.skip_rest(kOfTheWay, why);
    } else {
      check_logins(reached);
    }
  }
  for (const auto& listener : conf_.listeners) check_listener(listener.address, report_);
}

std::optional<upstream::Route> UpstreamCheck::route_of_instance() {
  const auto key = cloudsql::InstanceKey::parse(conf_.instance, conf_.auto_iam_authn);
  if (!key) {
    report_.failed(Subject::Name, key.error().what, "Write PROJECT:REGION:INSTANCE");
    return std::nullopt;
  }
  const auto info = means_.google->ask(*key, report_);
  if (!info) return std::nullopt;
  if (auto ok = upstream_.set_route(conf_); !ok) {
    report_.failed(Subject::IpType, ok.error().what);
    return std::nullopt;
  }
  auto route = upstream_.instance_route(*info, false);
  if (!route) {
    report_.failed(Subject::IpType, route.error().what, cloudsql::remedy(route.error()));
    return std::nullopt;
  }
  report_.ok(Subject::IpType, std::string{type_name(conf_.ip_type)} + ", which the instance has");
  return std::move(*route);
}

std::optional<upstream::Route> UpstreamCheck::route_of_hosts() {
  if (auto ok = upstream_.set_route(conf_); !ok) {
    report_.failed(Subject::Certificate, ok.error().what,
                   "Correct the files of tls.ca_file, tls.cert_file, tls.key_file");
    return std::nullopt;
  }
  return upstream_.host_route();
}

std::vector<upstream::Endpoint> UpstreamCheck::check_ways(const upstream::Route& route) {
  std::vector<upstream::Endpoint> reached;
  for (const auto& endpoint : route.endpoints) {
    if (route.proxy && route.otherwise.empty() && !route.proxy->bypassed_by(endpoint.host)) {
      if (check_way(route, endpoint)) reached.push_back(endpoint);  // a name is the proxy's business
      continue;
    }
    const auto addresses = means_.dialling.resolve(endpoint, conf_.pool.server_connect_timeout);
    if (!addresses && !route.otherwise.empty()) {  // the name of the instance: it need not have any
      auto others = route;
      others.endpoints = std::exchange(others.otherwise, {});
      return check_ways(others);
    }
    if (!addresses) {
      report_.failed(Subject::Route, addresses.error().what,
                     remedy_of_route(addresses.error(), reach_of(conf_)));
      continue;
    }
    for (const auto& address : *addresses) {
      auto to = endpoint;
      if (!address.is_unix()) to.address = address.host();
      if (check_way(route, to)) reached.push_back(std::move(to));
    }
  }
  return reached;
}

bool UpstreamCheck::check_way(const upstream::Route& route, const upstream::Endpoint& to) {
  auto one = route;
  one.endpoints = {to};
  one.otherwise.clear();
  auto dialled = means_.dialling.dial(std::move(one), conf_.pool.server_connect_timeout);
  std::string where = to.text();
  if (!to.address.empty() && to.address != to.host) where += " (" + to.address + ")";
  if (!dialled) {
    const auto& failure = dialled.error();
    const bool tls = failure.phase == upstream::Phase::Tls;
    if (!tls) {
      report_.failed(Subject::Route, failure.error.what, remedy_of_route(failure.error, reach_of(conf_)));
      return false;
    }
    report_.ok(Subject::Route, where + " accepts connections");
    report_.failed(Subject::Certificate, failure.error.what,
                   remedy_of_tls(failure.error, conf_.is_cloudsql()));
    return false;
  }
  report_.ok(Subject::Route, where + " accepts connections after " + millis(dialled->timings.connect));
  if (conf_.is_cloudsql()) {
    if (auto ok = provoke_answer(*dialled, conf_.pool.server_connect_timeout); !ok) {
      report_.failed(Subject::Certificate, ok.error().what, remedy_of_tls(ok.error(), true));
      return false;
    }
  }
  tell_tls(std::move(*dialled));
  return true;
}

void UpstreamCheck::tell_tls(upstream::Connected connected) {
  const auto* t = connected.stream.tls();
  if (!t) {
    report_.ok(Subject::Certificate,
               connected.peer.is_unix() ? "none: unix sockets have no TLS"
               : conf_.tls.mode == conf::ServerTlsMode::Disable
                   ? "none: tls.mode is \"disable\""
                   : "none: the database offers no TLS, and tls.mode = \"prefer\" goes on without");
    return;
  }
  std::string text = SSL_get_version(t->ssl());
  const bool verified = conf_.is_cloudsql() || conf_.tls.mode == conf::ServerTlsMode::VerifyCa ||
                        conf_.tls.mode == conf::ServerTlsMode::VerifyFull;
  if (const auto certificate = t->peer_certificate()) {
    text +=
        std::string{verified ? ", the certificate is the right one" : ", the certificate is not checked"} +
        " and ends on " + end_of(certificate.get());
  }
  report_.ok(Subject::Certificate, std::move(text));
}

std::string UpstreamCheck::role() const {
  const bool known = iam() && !means_.google->principal().empty();
  return known ? cloudsql::role_name(means_.google->principal()) : std::string{};
}

void UpstreamCheck::check_logins(const upstream::Route& route) {
  const Login& login = means_.login;
  if (login.user) return check_login(route, *login.user, login.password);
  if (const std::string own = role(); !own.empty()) return check_login(route, own, login.password);
  bool any = false;
  for (const auto& user : means_.users) {
    if (conf_.client_auth != conf::ClientAuth::Trust ||
        (!user.upstream.empty() && user.upstream != conf_.name))
      continue;
    any = true;
    check_login(route, user.name, user.password);
  }
  if (!any) report_.skipped(Subject::Login, "set PGUSER, PGPASSWORD and PGDATABASE to try one");
}

void UpstreamCheck::check_login(const upstream::Route& route, const std::string& user,
                                const std::optional<conf::Secret>& password) {
  const std::string database = means_.login.database.value_or("postgres");
  const std::string who = "\"" + user + "\" in database \"" + database + "\"";
  auto result = means_.dialling.login(route, worker::login_parameters(database, user, conf_.pool), password,
                                      conf_.pool.server_connect_timeout);
  if (result) {
    std::string version = "PostgreSQL";
    for (const auto& [name, value] : result->login->parameters())
      if (name == "server_version") version += " " + value;
    static constexpr std::array<std::uint8_t, 5> kTerminate{'X', 0, 0, 0, 4};
    static_cast<void>(result->connection.stream.write(kTerminate));
    return report_.ok(Subject::Login, who + ", " + version);
  }
  const auto& failure = result.error();
  LoginFacts facts;
  facts.user = user;
  facts.reason = failure.error.reason;
  facts.iam = iam();
  facts.role = role();
  if (const auto error = protocol::ErrorView::decode(failure.server_error)) facts.sqlstate = error->code;
  std::string text = who + ": " + failure.error.what;
  if (!facts.sqlstate.empty()) text += " (" + facts.sqlstate + ")";
  report_.failed(Subject::Login, std::move(text), remedy_of_login(facts));
}

}  // namespace sidepool::check
