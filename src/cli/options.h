// src/cli/options.h -- flags and CSQL_PROXY_* variables as typed values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "src/cli/arguments.h"
#include "src/cli/parse.h"

namespace sidepool::cli {

// Nothing: neither the flag nor its variable was given. A flag wins over its variable; an empty variable is
// not given.
struct Options {
  std::optional<std::uint16_t> port{};  // 0: as if it were not given, like the Auth Proxy
  std::optional<std::string> address{};
  std::optional<std::string> unix_socket{};
  std::optional<bool> auto_iam_authn{};
  std::optional<bool> private_ip{};
  std::optional<std::string> credentials_file{};
  std::optional<conf::Secret> token{};
  std::optional<conf::Secret> login_token{};
  std::optional<std::string> sqladmin_api_endpoint{};
  std::optional<bool> health_check{};
  std::optional<bool> prometheus{};
  std::optional<std::string> http_address{};
  std::optional<std::uint16_t> http_port{};
  std::optional<bool> quitquitquit{};
  std::optional<std::uint16_t> admin_port{};
  std::optional<bool> structured_logs{};
  std::optional<conf::Duration> max_sigterm_delay{};
  std::optional<bool> exit_zero_on_sigterm{};
  std::optional<std::string> config{};
  bool check_config = false;
  bool print_config = false;
  bool version = false;
  bool help = false;
};

// Every bad value adds one line to `errors` that names the flag or the variable.
Options read_options(const Arguments& arguments, const Inputs& inputs, std::vector<std::string>& errors);

// The first rule of the Auth Proxy that the flags break by themselves, in its order and words
// (cloud-sql-proxy cmd/root.go, parseConfig). `file`: a configuration file may hold the rest of what a rule
// asks for.
std::optional<std::string> broken_rule(const Options& options, bool any_instance, bool file);

// The names of instances: the arguments, else the variables.
std::vector<std::string> instance_texts(const Arguments& arguments, const Inputs& inputs);

// Go's strconv.ParseBool.
std::optional<bool> parse_boolean(std::string_view text);

}  // namespace sidepool::cli
