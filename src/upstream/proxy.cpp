// src/upstream/proxy.cpp -- see the header.
#include "src/upstream/proxy.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace sidepool::upstream {
namespace {

constexpr std::uint16_t kDefaultPort = 1080;
constexpr std::size_t kMostUrl = 2048;

int hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

tl::unexpected<Error> refuse(const char* why) {
  return fail(Errc::Config, std::string{"ALL_PROXY is not used: "} + why, 0, "proxy");
}

bool same_scheme(std::string_view text, std::string_view scheme) {
  return std::equal(text.begin(), text.end(), scheme.begin(), scheme.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
}

// "HOST", "HOST:PORT", "[IPv6]:PORT".
std::optional<Endpoint> read_server(std::string_view text) {
  Endpoint out;
  out.port = kDefaultPort;
  const std::size_t bracket = text.starts_with('[') ? text.find(']') : std::string_view::npos;
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  if (text.starts_with('[')) {
    if (bracket == std::string_view::npos || !is_ip_literal(text.substr(1, bracket - 1))) return std::nullopt;
    if (bracket + 1 != std::min(colon, text.size())) return std::nullopt;
    out.host = text.substr(1, bracket - 1);
  } else {
    out.host = text.substr(0, colon);
  }
  const bool plain =
      std::all_of(out.host.begin(), out.host.end(), [](char c) { return c > ' ' && c <= '~' && c != '/'; });
  if (out.host.empty() || !plain) return std::nullopt;
  if (colon == std::string_view::npos || colon + 1 == text.size()) return out;
  const auto port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc{} || end != port.data() + port.size() || out.port == 0) return std::nullopt;
  return out;
}

}  // namespace

Result<std::shared_ptr<const SocksProxy>> SocksProxy::parse(std::string_view all_proxy,
                                                            std::string_view no_proxy) {
  if (all_proxy.empty()) return nullptr;
  if (all_proxy.size() > kMostUrl) return refuse("it is too long");
  const std::size_t scheme = all_proxy.find("://");
  if (scheme == std::string_view::npos) return refuse("it is not a URL (socks5://HOST:PORT)");
  const auto name = all_proxy.substr(0, scheme);
  if (!same_scheme(name, "socks5") && !same_scheme(name, "socks5h"))
    return refuse("connections to instances go through socks5:// proxies only");
  auto authority = all_proxy.substr(scheme + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  std::shared_ptr<SocksProxy> proxy{new SocksProxy};
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const auto login = authority.substr(0, at);
    const std::size_t colon = login.find(':');
    auto user = decoded(login.substr(0, colon));
    auto password = decoded(colon == std::string_view::npos ? std::string_view{} : login.substr(colon + 1));
    if (!user || !password) return refuse("its user or password has a bad % escape");
    if (user->size() > 255 || password->size() > 255)
      return refuse("its user or password is longer than 255 bytes");
    proxy->user_ = std::move(*user);
    proxy->password_ = cloudsql::SecretText{std::move(*password)};
    authority.remove_prefix(at + 1);
  }
  auto server = read_server(authority);
  if (!server) return refuse("it names no host and port");
  proxy->server_ = std::move(*server);
  while (!no_proxy.empty()) {
    const auto entry = no_proxy.substr(0, no_proxy.find(','));
    proxy->add_bypass(trimmed(entry));
    no_proxy.remove_prefix(std::min(no_proxy.size(), entry.size() + 1));
  }
  return std::shared_ptr<const SocksProxy>{std::move(proxy)};
}

Result<std::shared_ptr<const SocksProxy>> SocksProxy::of_environment(const Variable& variable) {
  const auto either = [&variable](const char* upper, const char* lower) {
    auto value = variable(upper).value_or("");
    return value.empty() ? variable(lower).value_or("") : value;
  };
  std::string url = either("ALL_PROXY", "all_proxy");
  auto proxy = parse(url, either("NO_PROXY", "no_proxy"));
  cloudsql::wipe(url);
  return proxy;
}

// What cannot be read is left out, as in the original.
void SocksProxy::add_bypass(std::string_view entry) {
  if (entry.empty()) return;
  if (const auto network = IpNetwork::parse(entry)) return networks_.push_back(*network);
  if (entry.find('/') != std::string_view::npos) return;
  if (entry.ends_with('.')) entry.remove_suffix(1);
  if (entry.starts_with("*.")) {
    zones_.emplace_back(entry.substr(1));
  } else {
    hosts_.emplace_back(entry);
  }
}

bool SocksProxy::bypassed_by(std::string_view host) const {
  if (is_ip_literal(host))
    return std::any_of(networks_.begin(), networks_.end(),
                       [host](const IpNetwork& n) { return n.contains(host); });
  const bool zone = std::any_of(zones_.begin(), zones_.end(), [host](const std::string& z) {
    return host.ends_with(z) || host == std::string_view{z}.substr(1);
  });
  return zone || std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end();
}

}  // namespace sidepool::upstream
