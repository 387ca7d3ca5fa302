// protocol/login.cpp -- PostgreSQL manual, "Message Flow: Start-up" and "SASL Authentication".
#include "protocol/login.h"

#include <algorithm>
#include <array>

#include "protocol/encode.h"
#include "protocol/password.h"

namespace sidepool::protocol {
namespace {

constexpr std::size_t kMaxText = 1024;  // of what is kept of a server's words

std::string cut(std::string_view s) { return std::string(s.substr(0, kMaxText)); }

std::string quoted_type(char type) {
  if (type > ' ' && type <= '~') return std::string("'") + type + "'";
  return std::to_string(static_cast<unsigned char>(type));
}

}  // namespace

void LoginMachine::start() {
  std::vector<Parameter> views;
  views.reserve(p_.startup.size());
  for (const auto& [name, value] : p_.startup) views.emplace_back(name, value);
  startup_message(out_, p_.protocol, views);
}

void LoginMachine::wrote(std::size_t n) noexcept {
  sent_ += std::min(n, out_.size() - sent_);
  if (sent_ < out_.size()) return;
  wipe(out_);  // it may have held a password
  out_.clear();
  sent_ = 0;
}

void LoginMachine::feed(Bytes& in) {
  while (state_ == State::Running) {
    const auto before = in.size();
    const auto slice = framer_.next(in);
    seen_ += before - in.size();
    if (framer_.bad()) {
      seen_ = std::max<std::size_t>(seen_, 1);
      // A server that cannot start a session at all may still answer in protocol 2: 'E', then text without
      // length.
      return fail(LoginFailure::Protocol,
                  framer_.bad_type() == 'E'
                      ? "the server refused the connection before it read our startup packet"
                      : "the server announced a message of an impossible length");
    }
    if (!slice) return;
    if (seen_ > kMaxTotal)
      return fail(LoginFailure::Protocol, "the server sent too much before it was ready");
    if (slice->first && slice->last) {
      on_message(slice->type, slice->body());
      continue;
    }
    const auto part = slice->body();
    body_.insert(body_.end(), part.begin(), part.end());
    if (!slice->last) continue;
    on_message(slice->type, body_);
    body_.clear();
  }
}

void LoginMachine::on_message(char type, Bytes body) {
  switch (type) {
    case 'R':
      return on_authentication(body);
    case 'E':
      return on_error(body);
    case 'v':
      return on_negotiate(body);
    case 'S':
      return on_parameter(body);
    case 'K':
      return on_key(body);
    case 'Z':
      return on_ready(body);
    case 'N':  // of no use to a pool; login triggers and settings may cause some
      return;
    default:
      return fail(LoginFailure::Protocol, "the server sent message " + quoted_type(type) + " during login");
  }
}

void LoginMachine::on_authentication(Bytes body) {
  Reader r(body);
  const auto code = r.u32();
  const auto rest = r.rest();
  if (!r.ok() || phase_ == Phase::Welcome) {
    return fail(LoginFailure::Protocol, "the server sent an authentication message that makes no sense");
  }
  switch (code) {
    case kAuthOk:
      return on_auth_ok(rest);
    case kAuthSaslContinue:
      return on_sasl_continue(rest);
    case kAuthSaslFinal:
      return on_sasl_final(rest);
    default:
      break;
  }
  // A second request would be a way to talk us into a weaker method.
  if (phase_ != Phase::Start)
    return fail(LoginFailure::Protocol, "the server changed its authentication method");
  switch (code) {
    case kAuthCleartext:
      if (rest.empty()) return need(AuthMethod::Cleartext);
      break;
    case kAuthMd5:
      if (rest.size() != 4) break;
      md5_salt_ = load_be32(rest.data());
      return need(AuthMethod::Md5);
    case kAuthSasl:
      return on_sasl(rest);
    case kAuthGss:
      return fail(LoginFailure::UnsupportedAuth,
                  "the server asks for GSSAPI authentication, which is not supported");
    case kAuthSspi:
      return fail(LoginFailure::UnsupportedAuth,
                  "the server asks for SSPI authentication, which is not supported");
    case kAuthKerberos5:
      return fail(LoginFailure::UnsupportedAuth,
                  "the server asks for Kerberos 5 authentication, which is not supported");
    default:
      return fail(LoginFailure::UnsupportedAuth, "the server asks for authentication method " +
                                                     std::to_string(code) + ", which is not supported");
  }
  fail(LoginFailure::Protocol, "the server sent a malformed authentication request");
}

void LoginMachine::on_auth_ok(Bytes rest) {
  if (!rest.empty()) return fail(LoginFailure::Protocol, "the server sent a malformed AuthenticationOk");
  if (phase_ == Phase::ScramFirst || phase_ == Phase::ScramFinal) {
    return fail(LoginFailure::BadServerSignature,
                "the server let us in without proving that it knows the password");
  }
  phase_ = Phase::Welcome;
}

void LoginMachine::on_sasl(Bytes rest) {
  Reader r(rest);
  std::string names;
  bool plain = false;
  for (auto name = r.cstr(); !name.empty(); name = r.cstr()) {
    plain = plain || name == kScramMechanism;
    if (names.size() < kMaxText) names.append(names.empty() ? "" : ", ").append(cut(name));
  }
  if (!r.done()) return fail(LoginFailure::Protocol, "the server sent a malformed list of SASL mechanisms");
  if (!plain) {
    return fail(LoginFailure::UnsupportedAuth,
                "the server offers only the SASL mechanisms " + cut(names) + ", none of which is supported");
  }
  method_ = AuthMethod::Scram;
  phase_ = Phase::ScramFirst;
  sasl_initial_response(out_, kScramMechanism, as_bytes(scram_.first()));
}

void LoginMachine::on_sasl_continue(Bytes rest) {
  if (phase_ != Phase::ScramFirst)
    return fail(LoginFailure::Protocol, "the server's SASL messages are out of order");
  auto c = scram_.challenge(rest, p_.max_scram_iterations);
  if (!c) return fail(LoginFailure::Protocol, std::string(scram_.error()));
  challenge_ = *std::move(c);
  phase_ = Phase::ScramFinal;
  need(AuthMethod::Scram);
}

void LoginMachine::on_sasl_final(Bytes rest) {
  if (phase_ != Phase::ScramFinal)
    return fail(LoginFailure::Protocol, "the server's SASL messages are out of order");
  if (!scram_.verify(rest)) return fail(LoginFailure::BadServerSignature, std::string(scram_.error()));
  phase_ = Phase::AwaitOk;
}

void LoginMachine::need(AuthMethod m) noexcept {
  method_ = m;
  state_ = State::NeedPassword;
}

void LoginMachine::answered() noexcept {
  state_ = State::Running;
  if (method_ != AuthMethod::Scram) phase_ = Phase::AwaitOk;
}

bool LoginMachine::answer_password(std::string_view password) {
  if (state_ != State::NeedPassword) return false;
  if (password.find('\0') != std::string_view::npos) {
    fail(LoginFailure::Internal, "a password must not contain a zero byte");
    return true;
  }
  switch (method_) {
    case AuthMethod::None:
      return false;
    case AuthMethod::Cleartext:
      out_.reserve(out_.size() + password.size() + 6);  // one piece: no copy is left behind by growing
      password_message(out_, password);
      answered();
      return true;
    case AuthMethod::Md5: {
      const auto user =
          std::find_if(p_.startup.begin(), p_.startup.end(), [](auto& p) { return p.first == "user"; });
      const auto hash = md5_hash(password, user == p_.startup.end() ? "" : user->second);
      if (!hash || !answer_md5_hash(hash->view())) fail(LoginFailure::Internal, "MD5 is not available");
      return true;
    }
    case AuthMethod::Scram: {
      const auto keys = derive(password, challenge_.salt, challenge_.iterations);
      if (!keys || !answer_scram_keys(*keys))
        fail(LoginFailure::Internal, "the SCRAM keys could not be derived");
      return true;
    }
  }
  return false;
}

bool LoginMachine::answer_scram_keys(const ScramKeys& keys) {
  if (state_ != State::NeedPassword || method_ != AuthMethod::Scram || keys.salt != challenge_.salt ||
      keys.iterations != challenge_.iterations) {
    return false;
  }
  keys_ = keys;
  const auto message = scram_.final(keys);
  if (!message) {
    fail(LoginFailure::Internal, std::string(scram_.error()));
    return true;
  }
  sasl_response(out_, as_bytes(*message));
  answered();
  return true;
}

bool LoginMachine::answer_md5_hash(std::string_view hash) {
  if (state_ != State::NeedPassword || method_ != AuthMethod::Md5) return false;
  std::array<std::uint8_t, 4> salt{};
  store_be32(salt.data(), md5_salt_);
  const auto response = md5_response(hash, salt);
  if (!response) return false;
  password_message(out_, response->view());
  answered();
  return true;
}

void LoginMachine::refuse_password() {
  if (state_ == State::NeedPassword)
    fail(LoginFailure::NoPassword, "the server asks for a password and there is none");
}

void LoginMachine::on_negotiate(Bytes body) {
  Reader r(body);
  const auto version = r.u32();
  const auto count = r.u32();
  // Each name takes at least two bytes, so the loop is bounded by the body.
  for (std::uint32_t i = 0; i < count && r.ok(); ++i) r.cstr();
  // The manual calls this the newest minor version; PostgreSQL sends the whole word.
  const auto minor = version & 0xffff;
  if (!r.done() || phase_ != Phase::Start || negotiated_ || (version >> 16 != 3 && version >> 16 != 0)) {
    return fail(LoginFailure::Protocol, "the server sent a malformed NegotiateProtocolVersion");
  }
  if (minor > (p_.protocol & 0xffff) || (minor != 0 && minor != 2)) {
    return fail(LoginFailure::Protocol,
                "the server wants protocol 3." + std::to_string(minor) + ", which we do not speak");
  }
  negotiated_ = true;
  protocol_ = minor == 2 ? kProtocol32 : kProtocol30;
}

void LoginMachine::on_error(Bytes body) {
  const auto e = ErrorView::decode(body);
  if (!e) return fail(LoginFailure::Protocol, "the server sent a malformed error");
  error_code_ = e->code.substr(0, 5);
  error_severity_ = e->severity.substr(0, 16);
  if (body.size() <= kMaxErrorBody) error_body_.assign(body.begin(), body.end());
  fail(LoginFailure::ServerError, cut(e->message));
}

void LoginMachine::on_parameter(Bytes body) {
  const auto p = ParameterStatusView::decode(body);
  if (!p || phase_ != Phase::Welcome)
    return fail(LoginFailure::Protocol, "the server sent a malformed ParameterStatus");
  for (auto& [name, value] : parameters_) {
    if (name != p->name) continue;
    value = p->value;
    return;
  }
  if (parameters_.size() == kMaxParameters) {
    return fail(LoginFailure::Protocol,
                "the server reported more than " + std::to_string(kMaxParameters) + " parameters");
  }
  parameters_.emplace_back(p->name, p->value);
}

void LoginMachine::on_key(Bytes body) {
  const auto k = BackendKeyDataView::decode(body);
  if (!k || phase_ != Phase::Welcome)
    return fail(LoginFailure::Protocol, "the server sent a malformed BackendKeyData");
  pid_ = k->pid;
  key_.assign(k->key.begin(), k->key.end());
}

void LoginMachine::on_ready(Bytes body) {
  if (phase_ != Phase::Welcome || decode_ready_for_query(body) != TxStatus::Idle) {
    return fail(LoginFailure::Protocol, "the server sent a ReadyForQuery that makes no sense");
  }
  state_ = State::Ready;
}

void LoginMachine::fail(LoginFailure f, std::string text) {
  state_ = State::Failed;
  failure_ = f;
  failure_text_ = std::move(text);
  keys_.reset();
}

}  // namespace sidepool::protocol
