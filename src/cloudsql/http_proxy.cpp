// cloudsql/http_proxy.cpp -- see the header.
#include "src/cloudsql/http_proxy.h"

#include <algorithm>
#include <cstdlib>

#include "src/base/ip_network.h"

namespace sidepool::cloudsql {
namespace {

std::string lowered(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// Takes a port off the end of "HOST:PORT" or "[IPv6]:PORT", and the brackets.
std::string_view cut_port(std::string_view& entry) {
  std::string_view port;
  const std::size_t colon = entry.rfind(':');
  if (colon != std::string_view::npos && (entry.find(':') == colon || entry[colon - 1] == ']')) {
    port = entry.substr(colon + 1);
    entry = entry.substr(0, colon);
  }
  if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
  return port;
}

bool matches(std::string_view entry, std::string_view host, std::string_view port) {
  if (entry == "*") return true;
  if (entry.find('/') != std::string_view::npos) {
    const auto network = IpNetwork::parse(entry);
    return network && network->contains(host);
  }
  const std::string_view wanted = cut_port(entry);
  if (entry.empty() || (!wanted.empty() && wanted != port)) return false;
  if (const auto address = IpNetwork::parse(entry)) return address->contains(host);
  if (entry.starts_with("*.")) entry.remove_prefix(1);
  if (entry.starts_with('.')) return host.ends_with(entry);
  return host == entry ||
         (host.size() > entry.size() && host.ends_with(entry) && host[host.size() - entry.size() - 1] == '.');
}

bool is_this_machine(std::string_view host) {
  static const auto v4 = *IpNetwork::parse("127.0.0.0/8");
  return host == "localhost" || host == "::1" || v4.contains(host);
}

}  // namespace

std::string_view HttpProxies::for_request(std::string_view scheme, std::string_view host,
                                          std::string_view port) const {
  const std::string& proxy = scheme == "https" ? for_https : for_http;
  const std::string name = lowered(host);
  if (proxy.empty() || is_this_machine(name)) return {};
  for (std::string_view rest = no_proxy; !rest.empty();) {
    const auto entry = rest.substr(0, rest.find(','));
    if (matches(lowered(trimmed(entry)), name, port)) return {};
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
  }
  return proxy;
}

HttpProxies read_http_proxies(const std::function<std::string(const char*)>& variable) {
  const auto either = [&variable](const char* upper, const char* lower) {
    auto value = variable(upper);
    return value.empty() ? variable(lower) : value;
  };
  return {either("HTTPS_PROXY", "https_proxy"), either("HTTP_PROXY", "http_proxy"),
          either("NO_PROXY", "no_proxy")};
}

HttpProxies process_http_proxies() {
  return read_http_proxies([](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value ? value : "";
  });
}

}  // namespace sidepool::cloudsql
