// src/cli/options.cpp -- flags, CSQL_PROXY_* variables and the keys of the flat file as typed values.
#include "src/cli/options.h"

#include <charconv>
#include <functional>
#include <utility>

#include "conf/address.h"
#include "conf/diagnostic.h"
#include "conf/units.h"
#include "src/cli/flags.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;

class Values {
 public:
  Values(const Arguments& arguments, const Inputs& inputs, const FlatFile& file,
         std::vector<std::string>& errors)
      : arguments_(arguments), inputs_(inputs), file_(file), errors_(errors) {}

  std::optional<std::string> text(std::string_view flag) {
    const auto given = find(flag);
    if (!given || given->value.empty()) return std::nullopt;
    return given->value;
  }
  std::optional<std::uint64_t> count(std::string_view flag) { return number<std::uint64_t>(flag); }
  std::optional<std::int64_t> integer(std::string_view flag) { return number<std::int64_t>(flag); }
  std::optional<std::string> text_even_empty(std::string_view flag) {
    const auto given = find(flag);
    return given ? std::optional(given->value) : std::nullopt;
  }
  std::optional<conf::Secret> secret(std::string_view flag) {
    auto given = text(flag);
    if (!given) return std::nullopt;
    conf::Secret secret(*given);
    conf::wipe(given->data(), given->size());
    return secret;
  }
  std::optional<bool> boolean(std::string_view flag) {
    const auto given = find(flag);
    if (!given) return std::nullopt;
    const auto value = parse_boolean(given->value);
    if (!value) complain(*given, "write true or false");
    return value;
  }
  std::optional<std::uint16_t> port(std::string_view flag) {
    const auto given = find(flag);
    if (!given) return std::nullopt;
    const auto value = conf::parse_port(given->value, true);
    if (!value) complain(*given, "write a port number from 0 to 65535");
    return value;
  }
  std::optional<conf::Duration> duration(std::string_view flag) {
    const auto given = find(flag);
    if (!given) return std::nullopt;
    const auto value = conf::parse_duration(given->value);
    if (!value || value->count() < 0) {
      complain(*given, "write a time with its unit, such as 30s or 1m30s");
      return std::nullopt;
    }
    return *value;
  }

 private:
  struct Given {
    std::string name;  // "--port", "CSQL_PROXY_PORT" or "\"port\" in FILE:3"
    std::string value;
  };

  template <class T>
  std::optional<T> number(std::string_view flag) {
    const auto given = find(flag);
    if (!given) return std::nullopt;
    T value = 0;
    const char* const end = given->value.data() + given->value.size();
    const auto [stop, error] = std::from_chars(given->value.data(), end, value);
    if (error == std::errc{} && stop == end) return value;
    complain(*given, "write a whole number");
    return std::nullopt;
  }

  std::optional<Given> find(std::string_view flag) {
    if (const auto found = arguments_.flags.find(flag); found != arguments_.flags.end()) {
      return Given{"--" + std::string(flag), found->second};
    }
    const Flag* known = find_flag(flags(), flag);
    if (!known || !known->variable) return std::nullopt;
    if (auto value = inputs_.environment(variable_of(flag)); value && !value->empty())
      return Given{variable_of(flag), *std::move(value)};
    const FlatEntry* entry = file_.find(flag);
    if (!entry || entry->text.empty()) return std::nullopt;
    return Given{in_quotes(flag) + " in " + file_.place(entry->line), entry->text};
  }
  void complain(const Given& given, std::string_view remedy) {
    // pflag's words for a flag; the Auth Proxy has none for the others.
    const bool flag = given.name.rfind("--", 0) == 0;
    errors_.push_back((flag ? "invalid argument " : "invalid value ") + in_quotes(given.value) + " for " +
                      (flag ? in_quotes(spellings(given.name)) + " flag" : given.name) + ": " +
                      std::string(remedy));
  }

  // "-p, --port"
  static std::string spellings(const std::string& name) {
    const Flag* flag = find_flag(flags(), std::string_view(name).substr(2));
    return flag && flag->letter != 0 ? std::string("-") + flag->letter + ", " + name : name;
  }

  const Arguments& arguments_;
  const Inputs& inputs_;
  const FlatFile& file_;
  std::vector<std::string>& errors_;
};

}  // namespace

std::optional<bool> parse_boolean(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "FALSE", "false", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<std::string> flat_file_path(const Arguments& arguments, const Inputs& inputs) {
  std::vector<std::string> none;
  const FlatFile no_file;
  return Values(arguments, inputs, no_file, none).text("config-file");
}

Options read_options(const Arguments& arguments, const Inputs& inputs, const FlatFile& file,
                     std::vector<std::string>& errors) {
  Values values(arguments, inputs, file, errors);
  Options options;
  options.port = values.port("port");
  options.address = values.text_even_empty("address");
  options.unix_socket = values.text("unix-socket");
  options.max_connections = values.count("max-connections");
  options.skip_failed_instance_config = values.boolean("skip-failed-instance-config");
  options.auto_iam_authn = values.boolean("auto-iam-authn");
  options.private_ip = values.boolean("private-ip");
  options.psc = values.boolean("psc");
  options.auto_ip = values.boolean("auto-ip");
  options.lazy_refresh = values.boolean("lazy-refresh");
  options.run_connection_test = values.boolean("run-connection-test");
  options.quota_project = values.text("quota-project");
  options.sqladmin_api_endpoint = values.text("sqladmin-api-endpoint");
  options.universe_domain = values.text("universe-domain");
  options.user_agent = values.text("user-agent");
  options.credentials_file = values.text("credentials-file");
  options.json_credentials = values.secret("json-credentials");
  options.gcloud_auth = values.boolean("gcloud-auth");
  options.token = values.secret("token");
  options.login_token = values.secret("login-token");
  options.impersonate = values.text("impersonate-service-account");
  options.health_check = values.boolean("health-check");
  options.prometheus = values.boolean("prometheus");
  options.prometheus_namespace = values.text("prometheus-namespace");
  options.http_address = values.text("http-address");
  options.http_port = values.port("http-port");
  options.quitquitquit = values.boolean("quitquitquit");
  options.admin_port = values.port("admin-port");
  options.min_sigterm_delay = values.duration("min-sigterm-delay");
  options.max_sigterm_delay = values.duration("max-sigterm-delay");
  options.exit_zero_on_sigterm = values.boolean("exit-zero-on-sigterm");
  options.exit_when_idle = values.duration("exit-when-idle");
  options.structured_logs = values.boolean("structured-logs");
  options.quiet = values.boolean("quiet");
  options.debug_logs = values.boolean("debug-logs");
  options.config = values.text("config");
  options.check_config = values.boolean("check-config").value_or(false);
  options.print_config = values.boolean("print-config").value_or(false);
  options.debug = values.boolean("debug");
  options.disable_metrics = values.boolean("disable-metrics");
  options.disable_traces = values.boolean("disable-traces");
  options.telemetry_project = values.text("telemetry-project");
  options.telemetry_prefix = values.text("telemetry-prefix");
  options.telemetry_sample_rate = values.integer("telemetry-sample-rate");
  options.fuse = values.text("fuse");
  options.fuse_tmp_dir = values.text("fuse-tmp-dir");
  options.sql_data = values.boolean("sql-data");
  options.sqldata_api_endpoint = values.text("sqldata-api-endpoint");
  if (!options.sqldata_api_endpoint) options.sqldata_api_endpoint = values.text("sql-data-endpoint");
  options.resource_exhausted_cooldown_delay = values.duration("resource-exhausted-cooldown-delay");
  if (options.http_address == "localhost") options.http_address = "127.0.0.1";
  if (options.http_address && !conf::is_ip(*options.http_address)) {
    errors.push_back("invalid value " + in_quotes(*options.http_address) +
                     " for --http-address: write an IP address or localhost");
  }
  return options;
}

namespace {

// A list by numbered names, `name` itself standing for number 0.
std::vector<std::string> numbered(
    const std::string& name, char separator,
    const std::function<std::optional<std::string>(const std::string& name)>& value,
    std::vector<Note>& notes) {
  constexpr std::size_t kLookedFor = 10;  // beyond a gap
  const auto at = [&](std::size_t i) { return name + separator + std::to_string(i); };
  std::vector<std::string> out;
  if (auto text = value(name)) out.push_back(*std::move(text));
  std::size_t gap = out.size();
  for (;; ++gap) {
    auto text = value(at(gap));
    if (!text) break;
    out.push_back(*std::move(text));
  }
  for (std::size_t i = gap + 1; i <= gap + kLookedFor; ++i) {
    if (value(at(i))) notes.push_back({true, at(i) + " is not read, because there is no " + at(gap)});
  }
  return out;
}

}  // namespace

std::vector<std::string> instance_texts(const Arguments& arguments, const Inputs& inputs,
                                        const FlatFile& file, std::vector<Note>& notes) {
  if (!arguments.positionals.empty()) return arguments.positionals;
  const auto variable = [&inputs](const std::string& name) {
    auto text = inputs.environment(name);
    return text && !text->empty() ? text : std::nullopt;
  };
  auto named = numbered("CSQL_PROXY_INSTANCE_CONNECTION_NAME", '_', variable, notes);
  if (!named.empty()) return named;
  const auto key = [&file](const std::string& name) {
    const FlatEntry* entry = file.find(name);
    return entry && !entry->text.empty() ? std::optional(entry->text) : std::nullopt;
  };
  return numbered("instance-connection-name", '-', key, notes);
}

}  // namespace sidepool::cli
