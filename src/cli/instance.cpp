// src/cli/instance.cpp -- an instance as the command line names it.
#include "src/cli/instance.h"

#include <map>
#include <utility>

#include "conf/address.h"
#include "conf/diagnostic.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;
using Query = std::map<std::string, std::vector<std::string>, std::less<>>;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// One part of a query: percent-decoded, + is a space.
std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out.push_back(' ');
    } else if (text[i] != '%') {
      out.push_back(text[i]);
    } else {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    }
  }
  return out;
}

// As Go's url.ParseQuery: a semicolon or a bad escape refuses the whole.
std::optional<Query> parse_query(std::string_view text) {
  if (text.find(';') != std::string_view::npos) return std::nullopt;
  Query query;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(pair.size() == text.size() ? pair.size() : pair.size() + 1);
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto key = decoded(pair.substr(0, equals));
    auto value = decoded(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1));
    if (!key || !value) return std::nullopt;
    query[*std::move(key)].push_back(*std::move(value));
  }
  return query;
}

class Parameters {
 public:
  explicit Parameters(Query query) : query_(std::move(query)) {}

  // In the Auth Proxy's order; the first problem counts.
  std::string into(InstanceArgument& out) {
    for (const auto& [a, b] : kConflicts) {
      if (has(a) && has(b))
        return "cannot specify both " + std::string(a) + " and " + std::string(b) + " query params";
    }
    if (!single("address", out.address) || !single("unix-socket", out.unix_socket) ||
        !single("unix-socket-path", out.unix_socket_path)) {
      return error_;
    }
    if (out.address && !conf::is_ip(*out.address)) {
      return "address query param is not a valid IP address: " + in_quotes(*out.address);
    }
    for (const auto* path : {&out.unix_socket, &out.unix_socket_path}) {
      if (*path && ((*path)->empty() || (*path)->find('\0') != std::string::npos))
        return "unix-socket query params name a directory";
    }
    if (!port(out.port)) return error_;
    if (has("private-ip") && has("psc")) return "cannot specify both private-ip and psc query params";
    std::optional<bool> sql_data;
    if (!boolean("auto-iam-authn", out.auto_iam_authn) || !boolean("private-ip", out.private_ip) ||
        !boolean("psc", out.psc) || !boolean("sql-data", sql_data)) {
      return error_;
    }
    if (sql_data.value_or(false)) {
      return "query param sql-data is not supported by sidepool: remove it, sidepool connects to the "
             "instance "
             "itself";
    }
    for (const auto& [name, values] : query_) {
      if (!known(name)) out.ignored.push_back(name);
    }
    return {};
  }

 private:
  static constexpr std::pair<std::string_view, std::string_view> kConflicts[] = {
      {"address", "unix-socket"},
      {"port", "unix-socket"},
      {"address", "unix-socket-path"},
      {"port", "unix-socket-path"},
      {"unix-socket-path", "unix-socket"}};

  static bool known(std::string_view name) {
    for (const std::string_view other : {"address", "port", "unix-socket", "unix-socket-path",
                                         "auto-iam-authn", "private-ip", "psc", "sql-data"}) {
      if (name == other) return true;
    }
    return false;
  }

  bool has(std::string_view name) const { return query_.find(name) != query_.end(); }

  // False: given more than once. `out` stays empty if it is not given.
  bool single(std::string_view name, std::optional<std::string>& out) {
    const auto found = query_.find(name);
    if (found == query_.end()) return true;
    if (found->second.size() == 1) {
      out = found->second.front();
      return true;
    }
    std::string all;
    for (const std::string& value : found->second)
      all.append(all.empty() ? "" : " ").append(in_quotes(value));
    error_ = std::string(name) + " query param should be only one value: [" + all + "]";
    return false;
  }

  bool port(std::optional<std::uint16_t>& out) {
    std::optional<std::string> text;
    if (!single("port", text)) return false;
    if (!text) return true;
    const auto value = conf::parse_port(*text, true);
    if (!value) {
      error_ = "port query param is not a valid integer: " + in_quotes(*text) + " (0 to 65535)";
      return false;
    }
    if (*value != 0) out = *value;
    return true;
  }

  bool boolean(std::string_view name, std::optional<bool>& out) {
    std::optional<std::string> text;
    if (!single(name, text)) return false;
    if (!text) return true;
    std::string lower = *text;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower.empty() || lower == "true" || lower == "t") {
      out = true;
    } else if (lower == "false" || lower == "f") {
      out = false;
    } else {
      error_ = std::string(name) + " query param should be true or false, got: " + in_quotes(*text);
      return false;
    }
    return true;
  }

  Query query_;
  std::string error_;
};

}  // namespace

std::variant<InstanceArgument, std::string> parse_instance(std::string_view text) {
  InstanceArgument out;
  const auto mark = text.find('?');
  out.instance = std::string(text.substr(0, mark));
  if (auto why = conf::refuse_instance(out.instance)) return *std::move(why);
  if (mark == std::string_view::npos) return out;
  auto query = parse_query(text.substr(mark + 1));
  if (!query) return "could not parse query: " + in_quotes(text.substr(mark + 1));
  std::string error = Parameters(*std::move(query)).into(out);
  if (!error.empty()) return error + " (" + out.instance + ")";
  return out;
}

}  // namespace sidepool::cli
