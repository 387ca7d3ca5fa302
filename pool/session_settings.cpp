// pool/session_settings.cpp -- what a client has as its own: against a server's values, and told to the
// client.
#include <algorithm>

#include "pool/session_parts.h"

namespace sidepool::pool {

// Whether the server has this client's values as it is, some of them perhaps as its own.
bool Session::has_values() const noexcept {
  if (equal(server_->applied, overrides_)) return true;
  const auto within = [this](const Settings& part, const Settings& whole) {
    return !part || std::all_of(part->begin(), part->end(), [&](const SettingSet::Entry& e) {
      const auto* there = find(whole, e.first);
      if (!there) there = find(server_->base, e.first);
      return there && *there == e.second;
    });
  };
  return within(overrides_, server_->applied) && within(server_->applied, overrides_);
}

// What of this client's values has to be set. Where a client before it had another value than the server's
// own, a change of that one may not have been reported.
SettingSet Session::missing_values() const {
  SettingSet missing;
  for (const auto& [name, value] : *overrides_) {
    const auto* base = find(server_->base, name);
    const auto* before = find(server_->cleaned, name);
    if (!base || *base != value || (before && *before != value)) missing.set(name, value);
  }
  return missing;
}

// What the server's own values are has changed, or this server's differ: the client is told.
void Session::tell_differences(Actions& out) {
  if (!server_ || told_ == server_->base) return;
  if (!equal(told_, server_->base) && server_->base) {
    for (const auto& [name, value] : *server_->base) {
      const auto* before = find(told_, name);
      if ((before && *before == value) || find(overrides_, name)) continue;
      out.compose(Do::ToClient,
                  [&n = name, &v = value](Buffer& own) { protocol::parameter_status(own, n, v); });
    }
  }
  told_ = server_->base;
  note_encoding();
}

// The clean-up has put everything back, so a changed value of which nothing was reported is by now the
// server's own: its configuration has been reloaded while a client had it.
void Session::note_own_values() {
  const auto silent = std::exchange(server_->cleaned, nullptr);
  if (!silent) return;
  for (const auto& [name, value] : *silent) {
    const auto* base = find(server_->base, name);
    if (base && *base != value && !read_only(name)) server_->base = with(server_->base, name, value);
  }
}

// A reload shows to the client that holds the server just then as a value of its own. It has not asked for
// that, and must not keep it when the next reload takes it back.
void Session::drop_equal_overrides() {
  Settings left = overrides_;
  for (const auto& [name, value] : *overrides_) {
    const auto* base = find(server_->base, name);
    const auto* unasked = find(unasked_, name);
    if (!base || *base != value || !unasked || *unasked != value) continue;
    const auto* startup = find(startup_, name);
    left = startup ? with(left, name, *startup) : without(left, name);
  }
  change_overrides(std::move(left));
}

// What the client has set stays its own where a server has the same value: the next one may have another.
// REQUIRES: what the server does not have by itself has been set. Of what it has nothing is reported.
void Session::keep_equal_overrides() {
  if (!overrides_) return;
  for (const auto& [name, value] : *overrides_) {
    const auto* base = find(server_->base, name);
    const auto* unasked = find(unasked_, name);
    if (!base || find(server_->applied, name) || read_only(name)) continue;
    if (!unasked || *unasked != value) server_->applied = with(server_->applied, name, *base);
  }
}

void Session::change_overrides(Settings changed) noexcept {
  const bool same = equal(overrides_, changed);
  overrides_ = std::move(changed);
  if (same) return;
  ++version_;
  fingerprint_known_ = false;
  note_encoding();
}

// The inputs of the SQL scanner: how the server will read the client's text.
void Session::note_encoding() noexcept {
  const auto value = [this](std::string_view name) {
    const auto* v = find(overrides_, name);
    return v ? v : find(told_, name);
  };
  const auto* strings = value("standard_conforming_strings");
  standard_strings_ = !strings || *strings != "off";
  const auto* encoding = value("client_encoding");
  encoding_ = encoding ? protocol::classify_encoding(*encoding) : protocol::EncodingClass::AsciiSafe;
}

SettingSet Session::startup_subset(std::uint32_t bits) const {
  SettingSet chosen;
  std::uint32_t i = 0;
  if (!startup_) return chosen;
  for (const auto& [name, value] : *startup_) {
    if ((bits >> std::min(i, 31U) & 1) != 0) chosen.set(name, value);
    ++i;
  }
  return chosen;
}

}  // namespace sidepool::pool
