// pool/traits.cpp -- see traits.h.
#include "pool/traits.h"

#include <algorithm>
#include <utility>

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

std::uint32_t startup_bit(const Settings& startup, std::string_view name) noexcept {
  if (!startup) return 0;
  std::uint32_t i = 0;
  for (const auto& entry : *startup) {
    if (same_name(entry.first, name)) return 1U << std::min(i, 31U);
    ++i;
  }
  return 0;
}

}  // namespace

std::string_view pin_reason(std::size_t bit) noexcept {
  static constexpr std::array<std::string_view, kPins> kWords{
      "setting",       "role",        "session_authorization",
      "set_config",    "prepare",     "listen",
      "hold_cursor",   "load",        "temp_object",
      "advisory_lock", "sequence",    "dblink",
      "seed",          "replication", "backup",
      "opaque_block",  "unjudged",    "long_text"};
  return bit < kWords.size() ? kWords[bit] : "unknown";
}

Traits judge(const protocol::ScanResult& scan, const Settings& reported, const Settings& startup) {
  Traits t;
  t.tx = scan.tx;
  if (scan.effects.none()) return t;  // nearly all statements
  for (const auto& [effect, pin] : kPinOf) {
    if (scan.effects.has_any(effect)) t.pins |= static_cast<std::uint32_t>(pin);
  }
  t.local = scan.effects.has_any(Effect::SetLocal | Effect::SetSession | Effect::SetConfigCall |
                                 Effect::DoOrCall | Effect::Reset | Effect::ResetAll | Effect::DiscardAll);
  t.alone = scan.effects.has_any(Effect::DiscardAll | Effect::DeallocateAll);
  t.copy = scan.effects.has(Effect::CopyVerb);
  const auto& names = scan.settings;
  if (names.overflow()) t.pins |= static_cast<std::uint32_t>(Pin::Setting);
  if (startup && (names.overflow() || scan.effects.has_any(Effect::ResetAll | Effect::DiscardAll)))
    t.resets = ~0U;
  const bool sets = scan.effects.has_any(Effect::SetSession | Effect::Reset);
  for (std::size_t i = 0; sets && i < names.size(); ++i) {
    const auto name = names.name(i);
    t.alone |= same_name(name, "client_encoding");
    if (names.reset(i)) {
      t.resets |= startup_bit(startup, name);
    } else if (!find(reported, name) || read_only(name)) {
      t.pins |= static_cast<std::uint32_t>(Pin::Setting);
    }
  }
  return t;
}

}  // namespace sidepool::pool
