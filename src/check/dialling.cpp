// src/check/dialling.cpp -- see the header.
#include "src/check/dialling.h"

#include <poll.h>

#include <cerrno>
#include <utility>

#include "protocol/encode.h"

namespace sidepool::check {

using upstream::Connected;
using upstream::Failure;

namespace {

Error timed_out(const std::string& what) { return {Errc::Timeout, ETIMEDOUT, what, "timeout"}; }

struct DialOwner final : upstream::Dialer::Owner {
  std::optional<Dialling::Dialled> result;
  void on_connected(upstream::Dialer&, Connected connected) noexcept override {
    result.emplace(std::move(connected));
  }
  void on_dial_failed(upstream::Dialer&, Failure failure) noexcept override {
    result.emplace(tl::unexpected(std::move(failure)));
  }
};

struct LoginOwner final : upstream::Connector::Owner {
  explicit LoginOwner(const std::optional<conf::Secret>& p) : password(p) {}
  const std::optional<conf::Secret>& password;
  bool cleartext_refused = false;
  std::optional<Dialling::LoggedIn> result;

  void on_need_password(upstream::Connector& c) noexcept override {
    auto& login = c.login();
    cleartext_refused = password && login.auth_method() == protocol::AuthMethod::Cleartext &&
                        !c.connection().may_send_cleartext;
    if (!password || cleartext_refused || !login.answer_password(password->reveal())) login.refuse_password();
    c.resume();
  }
  void on_ready(upstream::Connector&, upstream::Ready ready) noexcept override {
    result.emplace(std::move(ready));
  }
  void on_connect_failed(upstream::Connector&, Failure failure) noexcept override {
    if (cleartext_refused) {
      failure.error.reason = "cleartext";
      failure.error.what =
          "the database asks for the password in clear text, and the connection is not verified";
    }
    result.emplace(tl::unexpected(std::move(failure)));
  }
};

}  // namespace

Result<std::unique_ptr<Dialling>> Dialling::create(const std::vector<std::string>& dns_servers) {
  auto loop = io::Loop::create();
  if (!loop) return tl::unexpected(loop.error());
  return std::unique_ptr<Dialling>(new Dialling(std::move(*loop), dns_servers));
}

template <class Over>
void Dialling::turn_until(Over over) {
  while (!over()) loop_->turn(true);
}

Result<upstream::Addresses> Dialling::resolve(const upstream::Endpoint& endpoint, Duration most) {
  if (auto known = upstream::Resolution::without_lookup(endpoint)) return std::move(*known);
  struct Lookup {
    std::optional<Result<upstream::Addresses>> result;
    TimerNode alarm{[](TimerNode&) noexcept {}};  // ends the turn's sleep
  } lookup;
  upstream::Resolution resolution;
  const auto started = resolution.start(*resolver_, *loop_, endpoint, &lookup,
                                        [](void* owner, Result<upstream::Addresses> found) noexcept {
                                          static_cast<Lookup*>(owner)->result.emplace(std::move(found));
                                        });
  if (!started) return tl::unexpected(started.error());
  const Time until = steady_now() + most;
  loop_->arm(lookup.alarm, until);
  turn_until([&] { return lookup.result || steady_now() >= until; });
  lookup.alarm.disarm();
  if (lookup.result) return std::move(*lookup.result);
  auto late = timed_out("the name server did not say in time where \"" + endpoint.host + "\" is");
  late.reason = "dns";
  return tl::unexpected(std::move(late));
}

Dialling::Dialled Dialling::dial(upstream::Route route, Duration most) {
  DialOwner owner;
  upstream::Dialer dialer(*loop_, *resolver_, owner);
  loop_->turn(false);  // the loop's time stood still between the checks
  dialer.start(std::move(route), steady_now() + most);
  turn_until([&] { return owner.result.has_value(); });
  return std::move(*owner.result);
}

Dialling::LoggedIn Dialling::login(upstream::Route route, protocol::LoginParameters parameters,
                                   const std::optional<conf::Secret>& password, Duration most) {
  LoginOwner owner(password);
  upstream::Connector connector(*loop_, *resolver_, owner);
  loop_->turn(false);
  connector.start(std::move(route), std::move(parameters), steady_now() + most);
  turn_until([&] { return owner.result.has_value(); });
  return std::move(*owner.result);
}

Status provoke_answer(Connected& connected, Duration most) {
  protocol::Buffer request;
  protocol::ssl_request(request);
  const Time until = steady_now() + most;
  auto& stream = connected.stream;
  protocol::Bytes rest{request};
  for (;;) {
    std::uint8_t answer = 0;
    const auto r = rest.empty() ? stream.read({&answer, 1}) : stream.write(rest);
    if (rest.empty() && r.status == io::Io::Done) return {};
    rest = rest.subspan(rest.empty() ? 0 : r.n);
    if (r.status == io::Io::Done) continue;
    if (r.status == io::Io::Closed)
      return fail(Errc::Io, "the instance closed the connection after the handshake", 0, "closed");
    if (r.status == io::Io::Failed) {
      const bool refused = stream.tls() && stream.tls()->failure().certificate_refused();
      return fail(Errc::Tls,
                  (refused ? "the instance does not accept the client certificate: "
                           : "the connection broke after the handshake: ") +
                      stream.error_text(),
                  stream.error(), refused ? "client_certificate" : "closed");
    }
    pollfd wait{stream.fd(), static_cast<short>(r.status == io::Io::WantWrite ? POLLOUT : POLLIN), 0};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady_now()).count();
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0)
      return tl::unexpected(timed_out("the instance says nothing after the handshake"));
  }
}

}  // namespace sidepool::check
