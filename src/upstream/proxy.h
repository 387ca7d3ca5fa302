// src/upstream/proxy.h -- the SOCKS proxy that the environment names for connections to instances.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip_network.h"
#include "src/base/result.h"
#include "src/cloudsql/secret.h"
#include "src/upstream/endpoint.h"

namespace sidepool::upstream {

// Immutable; shared by all workers.
class SocksProxy {
 public:
  // ALL_PROXY, or all_proxy if that is not set, and in the same way NO_PROXY, as the Auth Proxy reads them
  // (Go's golang.org/x/net/proxy): socks5:// and socks5h:// mean the same, and the port is 1080 if none is
  // given. A null pointer: `all_proxy` is empty. An error says why it cannot be used; it never quotes the
  // password.
  static Result<std::shared_ptr<const SocksProxy>> parse(std::string_view all_proxy,
                                                         std::string_view no_proxy);

  // The same, of an environment; `variable` tells a value, nothing: not set.
  using Variable = std::function<std::optional<std::string>(const std::string& name)>;
  static Result<std::shared_ptr<const SocksProxy>> of_environment(const Variable& variable);

  // `host` is dialled directly. An entry of NO_PROXY is an IP address or a network in CIDR form, which hold
  // for IP literals only, a zone (*.example.com, which holds for example.com, too), or a host name.
  bool bypassed_by(std::string_view host) const;

  const Endpoint& server() const noexcept { return server_; }
  const std::string& user() const noexcept { return user_; }
  std::string_view password() const noexcept { return password_.view(); }

 private:
  SocksProxy() = default;
  void add_bypass(std::string_view entry);

  Endpoint server_;
  std::string user_;
  cloudsql::SecretText password_;
  std::vector<IpNetwork> networks_;
  std::vector<std::string> zones_, hosts_;  // zones begin with a dot
};

}  // namespace sidepool::upstream
