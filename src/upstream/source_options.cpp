// src/upstream/source_options.cpp -- see the header.
#include "src/upstream/source_options.h"

#include <string>

namespace sidepool::upstream {

cloudsql::SourceOptions source_options(const conf::CloudSqlConfig& conf, std::string_view version) {
  const auto secret = [](const conf::Secret& s) { return cloudsql::SecretText(s.reveal()); };
  cloudsql::SourceOptions o;
  o.environment = cloudsql::process_environment();
  o.credentials.token = secret(conf.token);
  o.credentials.login_token = secret(conf.login_token);
  o.credentials.credentials_file = conf.credentials_file;
  o.credentials.json_credentials = secret(conf.credentials_json);
  o.credentials.gcloud = conf.gcloud_auth;
  o.credentials.impersonate = conf.impersonate;
  o.credentials.universe_domain = conf.universe_domain;
  o.api.endpoint = conf.sqladmin_api_endpoint;
  o.api.quota_project = conf.quota_project;
  o.api.user_agent = "sidepool/" + std::string{version};
  if (!conf.user_agent.empty()) o.api.user_agent += ' ' + conf.user_agent;
  o.lazy = conf.lazy_refresh;
  return o;
}

}  // namespace sidepool::upstream
