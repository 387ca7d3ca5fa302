// src/check/upstream_check.h -- the checks of one upstream, from its name to a login.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "src/check/dialling.h"
#include "src/check/google.h"
#include "src/check/report.h"
#include "src/worker/upstream.h"

namespace sidepool::check {

// libpq's variables PGUSER, PGPASSWORD, PGDATABASE; nothing: not set, or empty.
struct Login {
  std::optional<std::string> user{};
  std::optional<conf::Secret> password{};
  std::optional<std::string> database{};
};

// What all upstreams share; outlives the check.
struct Means {
  Google* google;  // null: no upstream is a Cloud SQL instance
  Dialling& dialling;
  const Login& login;
  const std::vector<conf::User>& users;
  metrics::Registry& registry;                        // that worker::Upstream counts in
  std::shared_ptr<const upstream::SocksProxy> proxy;  // to instances; may be null
};

class UpstreamCheck {
 public:
  UpstreamCheck(const conf::Upstream& conf, const Means& means, Report& report);
  void run();

 private:
  // Null: a check before the route has failed.
  std::optional<upstream::Route> route_of_instance();
  std::optional<upstream::Route> route_of_hosts();
  // A line for each address. The endpoints that TLS came about with, to log in at the first.
  std::vector<upstream::Endpoint> check_ways(const upstream::Route& route);
  bool check_way(const upstream::Route& route, const upstream::Endpoint& to);
  void tell_tls(upstream::Connected connected);

  void check_logins(const upstream::Route& route);
  void check_login(const upstream::Route& route, const std::string& user,
                   const std::optional<conf::Secret>& password);
  // Whom it depends on: the advice for addresses.
  bool iam() const { return conf_.is_cloudsql() && conf_.auto_iam_authn; }
  std::string role() const;

  const conf::Upstream& conf_;
  const Means& means_;
  Report& report_;
  worker::Upstream upstream_;
};

}  // namespace sidepool::check
