// src/cli/options.h -- flags, CSQL_PROXY_* variables and the keys of the flat file as typed values.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conf/config.h"
#include "src/cli/arguments.h"
#include "src/cli/flat_file.h"
#include "src/cli/parse.h"

namespace sidepool::cli {

// Nothing: neither the flag nor its variable nor its key was given. A flag wins over its variable, which wins
// over the key; an empty variable or key is not given.
struct Options {
  std::optional<std::uint16_t> port{};  // 0: as if it were not given, like the Auth Proxy
  std::optional<std::string> address{};
  std::optional<std::string> unix_socket{};
  std::optional<std::uint64_t> max_connections{};  // 0: as if it were not given
  std::optional<bool> skip_failed_instance_config{};
  std::optional<bool> auto_iam_authn{};
  std::optional<bool> private_ip{};
  std::optional<bool> psc{};
  std::optional<bool> auto_ip{};
  std::optional<bool> lazy_refresh{};
  std::optional<bool> run_connection_test{};
  std::optional<std::string> quota_project{};
  std::optional<std::string> sqladmin_api_endpoint{};
  std::optional<std::string> universe_domain{};
  std::optional<std::string> user_agent{};
  std::optional<std::string> credentials_file{};
  std::optional<conf::Secret> json_credentials{};
  std::optional<bool> gcloud_auth{};
  std::optional<conf::Secret> token{};
  std::optional<conf::Secret> login_token{};
  std::optional<std::string> impersonate{};  // with its commas
  std::optional<bool> health_check{};
  std::optional<bool> prometheus{};
  std::optional<std::string> prometheus_namespace{};
  std::optional<std::string> http_address{};
  std::optional<std::uint16_t> http_port{};
  std::optional<bool> quitquitquit{};
  std::optional<std::uint16_t> admin_port{};
  std::optional<conf::Duration> min_sigterm_delay{};
  std::optional<conf::Duration> max_sigterm_delay{};
  std::optional<bool> exit_zero_on_sigterm{};
  std::optional<conf::Duration> exit_when_idle{};
  std::optional<bool> structured_logs{};
  std::optional<bool> quiet{};
  std::optional<bool> debug_logs{};
  std::optional<std::string> config{};
  bool check_config = false;
  bool print_config = false;
  // Those of the Auth Proxy that change nothing here.
  std::optional<bool> debug{};
  std::optional<bool> disable_metrics{};
  std::optional<bool> disable_traces{};
  std::optional<std::string> telemetry_project{};
  std::optional<std::string> telemetry_prefix{};
  std::optional<std::int64_t> telemetry_sample_rate{};
  std::optional<std::string> fuse{};
  std::optional<std::string> fuse_tmp_dir{};
  std::optional<bool> sql_data{};
  std::optional<std::string> sqldata_api_endpoint{};
  std::optional<conf::Duration> resource_exhausted_cooldown_delay{};
};

// The path of --config-file or CSQL_PROXY_CONFIG_FILE.
std::optional<std::string> flat_file_path(const Arguments& arguments, const Inputs& inputs);

// Every bad value adds one line to `errors` that names the flag, the variable or the key with its place.
Options read_options(const Arguments& arguments, const Inputs& inputs, const FlatFile& file,
                     std::vector<std::string>& errors);

// The first rule of the Auth Proxy that the flags break by themselves, in its order and words
// (cloud-sql-proxy cmd/root.go, parseConfig). `file`: a configuration file may hold the rest of what a rule
// asks for.
std::optional<std::string> broken_rule(const Options& options, bool any_instance, bool file);

// About flags that were given and change nothing, in the Auth Proxy's words where it has them.
std::vector<Note> ignored_flags(const Options& options);

// The names of instances: the arguments, else the variables, else the keys of the file. Of a numbered list
// what comes behind a gap is not read; `notes` tells of it.
std::vector<std::string> instance_texts(const Arguments& arguments, const Inputs& inputs,
                                        const FlatFile& file, std::vector<Note>& notes);

// Go's strconv.ParseBool.
std::optional<bool> parse_boolean(std::string_view text);

}  // namespace sidepool::cli
