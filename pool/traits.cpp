// pool/traits.cpp -- see traits.h.
#include "pool/traits.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "protocol/encode.h"
#include "protocol/sqlstate.h"

namespace sidepool::pool {
namespace {

using protocol::Effect;

constexpr std::array<std::pair<protocol::Effects, Pin>, 18> kPinOf{{
    {Effect::SetOther, Pin::Setting},
    {Effect::SetRole, Pin::Role},
    {Effect::SetSessionAuthorization, Pin::SessionAuthorization},
    {Effect::SetConfigCall, Pin::SetConfig},
    {Effect::Prepare, Pin::Prepare},
    {Effect::Listen, Pin::Listen},
    {Effect::DeclareHold, Pin::HoldCursor},
    {Effect::Load, Pin::Load},
    {Effect::TempObject, Pin::TempObject},
    {Effect::AdvisoryLock, Pin::AdvisoryLock},
    {Effect::SequenceSession, Pin::Sequence},
    {Effect::Dblink, Pin::Dblink},
    {Effect::SetSeed, Pin::Seed},
    {Effect::ReplicationSlot, Pin::Replication},
    {Effect::ReplicationOrigin, Pin::Replication},
    {Effect::Backup, Pin::Backup},
    {Effect::DoOrCall, Pin::Opaque},
    {Effect::Unsure, Pin::Unjudged},
}};

struct PinWords {
  std::string_view reason;
  std::string_view statement;  // what makes it, for the client
};
constexpr std::array<PinWords, kPins> kWords{{
    {"setting", "SET of a parameter that PostgreSQL does not report"},
    {"role", "SET ROLE"},
    {"session_authorization", "SET SESSION AUTHORIZATION"},
    {"set_config", "set_config()"},
    {"prepare", "PREPARE"},
    {"listen", "LISTEN"},
    {"hold_cursor", "DECLARE ... WITH HOLD"},
    {"load", "LOAD"},
    {"temp_object", "a statement with temporary objects"},
    {"advisory_lock", "a session-level advisory lock"},
    {"sequence", "currval() or lastval()"},
    {"dblink", "a function of dblink"},
    {"seed", "setseed()"},
    {"replication", "a replication slot or origin"},
    {"backup", "a backup function"},
    {"opaque_block", "DO or CALL"},
    {"unjudged", "a statement that sidepool cannot read"},
    {"long_text", "an unnamed statement of this length"},
    {"search_path", "SET search_path"},
    {"own_names", "SQL that sees the names of prepared statements"},
    {"startup_value", "SET LOCAL ... TO DEFAULT, or a statement behind a RESET in the same text,"},
}};

std::uint32_t startup_bit(const Settings& startup, std::string_view name) noexcept {
  if (!startup) return 0;
  std::uint32_t i = 0;
  for (const auto& entry : *startup) {
    if (same_name(entry.first, name)) return 1U << std::min(i, 31U);
    ++i;
  }
  return 0;
}

// SET ROLE NONE, RESET ROLE and SET SESSION AUTHORIZATION DEFAULT leave nothing behind.
std::uint32_t returns(const protocol::ScanResult& scan) noexcept {
  const auto& names = scan.settings;
  if (names.overflow()) return 0;
  const auto always = [&](std::string_view name, Pin pin) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (same_name(names.name(i), name) && !names.reset(i)) return 0U;
    }
    return static_cast<std::uint32_t>(pin);
  };
  return always("role", Pin::Role) | always("session_authorization", Pin::SessionAuthorization);
}

}  // namespace

std::string_view pin_reason(std::size_t bit) noexcept {
  return bit < kWords.size() ? kWords[bit].reason : "unknown";
}

Traits judge(const protocol::ScanResult& scan, const Settings& reported, const Settings& startup) {
  Traits t;
  t.tx = scan.tx;
  if (scan.effects.none()) return t;  // nearly all statements
  for (const auto& [effect, pin] : kPinOf) {
    if (scan.effects.has_any(effect)) t.pins |= static_cast<std::uint32_t>(pin);
  }
  t.pins &= ~returns(scan);
  t.local = scan.effects.has_any(Effect::SetLocal | Effect::SetSession | Effect::SetConfigCall |
                                 Effect::DoOrCall | Effect::Reset | Effect::ResetAll | Effect::DiscardAll);
  t.shadows = scan.effects.has_any(Effect::Ddl | Effect::TempObject | Effect::TempOnCommitDrop);
  t.alone = scan.effects.has_any(Effect::DiscardAll | Effect::DeallocateAll);
  t.copy = scan.effects.has(Effect::CopyVerb);
  t.commits = scan.effects.has_any(Effect::Commit | Effect::TwoPhase);
  t.ends_block = t.commits || scan.effects.has_any(Effect::Rollback | Effect::Unsure);
  const auto& names = scan.settings;
  if (names.overflow()) t.pins |= static_cast<std::uint32_t>(Pin::Setting);
  if (startup && (names.overflow() || scan.effects.has_any(Effect::ResetAll | Effect::DiscardAll)))
    t.resets = ~0U;
  if (scan.effects.has_any(Effect::ResetAll | Effect::DiscardAll)) t.unsets = 0xffff;
  const bool sets = scan.effects.has_any(Effect::SetSession | Effect::Reset);
  for (std::size_t i = 0; sets && i < names.size(); ++i) {
    const auto name = names.name(i);
    t.alone |= same_name(name, "client_encoding");
    if (names.reset(i)) {
      t.resets |= startup_bit(startup, name);
      t.unsets |= reported_bit(name);
    } else if (!find(reported, name) || read_only(name)) {
      t.pins |= static_cast<std::uint32_t>(same_name(name, "search_path") ? Pin::SearchPath : Pin::Setting);
    } else {
      t.sets |= reported_bit(name);
    }
  }
  const bool unfaithful =
      scan.effects.has(Effect::LocalDefault) || (t.resets != 0 && scan.effects.has(Effect::RunsBehindReset));
  if (startup && !startup->empty() && unfaithful) t.pins |= static_cast<std::uint32_t>(Pin::StartupValue);
  return t;
}

protocol::Buffer refusal(std::uint32_t pins, Pinning pinning) {
  const auto& words = kWords[static_cast<std::size_t>(std::countr_zero(pins))];
  const std::string message = std::string(words.statement) + " is not possible here";
  std::string detail;
  std::string_view hint = "Use pool.pinning = \"auto\", or a pool in session mode.";
  if (pins == static_cast<std::uint32_t>(Pin::StartupValue)) {
    detail =
        "It would run under the database's own value where this session has one from its connection string "
        "(reason: ";
    hint = "Name the value, or send RESET in a message of its own.";
  } else
    switch (pinning) {
      case Pinning::Auto:
        detail = "It was too long to be read before it was sent (reason: ";
        break;
      case Pinning::Refuse:
        detail =
            "It would keep a server connection for this session alone, and pool.pinning is \"refuse\" "
            "(reason: ";
        break;
      case Pinning::Off:
        detail = "What it does must not be lost with its transaction, and pool.pinning is \"off\" (reason: ";
        break;
    }
  detail.append(words.reason).append(").");
  protocol::Buffer out;
  protocol::error_response(out, {"ERROR", protocol::sqlstate::kFeatureNotSupported, message, detail, hint});
  return out;
}

void put_loss(protocol::Buffer& out, Pin lost) {
  const auto& words = kWords[static_cast<std::size_t>(std::countr_zero(static_cast<std::uint32_t>(lost)))];
  const std::string message =
      "what " + std::string(words.statement) + " did to this session is lost with its transaction";
  const std::string detail = "pool.pinning is \"off\" (lost: " + std::string(words.reason) +
                             "). This is said once in a session for each kind of loss.";
  protocol::notice_response(
      out, {"WARNING", "01000", message, detail, "Use pool.pinning = \"auto\", or a pool in session mode."});
}

}  // namespace sidepool::pool
