// conf/validate.cpp -- filling in what was left open; rules across keys.
#include "conf/validate.h"

#include <algorithm>
#include <string>
#include <utility>

#include "conf/address.h"
#include "conf/units.h"

namespace sidepool::conf {
namespace {

class Rules {
 public:
  Rules(const Config& config, const Places& places) : config_(config), places_(places) {}

  std::vector<Diagnostic> check() {
    if (config_.upstreams.empty()) {
      complain({},
               "there is nothing to connect to: name an instance (PROJECT:REGION:INSTANCE) or write an "
               "[[upstream]]");
    }
    for (std::size_t i = 0; i < config_.upstreams.size(); ++i) upstream(i);
    name_servers();
    listeners();
    users();
    cloudsql();
    metrics_namespace();
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Diagnostic& a, const Diagnostic& b) { return a.at < b.at; });
    return std::move(found_);
  }

 private:
  void complain(const std::vector<std::string>& paths, std::string what) {
    found_.push_back(places_.at(paths, std::move(what)));
  }
  static std::string path_of(std::size_t i, const std::string& key = {}) {
    return "upstream[" + std::to_string(i) + "]" + (key.empty() ? "" : "." + key);
  }
  static std::string called(const Upstream& up) {
    return up.name.empty() ? "" : "upstream " + in_quotes(up.name) + ": ";
  }

  void name_servers() {
    for (const std::string& server : config_.server.dns_servers) {
      if (!is_name_server(server))
        complain({"server.dns_servers"}, "dns_servers: " + in_quotes(server) +
                                             " is not an IP address with or without a port, such as "
                                             "\"10.0.0.2\" or \"[2001:db8::2]:5353\"");
    }
  }

  void upstream(std::size_t i) {
    const Upstream& up = config_.upstreams[i];
    const std::string who = called(up);
    if (up.is_cloudsql() && !up.hosts.empty()) {
      complain({path_of(i, "hosts"), path_of(i)},
               who + "instance and hosts exclude each other: keep one of them");
    } else if (!up.is_cloudsql() && up.hosts.empty()) {
      complain({path_of(i)},
               "this [[upstream]] connects to nothing: give instance = \"PROJECT:REGION:INSTANCE\" or hosts "
               "= [\"HOST:PORT\"]");
      return;
    }
    if (up.is_cloudsql()) {
      instance(i, up);
    } else {
      host_list(i, up);
    }
    if (up.name.size() > 200) complain({path_of(i, "name")}, who + "the name is longer than 200 bytes");
    for (std::size_t j = 0; j < i; ++j) {
      if (config_.upstreams[j].name != up.name) continue;
      complain({path_of(i, "name"), path_of(i)},
               "two upstreams are called " + in_quotes(up.name) + ": give one of them a name of its own");
      break;
    }
    listen_tls(i, up);
    pool(i, up);
  }

  void instance(std::size_t i, const Upstream& up) {
    if (auto why = refuse_instance(up.instance)) {
      complain({path_of(i, "instance"), path_of(i)}, std::move(*why));
    }
    if (places_.has(path_of(i, "tls"))) {
      complain({path_of(i, "tls")},
               called(up) + "tls is for hosts: the TLS of a Cloud SQL instance is fixed, remove it");
    }
    if (up.client_auth == ClientAuth::Trust && up.auto_iam_authn) {
      complain(
          {path_of(i, "client_auth")},
          called(up) +
              "client_auth = \"trust\" means nothing with auto_iam_authn, where no client is asked for a "
              "password: remove it");
    }
    const bool token_only = !config_.cloudsql.token.empty() && config_.cloudsql.login_token.empty();
    if (up.auto_iam_authn && token_only) {
      complain({path_of(i, "auto_iam_authn"), "cloudsql.token"},
               called(up) +
                   "auto_iam_authn needs a token for logging in beside the one for the API: set login_token "
                   "(--login-token), or use credentials_file");
    }
    // gcloud's token cannot be narrowed to the scope of a login.
    if (up.auto_iam_authn && config_.cloudsql.gcloud_auth) {
      complain({path_of(i, "auto_iam_authn"), "cloudsql.gcloud_auth"},
               called(up) +
                   "auto_iam_authn does not work with gcloud_auth: use Application Default Credentials "
                   "(gcloud auth application-default login)");
    }
  }

  void host_list(std::size_t i, const Upstream& up) {
    const std::string who = called(up);
    if (up.auto_iam_authn) {
      complain({path_of(i, "auto_iam_authn")},
               who + "auto_iam_authn is for Cloud SQL instances, not for hosts: remove it");
    }
    if (up.ip_type != IpType::Public) {
      complain({path_of(i, "ip_type")}, who + "ip_type is for Cloud SQL instances, not for hosts: remove it");
    }
    const ServerTls& tls = up.tls;
    const bool verifies = tls.mode == ServerTlsMode::VerifyCa || tls.mode == ServerTlsMode::VerifyFull;
    if (tls.cert_file.empty() != tls.key_file.empty()) {
      complain({path_of(i, "tls.cert_file"), path_of(i, "tls.key_file")},
               who + "tls.cert_file and tls.key_file go together: " +
                   (tls.key_file.empty() ? "key_file is missing" : "cert_file is missing"));
    }
    if (!tls.ca_file.empty() && !verifies) {
      complain({path_of(i, "tls.ca_file")},
               who + "tls.ca_file is used by mode = \"verify-ca\" and \"verify-full\" only: set one of them");
    }
    if (tls.mode == ServerTlsMode::Disable && !tls.cert_file.empty()) {
      complain({path_of(i, "tls.cert_file")},
               who + "tls.mode = \"disable\" uses no certificate: remove it or the mode");
    }
  }

  void listen_tls(std::size_t i, const Upstream& up) {
    const std::string who = called(up);
    const ClientTls& tls = up.listen_tls;
    const bool verifies = tls.mode == ClientTlsMode::VerifyCa || tls.mode == ClientTlsMode::VerifyFull;
    if (tls.cert_file.empty() != tls.key_file.empty()) {
      complain({path_of(i, "listen_tls.cert_file"), path_of(i, "listen_tls.key_file")},
               who + "listen_tls.cert_file and listen_tls.key_file go together: " +
                   (tls.key_file.empty() ? "key_file is missing" : "cert_file is missing"));
    } else if (tls.mode != ClientTlsMode::Disable && tls.cert_file.empty()) {
      complain({path_of(i, "listen_tls.mode"), path_of(i, "listen_tls")},
               who + "listen_tls needs cert_file and key_file: a TLS server shows a certificate");
    } else if (tls.mode == ClientTlsMode::Disable && !tls.cert_file.empty()) {
      complain(
          {path_of(i, "listen_tls.cert_file")},
          who + "listen_tls has a certificate but mode = \"disable\": set mode = \"allow\" or \"require\"");
    }
    if (verifies && tls.ca_file.empty()) {
      complain(
          {path_of(i, "listen_tls.mode"), path_of(i, "listen_tls")},
          who + "listen_tls.mode = \"verify-...\" needs ca_file: who may sign the clients' certificates");
    } else if (!verifies && !tls.ca_file.empty()) {
      complain(
          {path_of(i, "listen_tls.ca_file")},
          who +
              "listen_tls.ca_file is used by mode = \"verify-ca\" and \"verify-full\" only: set one of them");
    }
  }

  // The upstream's own key, else the one it came from in [pool].
  static std::vector<std::string> pool_places(std::size_t i, const std::string& a, const std::string& b) {
    return {path_of(i, "pool." + a), path_of(i, "pool." + b), "pool." + a, "pool." + b};
  }

  void pool(std::size_t i, const Upstream& up) {
    const PoolConfig& p = up.pool;
    const std::string who = called(up);
    if (p.min_size > p.size) {
      complain(pool_places(i, "min_size", "size"), who + "pool.min_size (" + std::to_string(p.min_size) +
                                                       ") is larger than pool.size (" +
                                                       std::to_string(p.size) + ")");
    }
    if (p.max_server_connections != 0 && p.min_size > p.max_server_connections) {
      complain(pool_places(i, "min_size", "max_server_connections"),
               who + "pool.min_size (" + std::to_string(p.min_size) +
                   ") is larger than pool.max_server_connections (" +
                   std::to_string(p.max_server_connections) + ")");
    }
    if (p.server_backoff_min > p.server_backoff_max) {
      complain(pool_places(i, "server_backoff_min", "server_backoff_max"),
               who + "pool.server_backoff_min (" + format_duration(p.server_backoff_min) +
                   ") is longer than pool.server_backoff_max (" + format_duration(p.server_backoff_max) +
                   ")");
    }
    if (p.query_wait_timeout != Duration{} && p.query_wait_notify > p.query_wait_timeout &&
        (places_.has(path_of(i, "pool.query_wait_notify")) || places_.has("pool.query_wait_notify"))) {
      complain(pool_places(i, "query_wait_notify", "query_wait_timeout"),
               who + "pool.query_wait_notify (" + format_duration(p.query_wait_notify) +
                   ") would come after pool.query_wait_timeout (" + format_duration(p.query_wait_timeout) +
                   "): shorten it, or set 0 for no notice");
    }
    if (p.mode == PoolMode::None && up.client_auth == ClientAuth::Trust) {
      complain({path_of(i, "client_auth"), path_of(i, "pool.mode"), "pool.mode"},
               who +
                   "client_auth = \"trust\" contradicts pool.mode = \"none\", which passes the "
                   "authentication through");
    }
  }

  struct Bound {
    const Address* address;
    std::vector<std::string> places;
    std::string who;
  };

  void listeners() {
    if (config_.server.skip_failed_listeners) return;  // they are left out when they fail
    std::vector<Bound> bound;
    for (std::size_t i = 0; i < config_.upstreams.size(); ++i) {
      const Upstream& up = config_.upstreams[i];
      for (const Listener& listener : up.listeners) {
        if (listener.address.path.size() > kLongestSocketPath) {
          complain({path_of(i, "listen"), path_of(i)},
                   "unix socket path " + in_quotes(listener.address.path) + " has " +
                       std::to_string(listener.address.path.size()) + " bytes, the system allows " +
                       std::to_string(kLongestSocketPath) + ": choose a shorter directory");
        }
        bound.push_back(
            {&listener.address, {path_of(i, "listen"), path_of(i)}, "upstream " + in_quotes(up.name)});
      }
    }
    const HttpConfig& http = config_.http;
    const Address admin{"127.0.0.1", http.admin_port, {}};
    if (http.metrics) bound.push_back({&*http.metrics, {"metrics.listen"}, "metrics"});
    // Metrics and health may share one address.
    if (http.health && http.health != http.metrics)
      bound.push_back({&*http.health, {"health.listen"}, "health"});
    if (http.quitquitquit) bound.push_back({&admin, {"admin.port", "admin.quitquitquit"}, "admin"});
    for (std::size_t i = 0; i < bound.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (!overlap(*bound[i].address, *bound[j].address)) continue;
        complain(bound[i].places, to_string(*bound[i].address) + " is listened on twice, by " + bound[j].who +
                                      " and by " + bound[i].who + ": change one of them");
        break;
      }
    }
  }

  void users() {
    for (std::size_t i = 0; i < config_.users.size(); ++i) {
      const User& user = config_.users[i];
      const std::string path = "user[" + std::to_string(i) + "]";
      if (user.name.empty()) complain({path}, "this [[user]] has no name");
      if (user.name.size() >= 64) complain({path + ".name"}, "the name of a [[user]] has at most 63 bytes");
      if (user.password.empty()) complain({path}, "[[user]] " + in_quotes(user.name) + " has no password");
      const auto trusts = [&user](const Upstream& up) {
        return up.client_auth == ClientAuth::Trust && (user.upstream.empty() || user.upstream == up.name);
      };
      if (std::none_of(config_.upstreams.begin(), config_.upstreams.end(), trusts)) {
        complain({path + ".upstream", path},
                 "[[user]] " + in_quotes(user.name) + " is for no upstream: " +
                     (user.upstream.empty() ? "none has client_auth = \"trust\""
                                            : "none is called " + in_quotes(user.upstream) +
                                                  " and has client_auth = \"trust\""));
      }
      for (std::size_t j = 0; j < i; ++j) {
        if (config_.users[j].name != user.name || config_.users[j].upstream != user.upstream) continue;
        complain({path + ".name", path},
                 "[[user]] " + in_quotes(user.name) + " is there twice: remove one of them");
        break;
      }
    }
  }

  void cloudsql() {
    credentials();
    const CloudSqlConfig& c = config_.cloudsql;
    const std::string& url = c.sqladmin_api_endpoint;
    if (!url.empty() && !http_url(url)) {
      complain({"cloudsql.sqladmin_api_endpoint"},
               "the SQL Admin API endpoint (--sqladmin-api-endpoint) " + in_quotes(without_userinfo(url)) +
                   " is not a URL such as https://sqladmin.googleapis.com/");
    }
    if (!url.empty() && !c.universe_domain.empty()) {
      complain({"cloudsql.universe_domain", "cloudsql.sqladmin_api_endpoint"},
               "cloudsql.sqladmin_api_endpoint and cloudsql.universe_domain exclude each other: keep one of "
               "them");
    }
    if (!c.universe_domain.empty() && !is_domain_name(c.universe_domain)) {
      complain({"cloudsql.universe_domain"}, "the universe domain " + in_quotes(c.universe_domain) +
                                                 " is not a domain such as googleapis.com");
    }
    // Both become parts of a header.
    if (!header_text(c.user_agent) || c.user_agent.size() > 1000) {
      complain({"cloudsql.user_agent"},
               "the user agent " + in_quotes(c.user_agent) + " is longer than 1000 bytes or not plain ASCII");
    }
    if (!header_text(c.quota_project) || c.quota_project.find(' ') != std::string::npos ||
        c.quota_project.size() > 200) {
      complain({"cloudsql.quota_project"},
               "the quota project " + in_quotes(c.quota_project) + " is not the ID of a project");
    }
  }

  // http(s)://HOST[:PORT][/PATH]
  static bool http_url(std::string_view url) {
    const std::size_t scheme = url.rfind("https://", 0) == 0 ? 8 : url.rfind("http://", 0) == 0 ? 7 : 0;
    if (scheme == 0 || url.find_first_of(" ?#@\"'<>\\^`{|}", scheme) != std::string_view::npos) return false;
    const std::string_view host = url.substr(scheme, url.find('/', scheme) - scheme);
    if (host.empty() || host.front() == ':') return false;
    const auto colon = host.rfind(':');
    if (colon == std::string_view::npos || host.find(']', colon) != std::string_view::npos) return true;
    return parse_port(host.substr(colon + 1)).has_value();
  }

  static bool header_text(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  }

  void credentials() {
    const CloudSqlConfig& c = config_.cloudsql;
    const struct {
      const char* key;
      bool given;
    } sources[] = {{"cloudsql.token", !c.token.empty()},
                   {"cloudsql.credentials_file", !c.credentials_file.empty()},
                   {"cloudsql.credentials_json", !c.credentials_json.empty()},
                   {"cloudsql.gcloud_auth", c.gcloud_auth}};
    const char* first = nullptr;
    for (const auto& source : sources) {
      if (!source.given) continue;
      if (first) {
        complain({first, source.key},
                 std::string(first) + " and " + source.key + " exclude each other: keep one of them");
        break;
      }
      first = source.key;
    }
    const bool iam = std::any_of(config_.upstreams.begin(), config_.upstreams.end(),
                                 [](const Upstream& up) { return up.auto_iam_authn; });
    if (!c.login_token.empty() && (c.token.empty() || !iam)) {
      complain({"cloudsql.login_token"},
               "cloudsql.login_token is used together with cloudsql.token and auto_iam_authn "
               "only: remove it or add them");
    }
    for (const std::string& account : c.impersonate) {
      const auto fits = [](char ch) { return ch > ' ' && ch <= '~' && ch != '/' && ch != ',' && ch != '"'; };
      if (account.size() <= 320 && account.find('@') != std::string::npos &&
          std::all_of(account.begin(), account.end(), fits))
        continue;
      complain({"cloudsql.impersonate"}, in_quotes(account) +
                                             " is not the e-mail address of a service account, such as "
                                             "app@my-project.iam.gserviceaccount.com");
    }
  }

  void metrics_namespace() {
    // Prometheus' rule for the first part of a metric's name (its data model page).
    const std::string& name = config_.http.prometheus_namespace;
    const auto fits = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
             c == ':';
    };
    if (name.empty() || (name.size() <= 100 && std::all_of(name.begin(), name.end(), fits) &&
                         !(name.front() >= '0' && name.front() <= '9')))
      return;
    complain({"metrics.namespace"}, "the namespace of metrics " + in_quotes(name) +
                                        " must consist of letters, digits and _, and not begin with a digit");
  }

  const Config& config_;
  const Places& places_;
  std::vector<Diagnostic> found_;
};

}  // namespace

void complete(Config& config) {
  std::uint16_t next_port = 5432;
  for (Upstream& up : config.upstreams) {
    if (up.name.empty() && up.is_cloudsql()) up.name = up.instance;
    if (up.name.empty() && !up.hosts.empty()) up.name = to_string(up.hosts.front());
    if (up.listeners.empty()) up.listeners.push_back({{"127.0.0.1", next_port++, {}}, RemoteOptIn::No});
    for (Listener& listener : up.listeners) {
      if (listener.address.is_unix()) listener.address.path = socket_file(listener.address.path, up.instance);
      if (up.allow_remote && listener.remote_opt_in == RemoteOptIn::No)
        listener.remote_opt_in = RemoteOptIn::ConfigFile;
    }
  }
  std::string& url = config.cloudsql.sqladmin_api_endpoint;
  if (!url.empty() && url.back() != '/') url.push_back('/');
}

std::vector<Diagnostic> validate(const Config& config, const Places& places) {
  return Rules(config, places).check();
}

}  // namespace sidepool::conf
