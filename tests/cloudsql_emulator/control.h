// tests/cloudsql_emulator/control.h -- the /_control/ interface, by which a test arranges and observes.
#pragma once
#include <string>

#include "tests/cloudsql_emulator/faults.h"
#include "tests/cloudsql_emulator/http_message.h"
#include "tests/cloudsql_emulator/instances.h"
#include "tests/cloudsql_emulator/principals.h"
#include "tests/cloudsql_emulator/recorder.h"
#include "tests/cloudsql_emulator/side_proxy.h"

namespace sidepool::emulator {

// Thread-safe, as everything it refers to. README.md describes each path.
class Control {
 public:
  Control(Principals& principals, Instances& instances, Faults& faults, Recorder& recorder, SideProxy& side)
      : principals_(principals), instances_(instances), faults_(faults), recorder_(recorder), side_(side) {}

  Response handle(const Request& request);

 private:
  Response observe(const std::string& what, const Request& request);
  Response arrange(const std::string& what, const Json& body, const Request& request);
  Response arrange_identity(const std::string& what, const Json& body, const Request& request);

  Response state() const;
  Response wait(const Request& request);
  Response set_faults(const Json& body);
  Response kill(const Json& body);
  Response add_service_account(const Json& body, const Request& request);
  Response add_user(const Json& body);
  Response add_token(const Json& body);
  Response set_rights(const Json& body);
  Response synced(const Status& status);

  Principals& principals_;
  Instances& instances_;
  Faults& faults_;
  Recorder& recorder_;
  SideProxy& side_;
};

// A service account's credentials file as Google issues it, with the emulator's token endpoint.
Json credentials_file(const std::string& email, const Principals::ServiceAccountKey& key,
                      const std::string& token_uri);

}  // namespace sidepool::emulator
