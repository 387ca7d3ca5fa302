// src/cli/options.cpp -- flags and CSQL_PROXY_* variables as typed values.
#include "src/cli/options.h"

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
  Values(const Arguments& arguments, const Inputs& inputs, std::vector<std::string>& errors)
      : arguments_(arguments), inputs_(inputs), errors_(errors) {}

  std::optional<std::string> text(std::string_view flag) {
    const auto given = find(flag);
    if (!given || given->value.empty()) return std::nullopt;
    return given->value;
  }
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
    std::string name;  // "--port" or "CSQL_PROXY_PORT"
    std::string value;
  };

  std::optional<Given> find(std::string_view flag) {
    if (const auto found = arguments_.flags.find(flag); found != arguments_.flags.end()) {
      return Given{"--" + std::string(flag), found->second};
    }
    const Flag* known = find_flag(flag);
    if (!known || !known->variable) return std::nullopt;
    auto value = inputs_.environment(variable_of(flag));
    if (!value || value->empty()) return std::nullopt;
    return Given{variable_of(flag), *std::move(value)};
  }
  void complain(const Given& given, std::string_view remedy) {
    errors_.push_back("invalid value " + in_quotes(given.value) + " for " + given.name + ": " +
                      std::string(remedy));
  }

  const Arguments& arguments_;
  const Inputs& inputs_;
  std::vector<std::string>& errors_;
};

// Variables of the Auth Proxy that we lack are refused like their flags, unless they switch something off.
void missing_variables(const Inputs& inputs, std::vector<std::string>& errors) {
  for (const MissingFlag& flag : missing_flags()) {
    if (flag.name == "config-file") continue;  // the Auth Proxy itself does not look at this variable
    const std::string name = variable_of(flag.name);
    const auto value = inputs.environment(name);
    if (!value || value->empty()) continue;
    if (flag.kind == FlagKind::Boolean && parse_boolean(*value) == false) continue;
    errors.push_back(name + " is not supported in this version of sidepool: " + std::string(flag.instead));
  }
}

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

Options read_options(const Arguments& arguments, const Inputs& inputs, std::vector<std::string>& errors) {
  Values values(arguments, inputs, errors);
  Options options;
  options.port = values.port("port");
  options.address = values.text_even_empty("address");
  options.unix_socket = values.text("unix-socket");
  options.auto_iam_authn = values.boolean("auto-iam-authn");
  options.private_ip = values.boolean("private-ip");
  options.credentials_file = values.text("credentials-file");
  options.token = values.secret("token");
  options.login_token = values.secret("login-token");
  options.sqladmin_api_endpoint = values.text("sqladmin-api-endpoint");
  options.health_check = values.boolean("health-check");
  options.prometheus = values.boolean("prometheus");
  options.http_address = values.text("http-address");
  options.http_port = values.port("http-port");
  options.quitquitquit = values.boolean("quitquitquit");
  options.admin_port = values.port("admin-port");
  options.structured_logs = values.boolean("structured-logs");
  options.max_sigterm_delay = values.duration("max-sigterm-delay");
  options.exit_zero_on_sigterm = values.boolean("exit-zero-on-sigterm");
  options.config = values.text("config");
  options.check_config = values.boolean("check-config").value_or(false);
  options.print_config = values.boolean("print-config").value_or(false);
  options.version = values.boolean("version").value_or(false);
  options.help = values.boolean("help").value_or(false);
  if (options.http_address == "localhost") options.http_address = "127.0.0.1";
  if (options.http_address && !conf::is_ip(*options.http_address)) {
    errors.push_back("invalid value " + in_quotes(*options.http_address) +
                     " for --http-address: write an IP address or localhost");
  }
  missing_variables(inputs, errors);
  return options;
}

std::optional<std::string> broken_rule(const Options& options, bool any_instance, bool file) {
  if (!any_instance && !file) return "missing instance_connection_name (e.g., project:region:instance)";
  if (options.unix_socket && options.address) return "cannot specify --unix-socket and --address together";
  if (options.unix_socket && options.port) return "cannot specify --unix-socket and --port together";
  if (options.address && !conf::is_ip(*options.address)) {
    return "not a valid IP address: " + in_quotes(*options.address) +
           (*options.address == "localhost" ? "; write 127.0.0.1" : "");
  }
  if (options.token && options.credentials_file) {
    return "cannot specify --token and --credentials-file flags at the same time";
  }
  const bool iam = options.auto_iam_authn.value_or(false);
  if (iam && options.token && !options.login_token && !file) {
    return "cannot specify --auto-iam-authn and --token without --login-token";
  }
  if (options.login_token && (!options.token || !iam) && !file) {
    return "cannot specify --login-token without --token and --auto-iam-authn";
  }
  return std::nullopt;
}

std::vector<std::string> instance_texts(const Arguments& arguments, const Inputs& inputs) {
  if (!arguments.positionals.empty()) return arguments.positionals;
  const std::string name = "CSQL_PROXY_INSTANCE_CONNECTION_NAME";
  const auto value = [&inputs](const std::string& variable) {
    auto text = inputs.environment(variable);
    return text && !text->empty() ? text : std::nullopt;
  };
  std::vector<std::string> out;
  if (auto text = value(name)) out.push_back(*std::move(text));
  // The plain name stands for number 0.
  for (std::size_t i = out.size();; ++i) {
    auto text = value(name + "_" + std::to_string(i));
    if (!text) return out;
    out.push_back(*std::move(text));
  }
}

}  // namespace sidepool::cli
