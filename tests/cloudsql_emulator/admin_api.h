// tests/cloudsql_emulator/admin_api.h -- the SQL Admin API calls a connector makes (cloudsql.md §1.5).
#pragma once
#include <string>
#include <string_view>

#include "tests/cloudsql_emulator/http_message.h"
#include "tests/cloudsql_emulator/instances.h"
#include "tests/cloudsql_emulator/principals.h"

namespace sidepool::emulator {

class AdminApi {
 public:
  AdminApi(Principals& principals, Instances& instances) : principals_(principals), instances_(instances) {}

  // `instance` is empty where the path named one that does not exist. `details` receives facts for the
  // record.
  Response connect_settings(const Request& request, const std::string& instance) const;
  Response generate_ephemeral_cert(const Request& request, const std::string& instance, Json& details) const;
  Response resolve_connect_settings(const Request& request, std::string_view dns_name) const;

 private:
  // Status 200: the bearer may connect to `instance`.
  Response authorize(const Request& request, const std::string& instance) const;
  Json settings_body(const InstanceSettings& settings) const;

  Principals& principals_;
  Instances& instances_;
};

}  // namespace sidepool::emulator
