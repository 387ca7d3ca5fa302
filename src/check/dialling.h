// src/check/dialling.h -- upstream/'s dialler and connector, waited for: a loop that turns until they have
// answered.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "conf/secret.h"
#include "protocol/login.h"
#include "src/io/loop.h"
#include "src/upstream/connector.h"
#include "src/upstream/dialer.h"
#include "src/upstream/resolver.h"

namespace sidepool::check {

// One thread; each call blocks, at most for its time.
class Dialling {
 public:
  // Fails when the process is out of file descriptors.
  // `dns_servers` as in the configuration.
  static Result<std::unique_ptr<Dialling>> create(const std::vector<std::string>& dns_servers);

  Result<upstream::Addresses> resolve(const upstream::Endpoint& endpoint, Duration most);

  using Dialled = tl::expected<upstream::Connected, upstream::Failure>;
  Dialled dial(upstream::Route route, Duration most);

  // The same login that a pool makes. Failure::error's reason is "cleartext" when the password would have had
  // to go over a connection that may not carry it (product.md §4.3), "no_password" when there was none.
  using LoggedIn = tl::expected<upstream::Ready, upstream::Failure>;
  LoggedIn login(upstream::Route route, protocol::LoginParameters parameters,
                 const std::optional<conf::Secret>& password, Duration most);

 private:
  Dialling(std::unique_ptr<io::Loop> loop, const std::vector<std::string>& dns_servers)
      : loop_(std::move(loop)), resolver_(upstream::Resolver::create(1, dns_servers)) {}
  template <class Over>
  void turn_until(Over over);

  std::unique_ptr<io::Loop> loop_;
  std::unique_ptr<upstream::Resolver> resolver_;
};

// For Cloud SQL, whose TLS 1.3 refuses a client certificate only behind a handshake that went well: sends an
// SSLRequest and waits for its one-byte answer, any answer. REQUIRES: `connected` is fresh.
Status provoke_answer(upstream::Connected& connected, Duration most);

}  // namespace sidepool::check
