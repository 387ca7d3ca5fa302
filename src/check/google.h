// src/check/google.h -- the checks that ask Google: credentials, tokens, the SQL Admin API.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/check/report.h"
#include "src/cloudsql/api.h"
#include "src/cloudsql/connection_info.h"
#include "src/cloudsql/credentials.h"
#include "src/cloudsql/source.h"
#include "src/cloudsql/token.h"

namespace sidepool::check {

// Does step by step, on the caller's thread, what the api thread does in one refresh (cloudsql/source.h), so
// that the step that fails has a name. Nothing is retried beyond what one refresh retries.
class Google {
 public:
  // Of the options only credentials, environment, api and dns_servers count.
  explicit Google(cloudsql::SourceOptions options);

  // Credentials, principal and the token for API calls, once for all instances. False: nothing else can be
  // asked.
  bool open(Report& report);

  // The rows from Name to LoginToken. Null: one of them has failed, or open() had.
  cloudsql::InfoPtr ask(const cloudsql::InstanceKey& key, Report& report);

  // E-mail; empty if it is not known.
  const std::string& principal() const noexcept { return principal_; }

 private:
  cloudsql::Caller caller();
  // The instance that is configured, or that the DNS name stands for.
  std::optional<cloudsql::ReachedInstance> reach(const cloudsql::InstanceKey& key, Report& report);
  void tell_failure(const Error& error, Report& report);

  cloudsql::CredentialOptions credentials_;
  cloudsql::Environment environment_;
  cloudsql::ApiOptions api_options_;
  const std::vector<std::string> dns_servers_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<cloudsql::CurlHttp> http_;
  std::optional<cloudsql::TokenCache> tokens_;
  std::optional<cloudsql::SqlAdmin> api_;
  tls::KeyPtr key_;
  std::string principal_;
  bool ready_ = false;
};

}  // namespace sidepool::check
