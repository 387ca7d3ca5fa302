// src/upstream/dialer.cpp -- one step at a time: resolve → connect → TLS.
#include "src/upstream/dialer.h"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "protocol/encode.h"
#include "src/tls/verify.h"

namespace sidepool::upstream {

using io::Io;

const char* phase_name(Phase phase) noexcept {
  switch (phase) {
    case Phase::Resolve:
      return "resolve";
    case Phase::Connect:
      return "tcp";
    case Phase::Tls:
      return "tls";
    case Phase::Login:
      return "login";
  }
  return "unknown";
}

Dialer::Dialer(io::Loop& loop, Resolver& resolver, Owner& owner) noexcept
    : loop_(loop),
      resolver_(resolver),
      owner_(owner),
      kick_([](io::Deferred& d) noexcept { owner_of<&Dialer::kick_>(d).advance(); }),
      timer_([](TimerNode& n) noexcept { owner_of<&Dialer::timer_>(n).on_timeout(); }) {}

void Dialer::start(Route route, Time deadline) {
  assert(!active());
  assert(route.tls.use == TlsUse::Never || route.tls.context);
  route_ = std::move(route);
  deadline_ = deadline;
  endpoint_ = address_ = 0;
  addresses_.clear();
  proxied_ = any_address_ = false;
  trouble_.reset();
  timings_ = {};
  step_ = Step::NextEndpoint;
  arm_timer();
  loop_.defer(kick_);
}

void Dialer::cancel() noexcept { reset(); }

void Dialer::reset() noexcept {
  step_ = Step::Idle;
  kick_.cancel();
  timer_.disarm();
  resolution_.cancel();
  watch_.stop();
  stream_.close();
  socks_.reset();
}

void Dialer::advance() noexcept {
  while (const auto next = step()) step_ = *next;
  // Nothing here: after the last step the owner may have destroyed us.
}

// nullopt: waiting for an event, or finished.
std::optional<Dialer::Step> Dialer::step() noexcept {
  switch (step_) {
    case Step::Idle:
    case Step::Resolving:
    case Step::Connecting:
      return std::nullopt;
    case Step::NextEndpoint:
      if (endpoint_ < route_.endpoints.size()) return next_endpoint();
      if (!any_address_ && !route_.otherwise.empty()) {
        route_.endpoints = std::exchange(route_.otherwise, {});
        endpoint_ = 0;
        trouble_.reset();  // that a name has no addresses is no trouble
        return Step::NextEndpoint;
      }
      if (trouble_) {
        if (trouble_->more > 0)
          trouble_->error.what += " (and " + std::to_string(trouble_->more) + " addresses before it)";
        fail_with(trouble_->phase, trouble_->error);
      } else {
        fail_with(Phase::Resolve, {Errc::Config, 0, "the upstream has no host", "config"});
      }
      return std::nullopt;
    case Step::NextAddress:
      return next_address();
    case Step::ConnectDone:
      return connect_done();
    case Step::Socks:
      return socks();
    case Step::AskTls:
      return ask_tls();
    case Step::AwaitTls:
      return await_tls();
    case Step::Handshake:
      return handshake();
  }
  return std::nullopt;
}

Dialer::Step Dialer::next_address() noexcept {
  if (address_ == addresses_.size()) {
    ++endpoint_;
    return Step::NextEndpoint;
  }
  phase_began_ = steady_now();
  auto dialled = io::dial(addresses_[address_], route_.keepalive);
  if (!dialled) return address_failed(std::move(dialled.error()));
  stream_ = io::Stream(std::move(dialled->fd));
  step_deadline_ = loop_.now() + std::min(route_.address_timeout, share());
  arm_timer();
  if (dialled->connected) return Step::ConnectDone;
  if (!wait_for(UV_WRITABLE)) return address_failed({Errc::Io, 0, "cannot watch a socket", "other"});
  return Step::Connecting;
}

std::optional<Dialer::Step> Dialer::connect_done() noexcept {
  if (const int sys = io::socket_error(stream_.fd()); sys != 0) {
    return address_failed({Errc::Io, sys, "cannot connect to " + target_text() + ": " + std::strerror(sys),
                           proxied_ ? "proxy" : io::dial_reason(sys)});
  }
  return proxied_ ? begin_socks() : connected_tcp();
}

std::optional<Dialer::Step> Dialer::connected_tcp() noexcept {
  timings_.connect = micros(steady_now() - phase_began_);
  phase_began_ = steady_now();
  watch_.stop();
  if (addresses_[address_].is_unix() || route_.tls.use == TlsUse::Never) {
    succeed();
    return std::nullopt;
  }
  if (route_.tls.use == TlsUse::Direct) return begin_tls();
  asked_ = 0;
  return Step::AskTls;
}

std::optional<Dialer::Step> Dialer::ask_tls() noexcept {
  protocol::Buffer request;
  protocol::ssl_request(request);
  const auto r = stream_.write(protocol::Bytes(request).subspan(asked_));
  asked_ += r.n;
  if (r.status == Io::Done) return Step::AwaitTls;
  if (r.status == Io::WantWrite && wait_for(UV_WRITABLE)) return std::nullopt;
  fail_with(Phase::Tls, {Errc::Io, stream_.error(),
                         "the connection broke before TLS: " + stream_.error_text(), "closed"});
  return std::nullopt;
}

// One byte and no more: whatever is behind it must be read by TLS, or somebody in the middle could have put
// plain text into the session (CVE-2021-23222).
std::optional<Dialer::Step> Dialer::await_tls() noexcept {
  std::uint8_t answer = 0;
  const auto r = stream_.read({&answer, 1});
  if (r.status == Io::WantRead && wait_for(UV_READABLE)) return std::nullopt;
  const auto refuse = [&](Errc code, std::string what, const char* reason) {
    fail_with(Phase::Tls, {code, stream_.error(), std::move(what), reason});
    return std::optional<Step>();
  };
  if (r.status == Io::Closed)
    return refuse(Errc::Io, "the server closed the connection when asked for TLS", "closed");
  if (r.status != Io::Done)
    return refuse(Errc::Io, "the connection broke before TLS: " + stream_.error_text(), "closed");
  if (answer != 'S' && answer != 'N') {
    return refuse(Errc::Protocol,
                  answer == 'E'
                      ? "the server answered the request for TLS with an error"
                      : "the server answered the request for TLS with a byte that is neither S nor N",
                  "protocol");
  }
  std::uint8_t more = 0;
  if (::recv(stream_.fd(), &more, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
    return refuse(Errc::Protocol,
                  "the server sent unencrypted bytes behind its answer to the request for TLS", "protocol");
  if (answer == 'S') return begin_tls();
  if (route_.tls.use == TlsUse::Required)
    return refuse(Errc::Tls, "the server does not support TLS, but the configuration requires it",
                  "tls_refused");
  succeed();
  return std::nullopt;
}

std::optional<Dialer::Step> Dialer::begin_tls() noexcept {
  watch_.stop();  // the socket moves into the TLS stream, or is closed if that cannot be made
  auto made = tls::Stream::client(route_.tls.context.get(), stream_.take_fd());
  if (made && route_.tls.prepare)
    if (auto ok = route_.tls.prepare(made->ssl(), route_.endpoints[endpoint_].host); !ok)
      made = tl::unexpected(ok.error());
  if (!made) {
    fail_with(Phase::Tls, std::move(made.error()));
    return std::nullopt;
  }
  stream_ = io::Stream(std::move(*made));
  return Step::Handshake;
}

std::optional<Dialer::Step> Dialer::handshake() noexcept {
  tls::Stream& t = *stream_.tls();
  const auto r = t.handshake();
  if (r.status == Io::WantRead && wait_for(UV_READABLE)) return std::nullopt;
  if (r.status == Io::WantWrite && wait_for(UV_WRITABLE)) return std::nullopt;
  if (r.status == Io::Done) {
    timings_.tls = micros(steady_now() - phase_began_);
    succeed();
    return std::nullopt;
  }
  const std::string host = route_.endpoints[endpoint_].text();
  if (auto why = tls::verify_failure(t.ssl()); !why.empty()) {
    fail_with(Phase::Tls,
              {Errc::Tls, 0, "the certificate of " + host + " was refused: " + why, "certificate"});
  } else {
    const bool refused = t.failure().certificate_refused();
    fail_with(Phase::Tls,
              {Errc::Tls, t.failure().sys, "TLS with " + host + " failed: " + t.failure().text(),
               refused ? "client_certificate" : "tls"},
              refused);
  }
  return std::nullopt;
}

bool Dialer::wait_for(int events) noexcept {
  if (!watch_.started() && watch_.start(loop_.uv(), stream_.fd(), this, [](void* self, int) noexcept {
        auto* d = static_cast<Dialer*>(self);
        if (d->step_ == Step::Connecting) d->step_ = Step::ConnectDone;
        d->advance();
      }) != 0)
    return false;
  return watch_.arm(events) == 0;
}

void Dialer::arm_timer() noexcept { loop_.arm(timer_, std::min(deadline_, step_deadline_)); }

void Dialer::on_timeout() noexcept {
  const Time now = loop_.now();
  const bool resolving = step_ == Step::Resolving;
  const bool connecting = step_ == Step::Connecting || step_ == Step::Socks;
  if (now < deadline_) {
    if (!resolving && !connecting) return loop_.arm(timer_, deadline_);
    if (now < step_deadline_) return arm_timer();
    if (resolving) {
      resolution_.cancel();
      const std::string& host = (proxied_ ? route_.proxy->server() : route_.endpoints[endpoint_]).host;
      step_ =
          unresolved({Errc::Timeout, ETIMEDOUT, "cannot resolve \"" + host + "\": no answer in time", "dns"});
    } else {
      step_ = address_failed({Errc::Timeout, ETIMEDOUT,
                              "cannot connect to " + target_text() + ": no answer in time", "timeout"});
    }
    return advance();
  }
  const Phase phase = connecting || step_ == Step::NextAddress   ? Phase::Connect
                      : resolving || step_ == Step::NextEndpoint ? Phase::Resolve
                                                                 : Phase::Tls;
  // More telling than "too slow" is why the addresses before this one failed; both are said.
  std::string what = "the server did not answer in time";
  if (connecting)
    what = "cannot connect to " + target_text() + ": no answer in time";
  else if (endpoint_ < route_.endpoints.size())
    what = route_.endpoints[endpoint_].text() + " did not answer in time";
  if (trouble_) what += "; before that: " + trouble_->error.what;
  fail_with(phase, {Errc::Timeout, ETIMEDOUT, std::move(what), "timeout"});
}

void Dialer::succeed() noexcept {
  Connected c;
  c.stream = std::move(stream_);
  c.peer = addresses_[address_];
  c.endpoint = route_.endpoints[endpoint_];
  if (!c.peer.is_unix() && !proxied_) c.endpoint.address = c.peer.host();
  // That a proxy is near says nothing about what is behind it.
  const bool near = !proxied_ && (c.peer.is_unix() || c.peer.is_loopback());
  c.may_send_cleartext = near || (c.stream.tls() && route_.tls.verifies_peer);
  c.timings = timings_;
  reset();
  owner_.on_connected(*this, std::move(c));
}

void Dialer::fail_with(Phase phase, Error error, bool certificate_refused) noexcept {
  Failure f;
  f.phase = phase;
  f.error = std::move(error);
  f.certificate_refused = certificate_refused;
  f.timings = timings_;
  reset();
  owner_.on_dial_failed(*this, std::move(f));
}

}  // namespace sidepool::upstream
