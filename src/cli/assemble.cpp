// src/cli/assemble.cpp -- flags and instances laid over what the file says.
#include "src/cli/assemble.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "conf/address.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;
using conf::RemoteOptIn;
using conf::Upstream;

// Gives instances their listeners in turn. The Auth Proxy's rules: ?port= takes nothing from the counters;
// --port counts up from its value; else 5432 does (cloud-sql-proxy internal/proxy, newSocketMount).
class ListenerRules {
 public:
  explicit ListenerRules(const Options& options)
      : options_(options), next_global_(options.port.value_or(0)) {}

  bool given() const { return options_.port || options_.address || options_.unix_socket; }

  static bool given(const InstanceArgument& instance) {
    return instance.address || instance.port || instance.unix_socket || instance.unix_socket_path;
  }

  // Nothing: the ports are used up.
  std::optional<conf::Listener> next(const InstanceArgument& instance) {
    const bool tcp = instance.address || instance.port;
    if (!tcp && instance.unix_socket_path) return unix(conf::socket_file(*instance.unix_socket_path, {}));
    // The Auth Proxy does it the other way round, so that what is said about one instance is lost.
    const auto& directory = instance.unix_socket ? instance.unix_socket : options_.unix_socket;
    if (!tcp && directory) return unix(conf::socket_file(*directory, instance.instance));
    conf::Listener listener;
    listener.address.ip = instance.address ? *instance.address : options_.address.value_or("127.0.0.1");
    if (instance.address || options_.address) listener.remote_opt_in = RemoteOptIn::FlagOrEnv;
    std::uint32_t& counter = options_.port.value_or(0) != 0 ? next_global_ : next_default_;
    const std::uint32_t port = instance.port ? *instance.port : counter++;
    if (port > 65535) return std::nullopt;
    listener.address.port = static_cast<std::uint16_t>(port);
    return listener;
  }

 private:
  static conf::Listener unix(std::string path) { return {{{}, 0, std::move(path)}, RemoteOptIn::No}; }

  const Options& options_;
  std::uint32_t next_global_;
  std::uint32_t next_default_ = 5432;
};

class Layers {
 public:
  Layers(const Options& options, Assembly& assembly)
      : options_(options), assembly_(assembly), rules_(options) {}

  void replace_upstreams(const std::vector<InstanceArgument>& instances) {
    const std::vector<Upstream> from_file = std::move(assembly_.config.upstreams);
    std::vector<std::optional<std::size_t>> origins;
    assembly_.config.upstreams.clear();
    unnamed(from_file, instances);
    for (const InstanceArgument& instance : instances) {
      const auto same = [&instance](const Upstream& up) { return up.instance == instance.instance; };
      const auto lender = std::find_if(from_file.begin(), from_file.end(), same);
      const bool lent = lender != from_file.end();
      Upstream up = lent ? *lender : Upstream{};
      if (!lent) up.pool = assembly_.config.pool;
      up.instance = instance.instance;
      if (instance.private_ip == true && options_.auto_ip == true)
        assembly_.errors.push_back("cannot use --auto-ip with private-ip (" + instance.instance + ")");
      instance_keys(instance, up);
      listen(instance, up);
      if (merged(up)) continue;
      assembly_.config.upstreams.push_back(std::move(up));
      origins.push_back(lent ? std::optional(static_cast<std::size_t>(lender - from_file.begin()))
                             : std::nullopt);
    }
    assembly_.places.renumber_upstreams(origins);
  }

  // The file's own instances, as if they had been named without parameters.
  void change_upstreams() {
    bool any = false;
    for (Upstream& up : assembly_.config.upstreams) {
      if (!up.is_cloudsql()) continue;
      any = true;
      InstanceArgument instance;
      instance.instance = up.instance;
      instance_keys(instance, up);
      if (rules_.given()) listen(instance, up);
    }
    const bool meant =
        rules_.given() || options_.auto_iam_authn || options_.private_ip || options_.psc || options_.auto_ip;
    if (!any && meant && !assembly_.config.upstreams.empty()) {
      assembly_.errors.push_back(
          "--port, --address, --unix-socket, --auto-iam-authn, --private-ip, --psc and --auto-ip are about "
          "Cloud "
          "SQL instances, and " +
          assembly_.places.file() + " has none: set listen in its [[upstream]] instead");
    }
  }

  void cloudsql_keys() {
    conf::CloudSqlConfig& cloudsql = assembly_.config.cloudsql;
    // One source by flag replaces the one of the file.
    if (options_.credentials_file || options_.json_credentials || options_.token ||
        options_.gcloud_auth == true) {
      cloudsql.credentials_file.clear();
      cloudsql.credentials_json = {};
      cloudsql.gcloud_auth = false;
      if (!options_.token) cloudsql.login_token = {};
      cloudsql.token = {};
    }
    set(options_.credentials_file, cloudsql.credentials_file);
    set(options_.json_credentials, cloudsql.credentials_json);
    set(options_.gcloud_auth, cloudsql.gcloud_auth);
    set(options_.token, cloudsql.token);
    set(options_.login_token, cloudsql.login_token);
    if (options_.impersonate) cloudsql.impersonate = split(*options_.impersonate);
    set(options_.quota_project, cloudsql.quota_project);
    if (options_.universe_domain) cloudsql.sqladmin_api_endpoint.clear();
    if (options_.sqladmin_api_endpoint) cloudsql.universe_domain.clear();
    set(options_.universe_domain, cloudsql.universe_domain);
    set(options_.sqladmin_api_endpoint, cloudsql.sqladmin_api_endpoint);
    set(options_.user_agent, cloudsql.user_agent);
    set(options_.lazy_refresh, cloudsql.lazy_refresh);
    set(options_.run_connection_test, cloudsql.run_connection_test);
  }

  void other_keys() {
    conf::Config& config = assembly_.config;
    cloudsql_keys();
    http(options_.prometheus, config.http.metrics);
    http(options_.health_check, config.http.health);
    if ((options_.http_port || options_.http_address) && !config.http.metrics && !config.http.health) {
      const std::string flag = options_.http_port ? "--http-port" : "--http-address";
      assembly_.notes.push_back(
          {false, "Ignoring " + flag + " because --prometheus or --health-check was not set"});
    }
    set(options_.prometheus_namespace, config.http.prometheus_namespace);
    set(options_.quitquitquit, config.http.quitquitquit);
    set(options_.admin_port, config.http.admin_port);
    max_connections();
    set(options_.skip_failed_instance_config, config.server.skip_failed_listeners);
    if (options_.structured_logs) {
      config.log.format = *options_.structured_logs ? conf::LogFormat::Json : conf::LogFormat::Plain;
    }
    if (options_.debug_logs == true) config.log.level = conf::LogLevel::Debug;
    if (options_.quiet == true) config.log.level = conf::LogLevel::Error;
    set(options_.min_sigterm_delay, config.shutdown.min_sigterm_delay);
    if (options_.max_sigterm_delay) config.shutdown.max_sigterm_delay = *options_.max_sigterm_delay;
    set(options_.exit_zero_on_sigterm, config.shutdown.exit_zero_on_sigterm);
    if (options_.exit_when_idle) config.shutdown.exit_when_idle = *options_.exit_when_idle;
  }

 private:
  template <class T>
  static void set(const std::optional<T>& option, T& key) {
    if (option) key = *option;
  }

  static std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> out;
    for (;;) {
      const auto comma = std::min(list.find(','), list.size());
      out.emplace_back(list.substr(0, comma));
      if (comma == list.size()) return out;
      list.remove_prefix(comma + 1);
    }
  }

  void max_connections() {
    constexpr std::uint64_t kMost = 1'000'000;  // the range of the key
    const auto& wanted = options_.max_connections;
    if (wanted.value_or(0) == 0) return;
    if (*wanted > kMost) {
      assembly_.errors.push_back(
          "invalid value " + in_quotes(std::to_string(*wanted)) +
          " for --max-connections: write a number from 1 to 1000000, or 0 for the default");
      return;
    }
    assembly_.config.server.max_client_conn = static_cast<std::uint32_t>(*wanted);
  }

  void unnamed(const std::vector<Upstream>& from_file, const std::vector<InstanceArgument>& instances) {
    for (std::size_t i = 0; i < from_file.size(); ++i) {
      const Upstream& up = from_file[i];
      const auto named = [&up](const InstanceArgument& instance) { return instance.instance == up.instance; };
      if (std::any_of(instances.begin(), instances.end(), named)) continue;
      const std::string what = up.is_cloudsql() ? in_quotes(up.instance) : "a list of hosts";
      assembly_.errors.push_back(to_string(assembly_.places.at(
          {"upstream[" + std::to_string(i) + "]"},
          "this [[upstream]] is " + what +
              ", but the instances named by arguments or CSQL_PROXY_INSTANCE_CONNECTION_NAME"
              " replace the file's list: name it there too, or remove one of the two")));
    }
  }

  void instance_keys(const InstanceArgument& instance, Upstream& up) const {
    if (instance.auto_iam_authn || options_.auto_iam_authn) {
      up.auto_iam_authn = instance.auto_iam_authn ? *instance.auto_iam_authn : *options_.auto_iam_authn;
    }
    if (auto ip_type = wanted_ip_type(instance)) up.ip_type = *ip_type;
  }

  // What is said about the instance wins over the flags; of each, private over PSC over automatic, which is
  // the Auth Proxy's order. Nothing: as the file says.
  std::optional<conf::IpType> wanted_ip_type(const InstanceArgument& instance) const {
    using conf::IpType;
    const auto is_private = instance.private_ip ? instance.private_ip : options_.private_ip;
    const auto psc = instance.psc ? instance.psc : options_.psc;
    if (instance.private_ip == true) return IpType::Private;
    if (instance.psc == true) return IpType::Psc;
    if (is_private == true) return IpType::Private;
    if (psc == true) return IpType::Psc;
    if (options_.auto_ip == true) return IpType::Auto;
    if (is_private || psc || options_.auto_ip) return IpType::Public;
    return std::nullopt;
  }

  void listen(const InstanceArgument& instance, Upstream& up) {
    if (!rules_.given() && !ListenerRules::given(instance) && !up.listeners.empty()) return;
    auto listener = rules_.next(instance);
    if (!listener) {
      assembly_.errors.push_back("[" + instance.instance +
                                 "] no port is left for it: choose a lower --port, or give it a ?port=");
      return;
    }
    up.listeners = {*std::move(listener)};
  }

  // An instance named twice is one upstream with two listeners, so that both share its pools; unless they
  // differ in more than the listener. Then it needs a name of its own.
  bool merged(Upstream& up) {
    std::size_t namesakes = 0;
    for (Upstream& other : assembly_.config.upstreams) {
      if (other.instance != up.instance) continue;
      ++namesakes;
      if (other.auto_iam_authn != up.auto_iam_authn || other.ip_type != up.ip_type) continue;
      other.listeners.insert(other.listeners.end(), up.listeners.begin(), up.listeners.end());
      return true;
    }
    if (namesakes > 0)
      up.name = (up.name.empty() ? up.instance : up.name) + "#" + std::to_string(namesakes + 1);
    return false;
  }

  // --prometheus or --health-check, and the address both use. Other defaults hold for a listener of the file.
  void http(std::optional<bool> wanted, std::optional<conf::Address>& listen) const {
    if (wanted == false) listen.reset();
    if (wanted == true && !listen) listen = conf::Address{"127.0.0.1", 9090, {}};
    if (!listen) return;
    if (options_.http_address) listen->ip = *options_.http_address;
    if (options_.http_port) listen->port = *options_.http_port;
  }

  const Options& options_;
  Assembly& assembly_;
  ListenerRules rules_;
};

}  // namespace

void lay_over(const Options& options, const std::vector<InstanceArgument>& instances, Assembly& assembly) {
  Layers layers(options, assembly);
  if (instances.empty()) {
    layers.change_upstreams();
  } else {
    layers.replace_upstreams(instances);
  }
  layers.other_keys();
  for (Note& note : ignored_flags(options)) assembly.notes.push_back(std::move(note));
}

}  // namespace sidepool::cli
