// cloudsql/http_proxy.h -- which proxy an HTTP request to Google goes through.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace sidepool::cloudsql {

// As the Auth Proxy reads them (Go's golang.org/x/net/http/httpproxy): unlike curl it knows HTTP_PROXY in
// capitals, and ALL_PROXY is for connections to instances only.
struct HttpProxies {
  std::string for_https{};  // HTTPS_PROXY, else https_proxy; may hold a password
  std::string for_http{};   // HTTP_PROXY, else http_proxy
  std::string no_proxy{};   // NO_PROXY, else no_proxy

  // An entry of NO_PROXY is an IP address, a network, a domain (example.com and everything below it,
  // .example.com and *.example.com only what is below), each but the network with a port perhaps, or *. This
  // machine's own addresses are never asked through a proxy.
  //
  // Empty: none. `scheme`, `host` without brackets and `port` are the request's.
  std::string_view for_request(std::string_view scheme, std::string_view host, std::string_view port) const;
};
// `variable`: the value of an environment variable, empty if it is not set.
HttpProxies read_http_proxies(const std::function<std::string(const char*)>& variable);
// Those of this process. Threads must not change the environment.
HttpProxies process_http_proxies();

}  // namespace sidepool::cloudsql
