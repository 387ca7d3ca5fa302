// tests/cloudsql_emulator/http_message.h -- a request and an answer, free of the server that carries them.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/cloudsql_emulator/json.h"

namespace sidepool::emulator {

struct CaseLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};
using Headers = std::map<std::string, std::string, CaseLess>;

struct Request {
  std::string method;
  std::string path;   // as sent, still percent-encoded
  std::string query;  // as sent, without '?'
  Headers headers;
  std::string body;

  std::string header(std::string_view name) const;
  // The token of "Authorization: Bearer …", empty without one.
  std::string bearer() const;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  bool drop = false;  // close the connection without an answer
};

Response json_response(int status, const Json& body);
// Google's error body: {"error":{"code","message","errors":[{"reason","domain","message"}]}} (cloudsql.md
// §1.5).
Response google_error(int status, std::string_view reason, std::string_view message);
// RFC 6749 §5.2: {"error","error_description"}.
Response oauth_error(int status, std::string_view error, std::string_view description);

std::string percent_decode(std::string_view text, bool plus_is_space);
// A query or an application/x-www-form-urlencoded body; the last of equal names wins.
std::map<std::string, std::string, std::less<>> parse_form(std::string_view text);
// "/a/b%3Ac" -> {"a", "b:c"}.
std::vector<std::string> path_segments(std::string_view path);

}  // namespace sidepool::emulator
