// src/cli/rules.cpp -- what the Auth Proxy says about flags that exclude each other, and about those without
// effect (cloud-sql-proxy cmd/root.go, parseConfig).
#include <utility>

#include "conf/address.h"
#include "conf/diagnostic.h"
#include "src/cli/options.h"

namespace sidepool::cli {
namespace {

using Broken = std::optional<std::string>;

bool on(const std::optional<bool>& flag) { return flag.value_or(false); }

// What sidepool does not do and could not leave out unnoticed.
Broken not_offered(const Options& options) {
  if (on(options.sql_data)) {
    return "--sql-data is not supported by sidepool: remove it, sidepool connects to the instance itself";
  }
  if (options.telemetry_project && !(on(options.disable_metrics) && on(options.disable_traces))) {
    return "--telemetry-project is not supported by sidepool, which sends nothing to Cloud Monitoring or "
           "Cloud "
           "Trace: remove it; --prometheus serves metrics";
  }
  return std::nullopt;
}

Broken listening(const Options& options) {
  if (options.unix_socket && options.address) return "cannot specify --unix-socket and --address together";
  if (options.unix_socket && options.port) return "cannot specify --unix-socket and --port together";
  if (options.address && !conf::is_ip(*options.address)) {
    return "not a valid IP address: " + conf::in_quotes(*options.address) +
           (*options.address == "localhost" ? "; write 127.0.0.1" : "");
  }
  return std::nullopt;
}

Broken addresses(const Options& options) {
  // Whether they are given counts, even as false.
  if (options.private_ip && options.auto_ip) return "cannot specify --private-ip and --auto-ip together";
  if (on(options.private_ip) + on(options.psc) + on(options.sql_data) > 1) {
    return "cannot specify --private-ip, --psc, and --sql-data flags at the same time";
  }
  return std::nullopt;
}

Broken credentials(const Options& options) {
  const bool token = options.token.has_value();
  const bool file = options.credentials_file.has_value();
  const bool json = options.json_credentials.has_value();
  const bool gcloud = on(options.gcloud_auth);
  const struct {
    bool both;
    const char* first;
    const char* second;
  } pairs[] = {
      {token && file, "--token", "--credentials-file"},
      {token && gcloud, "--token", "--gcloud-auth"},
      {file && gcloud, "--credentials-file", "--gcloud-auth"},
      {json && token, "--json-credentials", "--token"},
      {json && file, "--json-credentials", "--credentials-file"},
      {json && gcloud, "--json-credentials", "--gcloud-auth"},
  };
  for (const auto& pair : pairs) {
    if (pair.both)
      return std::string("cannot specify ") + pair.first + " and " + pair.second + " flags at the same time";
  }
  return std::nullopt;
}

Broken logins(const Options& options, bool file) {
  const bool iam = on(options.auto_iam_authn);
  if (iam && options.token && !options.login_token && !file) {
    return "cannot specify --auto-iam-authn and --token without --login-token";
  }
  if (iam && on(options.gcloud_auth)) {
    return "cannot use --auto-iam-authn with --gcloud-auth.\n"
           "Instead use Application Default Credentials (enabled with: gcloud auth application-default "
           "login)\n"
           "and re-try with just --auto-iam-authn";
  }
  if (options.login_token && (!options.token || !iam) && !file) {
    return "cannot specify --login-token without --token and --auto-iam-authn";
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> broken_rule(const Options& options, bool any_instance, bool file) {
  if (!any_instance && !options.fuse && !file)
    return "missing instance_connection_name (e.g., project:region:instance)";
  if (options.fuse) {
    return "--fuse is not supported by sidepool: name the instances as arguments, with --unix-socket for "
           "sockets in a directory";
  }
  if (auto broken = listening(options)) return broken;
  if (auto broken = addresses(options)) return broken;
  if (auto broken = credentials(options)) return broken;
  if (auto broken = logins(options, file)) return broken;
  if (options.sqladmin_api_endpoint && options.universe_domain) {
    return "cannot specify --sqladmin-api-endpoint and --universe-domain at the same time";
  }
  return not_offered(options);
}

std::vector<Note> ignored_flags(const Options& options) {
  std::vector<Note> notes;
  const auto ignored = [&notes](bool given, std::string text) {
    if (given) notes.push_back({false, "Ignoring " + std::move(text)});
  };
  if (!options.telemetry_project) {
    const std::string why = " because --telemetry-project was not set";
    // The Auth Proxy's own spelling.
    ignored(options.telemetry_prefix.has_value(), "--telementry-prefix" + why);
    ignored(options.disable_metrics.has_value(), "--disable-metrics" + why);
    ignored(options.disable_traces.has_value(), "--disable-traces" + why);
    ignored(options.telemetry_sample_rate.has_value(), "--telemetry-sample-rate" + why);
  } else {
    ignored(true, "--telemetry-project because --disable-metrics and --disable-traces leave nothing of it");
  }
  ignored(on(options.debug), "--debug because sidepool has no Go profiles to serve");
  ignored(options.fuse_tmp_dir.has_value(), "--fuse-tmp-dir because --fuse was not set");
  ignored(options.sqldata_api_endpoint.has_value(), "--sqldata-api-endpoint because --sql-data was not set");
  ignored(options.resource_exhausted_cooldown_delay.has_value(),
          "--resource-exhausted-cooldown-delay because --sql-data was not set");
  return notes;
}

}  // namespace sidepool::cli
