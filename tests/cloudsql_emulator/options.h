// tests/cloudsql_emulator/options.h -- the command line.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/json.h"

namespace sidepool::emulator {

struct Options {
  int api_port = 0;
  std::string api_address = "127.0.0.1";
  int side_port = 3307;
  std::string postgres = "127.0.0.1:5432";
  std::string postgres_trust;                           // empty: no IAM logins
  std::vector<std::pair<std::string, Json>> instances;  // name, settings
  std::string principal;                                // of the metadata server
  std::vector<std::string> users;
  std::vector<std::pair<std::string, std::string>> tokens;            // token, principal
  std::vector<std::pair<std::string, std::string>> service_accounts;  // e-mail, file to write
  bool show_help = false;
  std::string help;
};

Result<Options> parse_options(int argc, const char* const* argv);

}  // namespace sidepool::emulator
