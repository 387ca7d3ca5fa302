// tests/cloudsql_emulator/oauth.h -- token endpoints: OAuth, STS, impersonation and the metadata server.
#pragma once
#include <string>

#include "tests/cloudsql_emulator/http_message.h"
#include "tests/cloudsql_emulator/principals.h"

namespace sidepool::emulator {

// cloudsql.md §5.4 to §5.6. `details` receives facts for the record, never a token.
class OAuth {
 public:
  explicit OAuth(Principals& principals) : principals_(principals) {}

  Response token(const Request& request, Json& details) const;
  Response security_token(const Request& request, Json& details) const;
  Response generate_access_token(const Request& request, const std::string& target, Json& details) const;
  // Whose token it is: oauth2.googleapis.com/tokeninfo.
  Response token_info(const Request& request) const;
  // `path` behind /computeMetadata/v1/.
  Response metadata(const Request& request, const std::string& path, Json& details) const;

 private:
  Response jwt_bearer(const Request& request, const std::string& assertion, Json& details) const;

  Principals& principals_;
};

}  // namespace sidepool::emulator
