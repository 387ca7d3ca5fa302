// protocol/accept.cpp -- PostgreSQL manual, "Message Flow: Start-up"; what PostgreSQL answers to misuse.
#include "protocol/accept.h"

#include <algorithm>
#include <array>
#include <vector>

#include "protocol/messages.h"
#include "protocol/sqlstate.h"

namespace sidepool::protocol {
namespace {

struct SaslInitial {
  std::string_view mechanism;
  std::optional<Bytes> data;  // may be absent
};

std::optional<SaslInitial> decode_sasl_initial(Bytes body) noexcept {
  Reader r(body);
  SaslInitial s;
  s.mechanism = r.cstr();
  const auto size = r.u32();
  const auto rest = r.rest();
  if (!r.ok()) return std::nullopt;
  if (size == 0xffffffffU) return rest.empty() ? std::optional(s) : std::nullopt;
  if (size != rest.size()) return std::nullopt;
  s.data = rest;
  return s;
}

}  // namespace

AcceptMachine::Event AcceptMachine::feed(Bytes& in) {
  switch (phase_) {
    case Phase::First:
      return first(in);
    case Phase::Tls:
      // Also what was read together with the request: plain bytes must never be taken for encrypted ones.
      if (in.empty()) return Event::None;
      // Our 'S' is out, so a plain error would be read as the start of the handshake.
      return fail_silently("received unencrypted data after SSL request");
    case Phase::Password:
    case Phase::ScramFirst:
    case Phase::ScramEmpty:
    case Phase::ScramFinal:
      break;
    case Phase::Decide:
    case Phase::Refuse:
    case Phase::Admitted:
    case Phase::Over:
      return Event::None;
  }
  while (const auto slice = framer_->next(in)) {
    if (slice->first && slice->type == 'X') {
      phase_ = Phase::Over;
      return Event::Closed;
    }
    if (slice->first && slice->type != 'p') {
      return fail(sqlstate::kProtocolViolation, "expected password response, got message type " +
                                                    std::to_string(static_cast<unsigned char>(slice->type)));
    }
    if (slice->first && slice->last) {
      if (const auto e = on_message(slice->body()); e != Event::None) return e;
      continue;
    }
    // The size has been checked against what may be held; in one piece, so that growing leaves no copy
    // behind.
    if (slice->first) held_.reserve(slice->body_size);
    const auto part = slice->body();
    held_.insert(held_.end(), part.begin(), part.end());
    if (!slice->last) continue;
    const auto e = on_message(held_);
    wipe(held_);
    Buffer{}.swap(held_);
    if (e != Event::None) return e;
  }
  if (framer_->bad()) return fail(sqlstate::kProtocolViolation, "invalid length of password message");
  return Event::None;
}

AcceptMachine::Event AcceptMachine::first(Bytes& in) {
  // Byte by byte only until the length is known, so that nothing behind the packet is taken.
  FirstPacket p;
  if (held_.empty()) {
    p = decode_first_packet(in);
    if (std::holds_alternative<NeedMore>(p.packet)) {
      held_.assign(in.begin(), in.end());
      in = {};
      return Event::None;
    }
    in = in.subspan(p.size);
  } else {
    do {
      const std::size_t whole = held_.size() < 4 ? 4 : load_be32(held_.data());
      const auto take = std::min(whole - held_.size(), in.size());
      held_.insert(held_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(take));
      in = in.subspan(take);
      p = decode_first_packet(held_);
    } while (std::holds_alternative<NeedMore>(p.packet) && !in.empty());
    if (std::holds_alternative<NeedMore>(p.packet)) return Event::None;
    Buffer{}.swap(held_);
  }
  if (auto* bad = std::get_if<Malformed>(&p.packet)) {
    return bad->silent ? fail_silently(std::move(bad->reason)) : fail(bad->sqlstate, std::move(bad->reason));
  }
  if (std::holds_alternative<SslRequest>(p.packet)) return ssl_request(in);
  if (std::holds_alternative<GssEncRequest>(p.packet)) return gss_request(in);
  if (std::holds_alternative<DirectTls>(p.packet)) {
    // Only as the very first bytes (PostgreSQL 17), and not inside TLS.
    if (!offer_tls_ || tls_ || ssl_asked_ || gss_asked_)
      return fail_silently("TLS began where it is not expected");
    phase_ = Phase::Tls;
    return Event::DirectTls;
  }
  if (auto* c = std::get_if<CancelRequest>(&p.packet)) {
    cancel_ = std::move(*c);
    phase_ = Phase::Over;
    return Event::GotCancel;
  }
  startup_ = std::get<StartupMessage>(std::move(p.packet));
  startup_size_ = p.size;
  if (startup_.negotiate()) {
    const std::vector<std::string_view> names(startup_.protocol_options.begin(),
                                              startup_.protocol_options.end());
    negotiate_protocol_version(out_, startup_.protocol & 0xffff, names);
  }
  phase_ = Phase::Decide;
  return Event::GotStartup;
}

AcceptMachine::Event AcceptMachine::ssl_request(Bytes in) {
  // Asked again, the code is read as a version (PostgreSQL does so), and nobody speaks that one.
  if (ssl_asked_ || tls_) {
    return fail(sqlstate::kFeatureNotSupported,
                "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2");
  }
  ssl_asked_ = true;
  // Sent before our answer could be known: injected, or a broken client (CVE-2021-23214).
  if (!in.empty()) return fail(sqlstate::kProtocolViolation, "received unencrypted data after SSL request");
  out_.push_back(offer_tls_ ? 'S' : 'N');
  if (!offer_tls_) return Event::None;
  phase_ = Phase::Tls;
  return Event::StartTls;
}

AcceptMachine::Event AcceptMachine::gss_request(Bytes in) {
  if (gss_asked_ || tls_) {
    return fail(sqlstate::kFeatureNotSupported,
                "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2");
  }
  gss_asked_ = true;
  if (!in.empty()) {
    return fail(sqlstate::kProtocolViolation, "received unencrypted data after GSSAPI encryption request");
  }
  out_.push_back('N');
  return Event::None;
}

void AcceptMachine::tls_done() noexcept {
  if (phase_ != Phase::Tls) return;
  tls_ = true;
  phase_ = Phase::First;
}

void AcceptMachine::expect_message(Phase p) {
  phase_ = p;
  framer_.emplace(static_cast<std::uint32_t>(kMaxHeld - startup_size_ - 5));
}

void AcceptMachine::ask_cleartext() {
  if (phase_ != Phase::Decide) return;
  authentication_cleartext(out_);
  expect_message(Phase::Password);
}

void AcceptMachine::ask_md5(std::span<const std::uint8_t, 4> salt) {
  if (phase_ != Phase::Decide) return;
  authentication_md5(out_, salt);
  expect_message(Phase::Password);
}

void AcceptMachine::ask_scram(ScramVerifier verifier, std::string nonce) {
  if (phase_ != Phase::Decide) return;
  scram_.emplace(std::move(verifier), std::move(nonce));
  const std::array<std::string_view, 1> mechanisms{kScramMechanism};
  authentication_sasl(out_, mechanisms);
  expect_message(Phase::ScramFirst);
}

void AcceptMachine::admit() noexcept {
  if (phase_ != Phase::Decide) return;
  password_.clear();
  phase_ = Phase::Admitted;
}

void AcceptMachine::refuse(const ErrorFields& e) {
  if (phase_ == Phase::Over) return;
  error_response(out_, e);
  password_.clear();
  phase_ = Phase::Over;
}

AcceptMachine::Event AcceptMachine::on_message(Bytes body) {
  switch (phase_) {
    case Phase::Password:
      return on_password(body);
    case Phase::ScramFirst:
      return on_sasl_initial(body);
    case Phase::ScramEmpty:
      return on_scram_first(body);
    case Phase::ScramFinal:
      return on_scram_final(body);
    case Phase::First:
    case Phase::Tls:
    case Phase::Decide:
    case Phase::Refuse:
    case Phase::Admitted:
    case Phase::Over:
      break;
  }
  return Event::None;
}

AcceptMachine::Event AcceptMachine::on_password(Bytes body) {
  Reader r(body);
  const auto text = r.cstr();
  if (!r.done()) return fail(sqlstate::kProtocolViolation, "invalid password packet size");
  // PostgreSQL's own words; an empty password is never right there.
  if (text.empty()) return fail(sqlstate::kInvalidPassword, "empty password returned by client");
  password_ = SecretText(text);
  phase_ = Phase::Decide;
  return Event::GotPassword;
}

AcceptMachine::Event AcceptMachine::on_sasl_initial(Bytes body) {
  const auto s = decode_sasl_initial(body);
  if (!s) return fail(sqlstate::kProtocolViolation, "malformed SASLInitialResponse");
  if (s->mechanism != kScramMechanism) {
    return fail(sqlstate::kProtocolViolation, "client selected an invalid SASL authentication mechanism");
  }
  if (s->data) return on_scram_first(*s->data);
  phase_ = Phase::ScramEmpty;  // RFC 4422 §5: an empty challenge asks for the first response
  authentication_sasl_continue(out_, {});
  return Event::None;
}

AcceptMachine::Event AcceptMachine::on_scram_first(Bytes data) {
  const auto challenge = scram_->challenge(data);
  if (!challenge) return fail(sqlstate::kProtocolViolation, std::string(scram_->error()));
  authentication_sasl_continue(out_, as_bytes(*challenge));
  phase_ = Phase::ScramFinal;
  return Event::None;
}

AcceptMachine::Event AcceptMachine::on_scram_final(Bytes data) {
  const auto result = scram_->finish(data);
  if (result == ScramServer::Result::Malformed) {
    return fail(sqlstate::kProtocolViolation, std::string(scram_->error()));
  }
  if (result == ScramServer::Result::WrongProof) {
    phase_ = Phase::Refuse;
    failure_text_ = scram_->error();
    return Event::ScramFailed;
  }
  phase_ = Phase::Decide;
  authentication_sasl_final(out_, as_bytes(scram_->final_message()));
  return Event::ScramOk;
}

void AcceptMachine::wrote(std::size_t n) noexcept {
  sent_ += std::min(n, out_.size() - sent_);
  if (sent_ < out_.size()) return;
  out_.clear();
  sent_ = 0;
}

AcceptMachine::Event AcceptMachine::fail(std::string_view sqlstate, std::string text) {
  failure_text_ = std::move(text);
  refuse({.severity = "FATAL", .code = sqlstate, .message = failure_text_});
  return Event::Failed;
}

AcceptMachine::Event AcceptMachine::fail_silently(std::string text) {
  failure_text_ = std::move(text);
  phase_ = Phase::Over;
  return Event::Failed;
}

void welcome(Buffer& out, std::span<const Parameter> parameters, std::uint32_t pid, Bytes key) {
  authentication_ok(out);
  for (const auto& [name, value] : parameters) parameter_status(out, name, value);
  backend_key_data(out, pid, key);
  ready_for_query(out, TxStatus::Idle);
}

}  // namespace sidepool::protocol
