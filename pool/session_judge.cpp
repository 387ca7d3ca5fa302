// pool/session_judge.cpp -- what a text or a call of the client does to its session, before it is sent.
#include <algorithm>
#include <array>

#include "pool/session_parts.h"

namespace sidepool::pool {

using protocol::TxVerb;

namespace {

// The functions of large objects, for which libpq makes calls of this kind, in the order of their OIDs
// (pg_proc.dat). They leave nothing behind in a session.
constexpr std::array<std::uint32_t, 15> kLargeObjects{715, 764, 767, 952,  953,  954,  955, 956,
                                                      957, 958, 964, 1004, 3170, 3171, 3172};

}  // namespace

// Nothing of a function but its OID can be seen: it may leave anything.
Traits Session::judge_call(Bytes body) {
  Traits t;
  const std::uint32_t oid = body.size() < 4 ? 0 : protocol::load_be32(body.data());
  if (std::binary_search(kLargeObjects.begin(), kLargeObjects.end(), oid)) return t;
  t.pins = static_cast<std::uint32_t>(Pin::Opaque);
  t.local = true;
  return t;
}

protocol::ScanResult Session::scan(std::string_view text) const noexcept {
  protocol::SqlScanner scanner(standard_strings_, encoding_);
  scanner.feed(protocol::as_bytes(text));
  return doubt(scanner.finish());
}

// While it is open how the server reads a backslash, a text with one cannot be judged.
protocol::ScanResult Session::doubt(protocol::ScanResult result) const noexcept {
  const bool open = settings_move_ || (local_settings_ && !ledger_.empty());
  if (open && result.effects.has(protocol::Effect::BackslashInString)) {
    result.effects |= protocol::Effect::Unsure;
  }
  return result;
}

Traits Session::judge_text(const protocol::ScanResult& scan) const {
  auto t = judge(scan, told_, startup_);
  if (sees_names(scan)) t.pins |= static_cast<std::uint32_t>(Pin::OwnNames);
  if (scan.effects.has(protocol::Effect::Ddl) && creates_temporary()) {
    t.pins |= static_cast<std::uint32_t>(Pin::TempObject);
  }
  return t;
}

// Where the search_path of the session begins with pg_temp every CREATE makes something temporary.
bool Session::creates_temporary() const noexcept {
  for (const auto* settings : {&overrides_, &startup_, &told_}) {
    const auto* path = find(*settings, "search_path");
    if (path && path->find("pg_temp") != std::string::npos) return true;
  }
  return false;
}

// A text that the server is about to run.
void Session::use(const Traits& t) noexcept {
  suspect_ |= t.pins & ~static_cast<std::uint32_t>(Pin::OwnNames);  // switch_names() has noted that
  local_settings_ |= t.local;
  local_names_ |= t.shadows;
  resets_ |= t.resets;
  sets_ = static_cast<std::uint16_t>((sets_ & ~t.unsets) | t.sets);
  unsets_ = static_cast<std::uint16_t>((unsets_ & ~t.sets) | (t.unsets & ~t.sets));
  // A COMMIT that is outstanding is never cancelled, also if a new block follows it.
  if (t.commits || t.tx == TxVerb::Ends || t.tx == TxVerb::Unknown) committing_ = true;
  if (t.tx == TxVerb::Begins && !t.commits && ledger_.empty()) committing_ = false;
  if (t.copy) copy_bound_ = true;
  hold_next_ |= t.alone || t.resets != 0;
  if (t.local) settings_move_ = true;
  if (t.local || t.shadows || (t.pins & kPrivatePins) != 0) {  // what is parsed now is a case of its own
    fingerprint_ = nullptr;
    fingerprint_known_ = false;
  }
}

// Behind a cycle that has been sent: whether the next may follow at once.
void Session::hold_behind() noexcept {
  if (resets_ != 0 || hold_next_) hold_for_ready_ = true;
  hold_next_ = alone_flushed_ = reset_ran_ = false;
}

// What an earlier cycle reports must not be taken for the outcome of a RESET in this one.
bool Session::resets_too_soon(const Traits& t) const noexcept {
  return t.resets != 0 &&
         (ledger_.find(Request::Query) != ledger_.size() || ledger_.find(Request::Sync) != ledger_.size());
}

}  // namespace sidepool::pool
