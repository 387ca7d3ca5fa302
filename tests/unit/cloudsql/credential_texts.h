// tests/unit/cloudsql/credential_texts.h -- credential files of each type.
#pragma once
#include <string>

#include "tests/unit/cloudsql/fake_google.h"

namespace sidepool::test {

inline std::string one_line_pem(std::string text) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
    text.replace(at, 1, "\\n");
  return text;
}

inline std::string service_account_json(const std::string& extra = "") {
  return R"({"type":"service_account","client_email":"app@proj.iam.gserviceaccount.com","private_key_id":"kid-1",
    "private_key":")" +
         one_line_pem(pem(shared_rsa_key())) + "\"" + extra + "}";
}
inline std::string user_json(const std::string& extra = "") {
  return R"({"type":"authorized_user","client_id":"cid","client_secret":"cs/1","refresh_token":"rt&1")" +
         extra + "}";
}

// `source` is the credential_source; `extra` more members, each with a comma in front.
inline std::string external_json(const std::string& source, const std::string& extra = "") {
  return R"({"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/)"
         R"(workloadIdentityPools/p/providers/x","subject_token_type":"urn:ietf:params:oauth:token-type:jwt",)"
         R"("token_url":"http://127.0.0.1:9/sts/v1/token","credential_source":)" +
         source + extra + "}";
}
inline std::string impersonation_url(const std::string& email = "target@proj.iam.gserviceaccount.com") {
  return "http://127.0.0.1:9/v1/projects/-/serviceAccounts/" + email + ":generateAccessToken";
}

}  // namespace sidepool::test
