// conf/address.cpp -- addresses as text.
#include "conf/address.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "conf/diagnostic.h"

namespace sidepool::conf {
namespace {

constexpr std::string_view kSocketPrefix = ".s.PGSQL.";
constexpr std::string_view kUnix = "unix:";

bool digit(char c) { return c >= '0' && c <= '9'; }
bool hex(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), digit);
}

struct NamePort {
  std::string_view name;
  std::optional<std::string_view> port;
};
// "name:port", "[v6]:port", "name", "[v6]"; a bare IPv6 address is a name without a port.
std::optional<NamePort> split_port(std::string_view text) {
  if (!text.empty() && text.front() == '[') {
    const auto end = text.find(']');
    if (end == std::string_view::npos || !is_ipv6(text.substr(1, end - 1))) return std::nullopt;
    const std::string_view rest = text.substr(end + 1);
    if (rest.empty()) return NamePort{text.substr(1, end - 1), std::nullopt};
    if (rest.front() != ':') return std::nullopt;
    return NamePort{text.substr(1, end - 1), rest.substr(1)};
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || is_ipv6(text)) return NamePort{text, std::nullopt};
  if (text.find(':', colon + 1) != std::string_view::npos) return std::nullopt;
  return NamePort{text.substr(0, colon), text.substr(colon + 1)};
}

std::optional<Refusal> refuse_path(std::string_view path) {
  if (path.empty() || path.front() != '/') return Refusal{"a unix socket is given as unix:/DIRECTORY"};
  if (path.find('\0') != std::string_view::npos) return Refusal{"a path holds no zero byte"};
  return std::nullopt;
}

bool host_name(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return letter(c) || digit(c) || c == '-' || c == '_' || c == '.'; });
}

std::string bracketed(std::string_view ip) {
  const bool v6 = ip.find(':') != std::string_view::npos;
  return v6 ? "[" + std::string(ip) + "]" : std::string(ip);
}

std::string_view last_component(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

bool is_ipv4(std::string_view text) {
  for (int part = 0; part < 4; ++part) {
    const auto end = part < 3 ? text.find('.') : text.size();
    if (end == std::string_view::npos) return false;
    const std::string_view number = text.substr(0, end);
    if (number.empty() || number.size() > 3 || !all_digits(number)) return false;
    if (number.size() > 1 && number.front() == '0') return false;
    int value = 0;
    std::from_chars(number.data(), number.data() + number.size(), value);
    if (value > 255) return false;
    if (part < 3) text.remove_prefix(end + 1);
  }
  return true;
}

bool is_ipv6(std::string_view text) {
  if (text.size() < 2 || text.size() > 45) return false;
  int groups = 0;
  bool gap = false;
  if (text.substr(0, 2) == "::") {
    gap = true;
    text.remove_prefix(2);
  }
  while (!text.empty()) {
    const auto end = std::min(text.find(':'), text.size());
    const std::string_view group = text.substr(0, end);
    if (end == text.size() && is_ipv4(group)) {
      groups += 2;
      break;
    }
    if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), hex)) return false;
    ++groups;
    text.remove_prefix(end);
    if (text.empty()) break;
    text.remove_prefix(1);
    if (text.empty()) return false;  // a single colon at the end
    if (text.front() == ':') {
      if (gap) return false;
      gap = true;
      text.remove_prefix(1);
    }
  }
  return gap ? groups < 8 : groups == 8;
}

bool is_loopback(const Address& address) {
  if (address.is_unix() || address.ip.rfind("127.", 0) == 0) return true;
  // Of the many spellings of ::1 only zeros and colons precede the 1.
  if (address.ip.find(':') == std::string::npos || address.ip.back() != '1') return false;
  const std::string_view rest = std::string_view(address.ip).substr(0, address.ip.size() - 1);
  return rest.find_first_not_of("0:") == std::string_view::npos && (rest.back() == ':' || rest.back() == '0');
}

bool overlap(const Address& a, const Address& b) {
  if (a.is_unix() || b.is_unix()) return a.path == b.path;
  if (a.port != b.port || a.port == 0) return false;
  const bool same_family = (a.ip.find(':') == std::string::npos) == (b.ip.find(':') == std::string::npos);
  const auto wildcard = [](const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; };
  return a.ip == b.ip || (same_family && (wildcard(a.ip) || wildcard(b.ip)));
}

std::optional<std::uint16_t> parse_port(std::string_view text, bool zero) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || (port == 0 && !zero)) return std::nullopt;
  return port;
}

Read<Address> parse_address(std::string_view text, bool unix) {
  if (unix && text.rfind(kUnix, 0) == 0) {
    const std::string_view path = text.substr(kUnix.size());
    if (auto refusal = refuse_path(path)) return *std::move(refusal);
    return Address{{}, 0, std::string(path)};
  }
  const Refusal shape{unix ? "write IP:PORT, [IPv6]:PORT or unix:/DIRECTORY, for example 127.0.0.1:5432"
                           : "write IP:PORT or [IPv6]:PORT, for example 127.0.0.1:9090"};
  const auto parts = split_port(text);
  if (!parts) return shape;
  if (parts->name.empty() || parts->name == "*") {
    return Refusal{
        "name the address: 127.0.0.1 for this machine only, 0.0.0.0 for every IPv4 interface, [::] for IPv6"};
  }
  const std::string ip = parts->name == "localhost" ? "127.0.0.1" : std::string(parts->name);
  if (!is_ip(ip)) return shape;
  if (!parts->port) return Refusal{"the port is missing, for example " + bracketed(ip) + ":5432"};
  const auto port = parse_port(*parts->port, true);
  if (!port) return Refusal{"the port must be a number from 0 (any free port) to 65535"};
  return Address{ip, *port, {}};
}

Read<Host> parse_host(std::string_view text) {
  if (text.rfind(kUnix, 0) == 0) {
    const std::string_view path = text.substr(kUnix.size());
    if (auto refusal = refuse_path(path)) return *std::move(refusal);
    Host host;
    host.path = socket_file(path, {});
    host.port = *parse_port(std::string_view(host.path).substr(host.path.rfind('.') + 1));
    if (host.path.size() > kLongestSocketPath) return Refusal{"the path is too long for a unix socket"};
    return host;
  }
  const auto parts = split_port(text);
  if (!parts || !(host_name(parts->name) || is_ipv6(parts->name))) {
    return Refusal{"write HOST:PORT, [IPv6]:PORT or unix:/DIRECTORY, for example 10.0.0.5:5432"};
  }
  if (parts->name == "unix") return Refusal{"unix: begins a path; give this host with its domain"};
  Host host;
  host.name = std::string(parts->name);
  if (parts->port) {
    const auto port = parse_port(*parts->port);
    if (!port) return Refusal{"the port must be a number from 1 to 65535"};
    host.port = *port;
  }
  return host;
}

bool names_socket_file(std::string_view path) {
  const std::string_view file = last_component(path);
  return file.rfind(kSocketPrefix, 0) == 0 && parse_port(file.substr(kSocketPrefix.size())).has_value();
}

std::string socket_file(std::string_view path, std::string_view instance) {
  if (names_socket_file(path)) return std::string(path);
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  std::string file(path);
  if (file != "/") file.push_back('/');
  if (!instance.empty()) file.append(instance).push_back('/');
  return file.append(kSocketPrefix).append("5432");
}

bool is_name_server(std::string_view text) {
  if (is_ip(text)) return true;
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || !parse_port(text.substr(colon + 1))) return false;
  const auto ip = text.substr(0, colon);
  if (ip.starts_with('[') && ip.ends_with(']')) return is_ipv6(ip.substr(1, ip.size() - 2));
  return is_ipv4(ip);
}

std::string to_string(const Address& address) {
  if (address.is_unix()) return std::string(kUnix).append(address.path);
  return bracketed(address.ip).append(":").append(std::to_string(address.port));
}

std::string to_string(const Host& host) {
  if (host.is_unix()) return std::string(kUnix).append(host.path);
  return bracketed(host.name).append(":").append(std::to_string(host.port));
}

bool is_domain_name(std::string_view text) {
  if (text.find('.') == std::string_view::npos) return false;
  const bool rooted = text.back() == '.';
  if (rooted) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return false;
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || digit(c); };
  for (bool last = false; !last;) {
    const std::string_view label = text.substr(0, text.find('.'));
    last = label.size() == text.size();
    text.remove_prefix(last ? label.size() : label.size() + 1);
    if (label.empty() || label.size() > 63) return false;
    // What stands before the root's dot is not the last label for this rule.
    const bool top = last && !rooted;
    const char first = label.front();
    if (top ? !(first >= 'a' && first <= 'z') : !(plain(first) || first == '_')) return false;
    if (label.size() > 1 && !plain(label.back())) return false;
    for (const char c : label.substr(1)) {
      if (!plain(c) && c != '-' && (top || c != '_')) return false;
    }
  }
  return true;
}

bool is_google_instance_name(std::string_view text) {
  std::string name(text.substr(0, 254));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (!name.empty() && name.back() == '.') name.pop_back();
  if (!is_domain_name(name) || name.find('_') != std::string::npos) return false;
  for (const std::string_view end : {".sql.goog", ".sql-psa.goog", ".sql-psc.goog"}) {
    if (name.size() <= end.size() || name.compare(name.size() - end.size(), end.size(), end) != 0) continue;
    const std::string_view labels = std::string_view(name).substr(0, name.size() - end.size());
    return std::count(labels.begin(), labels.end(), '.') == 2 &&
           labels.substr(labels.rfind('.') + 1) != "global";
  }
  return false;
}

std::optional<std::string> refuse_instance(std::string_view text) {
  const std::string not_one =
      in_quotes(text) +
      " is not an instance connection name: write PROJECT:REGION:INSTANCE, for example "
      "my-project:us-central1:my-postgres (gcloud sql instances describe NAME shows it as connectionName)";
  const auto parts = std::count(text.begin(), text.end(), ':') + 1;
  if (parts == 1 && text.find('.') != std::string_view::npos) {
    if (is_domain_name(text) || is_google_instance_name(text)) return std::nullopt;
    return in_quotes(text) +
           " is neither an instance connection name, PROJECT:REGION:INSTANCE, nor a DNS name in lower case "
           "that leads to one, such as db.example.com";
  }
  if (parts != 3 && parts != 4) return not_one;
  if (text.size() > 200) return not_one;
  std::string_view rest = text;
  for (auto part = parts; part > 0; --part) {
    const std::string_view word = rest.substr(0, rest.find(':'));
    const bool domain = parts == 4 && part == 4;
    const auto fits = [domain](char c) {
      return letter(c) || digit(c) || c == '-' || c == '_' || (domain && c == '.');
    };
    if (word.empty() || !std::all_of(word.begin(), word.end(), fits)) return not_one;
    rest.remove_prefix(std::min(word.size() + 1, rest.size()));
  }
  return std::nullopt;
}

std::string without_userinfo(std::string_view url) {
  const auto at = url.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  const auto scheme = url.find("://");
  const auto begin = scheme == std::string_view::npos || scheme > at ? 0 : scheme + 3;
  return std::string(url.substr(0, begin)) + "***" + std::string(url.substr(at));
}

}  // namespace sidepool::conf
