// tests/cloudsql_emulator/http_message.cpp -- decoding of what a request carries, and the error bodies.
#include "tests/cloudsql_emulator/http_message.h"

#include <strings.h>

#include <algorithm>

namespace sidepool::emulator {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool CaseLess::operator()(std::string_view a, std::string_view b) const {
  int order = strncasecmp(a.data(), b.data(), std::min(a.size(), b.size()));
  return order != 0 ? order < 0 : a.size() < b.size();
}

std::string Request::header(std::string_view name) const {
  auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

std::string Request::bearer() const {
  std::string value = header("Authorization");
  if (strncasecmp(value.c_str(), "Bearer ", 7) != 0) return {};
  return value.substr(7);
}

Response json_response(int status, const Json& body) {
  Response out{status, {}, body.dump(), false};
  out.headers["Content-Type"] = "application/json; charset=UTF-8";
  return out;
}

Response google_error(int status, std::string_view reason, std::string_view message) {
  Json detail;
  detail["reason"] = reason;
  detail["domain"] = "global";
  detail["message"] = message;
  Json error;
  error["code"] = status;
  error["message"] = message;
  error["errors"].push(detail);
  Json body;
  body["error"] = error;
  return json_response(status, body);
}

Response oauth_error(int status, std::string_view error, std::string_view description) {
  Json body;
  body["error"] = error;
  body["error_description"] = description;
  return json_response(status, body);
}

std::string percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::map<std::string, std::string, std::less<>> parse_form(std::string_view text) {
  std::map<std::string, std::string, std::less<>> out;
  while (!text.empty()) {
    std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    std::size_t equals = pair.find('=');
    std::string_view value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    if (!pair.empty()) out[percent_decode(pair.substr(0, equals), true)] = percent_decode(value, true);
  }
  return out;
}

std::vector<std::string> path_segments(std::string_view path) {
  std::vector<std::string> out;
  while (!path.empty()) {
    if (path.front() == '/') {
      path.remove_prefix(1);
      continue;
    }
    std::string_view segment = path.substr(0, path.find('/'));
    path.remove_prefix(segment.size());
    out.push_back(percent_decode(segment, false));
  }
  return out;
}

}  // namespace sidepool::emulator
