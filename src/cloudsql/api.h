// cloudsql/api.h -- the calls of the SQL Admin API that a connection needs.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "src/cloudsql/call.h"
#include "src/cloudsql/dns_name.h"
#include "src/cloudsql/instance.h"
#include "src/cloudsql/json_text.h"
#include "src/cloudsql/token.h"

namespace sidepool::cloudsql {

struct ApiOptions {
  std::string endpoint{};  // verbatim; a '/' is added if it lacks one
  std::string user_agent = "sidepool";
  std::string quota_project{};
};

// Plain blocking calls. An answer of 500 or above is asked for again, up to
// five times in all; nothing else is (the schedule in refresh.h paces what follows).
class SqlAdmin {
 public:
  explicit SqlAdmin(ApiOptions options);
  void set_quota_project(std::string project) { options_.quota_project = std::move(project); }

  // Checked: region, generation, engine (PostgreSQL only), at least one address, a server CA.
  CallResult<ConnectSettings> connect_settings(const InstanceName& name, const Token& admin,
                                               const Caller& caller) const;

  // A client certificate in PEM for `public_key_pem`; with the login token in it when `login` is given.
  CallResult<std::string> ephemeral_cert(const InstanceName& name, std::string_view public_key_pem,
                                         const Token& admin, const Token* login, const Caller& caller) const;

  // The instance that one of Google's own names belongs to.
  CallResult<InstanceName> resolve(const GoogleName& name, const Token& admin, const Caller& caller) const;

 private:
  HttpRequest request(const InstanceName& name, std::string_view tail, const Token& admin) const;
  HttpRequest request(std::string path, const Token& admin) const;

  ApiOptions options_;
};

// The check that connect_settings() makes.
Status check_settings(const InstanceName& name, const ConnectSettings& settings);

// 200 ms × 1.618^(attempt + 1 + u): the wait after the 0-based attempt, u in [0,1).
Millis server_error_delay(int attempt, double u) noexcept;

}  // namespace sidepool::cloudsql
