// src/upstream/connector.cpp -- the login: bytes between a Dialer's stream and protocol::LoginMachine.
#include "src/upstream/connector.h"

#include <cassert>
#include <cerrno>
#include <utility>

#include "src/base/log.h"

namespace sidepool::upstream {

using io::Io;
using protocol::Bytes;
using protocol::LoginFailure;
using protocol::LoginMachine;

namespace {
const char* reason_of(LoginFailure f) noexcept {
  switch (f) {
    case LoginFailure::None:
    case LoginFailure::Internal:
      return "internal";
    case LoginFailure::ServerError:
      return "server";
    case LoginFailure::Protocol:
      return "protocol";
    case LoginFailure::UnsupportedAuth:
      return "auth_method";
    case LoginFailure::BadServerSignature:
      return "server_signature";
    case LoginFailure::NoPassword:
      return "no_password";
  }
  return "internal";
}
}  // namespace

Connector::Connector(io::Loop& loop, Resolver& resolver, Owner& owner) noexcept
    : loop_(loop),
      owner_(owner),
      dialer_(loop, resolver, *this),
      kick_([](io::Deferred& d) noexcept { owner_of<&Connector::kick_>(d).advance(); }),
      timer_([](TimerNode& n) noexcept { owner_of<&Connector::timer_>(n).on_timeout(); }) {}

void Connector::start(Route route, protocol::LoginParameters login, Time deadline) {
  assert(!active());
  deadline_ = deadline;
  login_ = std::make_unique<LoginMachine>(std::move(login));
  login_->start();
  prologue_ = route.prologue;
  prologue_sent_ = 0;
  reply_.reset();
  if (!prologue_.empty()) reply_.emplace();
  held_.clear();
  write_error_.clear();
  login_time_ = {};
  step_ = Step::Dialing;
  dialer_.start(std::move(route), deadline);
}

void Connector::cancel() noexcept {
  reset();
  dialer_.cancel();
}

io::Stream Connector::give_up() noexcept {
  watch_.stop();  // before the socket goes
  auto stream = std::exchange(connection_.stream, io::Stream{});
  cancel();
  return stream;
}

void Connector::reset() noexcept {
  step_ = Step::Idle;
  kick_.cancel();
  timer_.disarm();
  watch_.stop();
  connection_.stream.close();
}

void Connector::on_connected(Dialer&, Connected connected) noexcept {
  connection_ = std::move(connected);
  step_ = Step::LoggingIn;
  began_ = steady_now();
  loop_.arm(timer_, deadline_);
  advance();
}

void Connector::on_dial_failed(Dialer&, Failure failure) noexcept { fail_with(std::move(failure)); }

void Connector::resume() noexcept {
  if (step_ != Step::NeedPassword || login_->state() == LoginMachine::State::NeedPassword) return;
  step_ = Step::LoggingIn;
  const Time now = steady_now();
  deadline_ += now - paused_;
  began_ = now;
  loop_.arm(timer_, deadline_);
  loop_.defer(kick_);
}

void Connector::advance() noexcept {
  if (step_ != Step::LoggingIn) return;
  for (;;) {
    if (login_->state() == LoginMachine::State::Failed) {
      login_failed();
      return;
    }
    const bool output =
        prologue_sent_ < prologue_.size() || !login_->output().empty() || connection_.stream.holds_output();
    if (output && write_error_.empty()) {
      if (write_some() == Turn::Stop) return;
      continue;
    }
    if (!held_.empty()) {
      const auto held = std::exchange(held_, {});
      if (take(held) == Turn::Stop) return;
      continue;
    }
    if (read_some() == Turn::Stop) return;
  }
}

Connector::Turn Connector::write_some() noexcept {
  // The metadata exchange and the startup packet leave in one record.
  const auto prologue = Bytes(prologue_).subspan(prologue_sent_);
  const std::array<Bytes, 2> pieces{prologue, login_->output()};
  const auto r = connection_.stream.writev(pieces);
  const auto head = std::min(r.n, prologue.size());
  prologue_sent_ += head;
  login_->wrote(r.n - head);
  if (r.status == Io::Done) return Turn::Again;
  if (r.status == Io::WantWrite) return wait_for(UV_WRITABLE);
  if (r.status == Io::WantRead) return wait_for(UV_READABLE);
  write_error_ = "the connection broke during login: " + connection_.stream.error_text();
  return Turn::Again;
}

Connector::Turn Connector::read_some() noexcept {
  std::array<std::uint8_t, 8192> buffer;
  const auto r = connection_.stream.read(buffer);
  switch (r.status) {
    case Io::Done:
      return take({buffer.data(), r.n});
    case Io::WantRead:
      if (!write_error_.empty()) return stream_failed();
      return wait_for(UV_READABLE);
    case Io::WantWrite:
      return wait_for(UV_WRITABLE);
    case Io::Closed:
      return closed();
    case Io::Failed:
      return stream_failed();
  }
  return Turn::Stop;
}

Connector::Turn Connector::take(Bytes in) noexcept {
  if (reply_) {
    using State = cloudsql::MdxReply::State;
    const State state = reply_->feed(in);
    if (state == State::More) return Turn::Again;
    if (state == State::Bad) {
      Failure f;
      f.phase = Phase::Login;
      f.error = {Errc::Protocol, 0, reply_->message(), "protocol"};
      return fail_with(std::move(f));
    }
    if (state == State::Refused) {
      static log::Limiter limiter(std::chrono::minutes(1));
      if (const auto more = limiter.pass(steady_now()))
        log::warn("the instance refused the metadata exchange",
                  {{"reply", reply_->message()}, {"suppressed", *more}});
    }
    reply_.reset();
  }
  login_->feed(in);
  switch (login_->state()) {
    case LoginMachine::State::Running:
      return Turn::Again;
    case LoginMachine::State::NeedPassword:
      held_.assign(in.begin(), in.end());
      return need_password();
    case LoginMachine::State::Ready:
      return ready(in);
    case LoginMachine::State::Failed:
      return login_failed();
  }
  return Turn::Stop;
}

Connector::Turn Connector::need_password() noexcept {
  step_ = Step::NeedPassword;
  paused_ = steady_now();
  login_time_ += paused_ - began_;
  timer_.disarm();
  // The server may lose patience (authentication_timeout) or die.
  if (!arm(UV_DISCONNECT)) return cannot_watch();
  owner_.on_need_password(*this);
  return Turn::Stop;
}

Connector::Turn Connector::ready(Bytes rest) noexcept {
  Ready r;
  r.rest.assign(rest.begin(), rest.end());
  r.login = std::move(login_);
  watch_.stop();
  connection_.timings.login = micros(login_time_ + (steady_now() - began_));
  r.connection = std::exchange(connection_, {});
  reset();
  owner_.on_ready(*this, std::move(r));
  return Turn::Stop;
}

Connector::Turn Connector::login_failed() noexcept {
  Failure f;
  f.phase = Phase::Login;
  const auto kind = login_->failure();
  f.error.code = kind == LoginFailure::Protocol ? Errc::Protocol : Errc::Auth;
  f.error.what = login_->failure_text();
  f.error.reason = reason_of(kind);
  const auto body = login_->error_body();
  f.server_error.assign(body.begin(), body.end());
  return fail_with(std::move(f));
}

// Under TLS 1.3 a server refuses our certificate only now, after our side of the handshake (cloudsql.md
// §1.9).
Connector::Turn Connector::stream_failed() noexcept {
  Failure f;
  f.phase = Phase::Login;
  const auto& stream = connection_.stream;
  const std::string what =
      write_error_.empty() ? "the connection broke during login: " + stream.error_text() : write_error_;
  f.error = {Errc::Io, stream.error(), what, "closed"};
  if (const auto* t = stream.tls(); t && t->failure().alert) {
    f.error = {Errc::Tls, 0, "the connection broke during login: " + stream.error_text(), "tls"};
    if (t->failure().certificate_refused() && !t->received_any()) {
      f.phase = Phase::Tls;
      f.certificate_refused = true;
      f.error.reason = "client_certificate";
    }
  }
  return fail_with(std::move(f));
}

Connector::Turn Connector::closed() noexcept {
  Failure f;
  f.phase = Phase::Login;
  f.error = {Errc::Io, 0, "the server closed the connection during login", "closed"};
  return fail_with(std::move(f));
}

bool Connector::arm(int events) noexcept {
  int rc = 0;
  if (!watch_.started())
    rc = watch_.start(loop_.uv(), connection_.stream.fd(), this,
                      [](void* self, int ready) noexcept { static_cast<Connector*>(self)->on_event(ready); });
  return rc == 0 && watch_.arm(events) == 0;
}

Connector::Turn Connector::wait_for(int events) noexcept { return arm(events) ? Turn::Stop : cannot_watch(); }

Connector::Turn Connector::cannot_watch() noexcept {
  Failure f;
  f.phase = Phase::Login;
  f.error = {Errc::Io, 0, "cannot watch a socket", "other"};
  return fail_with(std::move(f));
}

void Connector::on_event(int events) noexcept {
  if (step_ == Step::LoggingIn) return advance();
  if (step_ != Step::NeedPassword || (events & UV_DISCONNECT) == 0) return;
  Failure f;
  f.phase = Phase::Login;
  f.error = {Errc::Io, 0, "the server closed the connection while it waited for the password", "closed"};
  fail_with(std::move(f));
}

void Connector::on_timeout() noexcept {
  Failure f;
  f.phase = Phase::Login;
  f.error = {Errc::Timeout, ETIMEDOUT, "the server did not finish the login in time", "timeout"};
  fail_with(std::move(f));
}

Connector::Turn Connector::fail_with(Failure f) noexcept {
  if (step_ != Step::Dialing) {
    if (step_ == Step::LoggingIn) login_time_ += steady_now() - began_;
    f.timings = connection_.timings;
    f.timings.login = micros(login_time_);
  }
  reset();
  owner_.on_connect_failed(*this, std::move(f));
  return Turn::Stop;
}

}  // namespace sidepool::upstream
