// tests/cloudsql_emulator/router.h -- from a request to the API that answers it: faults before, record after.
#pragma once
#include <string>

#include "tests/cloudsql_emulator/admin_api.h"
#include "tests/cloudsql_emulator/control.h"
#include "tests/cloudsql_emulator/faults.h"
#include "tests/cloudsql_emulator/oauth.h"
#include "tests/cloudsql_emulator/recorder.h"

namespace sidepool::emulator {

// Thread-safe, as everything it refers to.
class Router {
 public:
  Router(Principals& principals, Instances& instances, Faults& faults, Recorder& recorder, Control& control)
      : admin_(principals, instances),
        oauth_(principals),
        principals_(principals),
        instances_(instances),
        faults_(faults),
        recorder_(recorder),
        control_(control) {}

  Response handle(const Request& request);

 private:
  struct Route {
    std::string api;  // name of the method for faults and records; "unknown" if no API has this path
    std::string instance;
    std::string argument;
  };
  Route route(const Request& request) const;
  Response answer(const Request& request, const Route& route, Json& details) const;

  AdminApi admin_;
  OAuth oauth_;
  Principals& principals_;
  Instances& instances_;
  Faults& faults_;
  Recorder& recorder_;
  Control& control_;
};

}  // namespace sidepool::emulator
