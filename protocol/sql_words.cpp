// protocol/sql_words.cpp -- a hash table made by the compiler; most words of a text end at its first probe.
#include "protocol/sql_words.h"

#include <array>

namespace sidepool::protocol {
namespace {

struct Entry {
  std::string_view text;
  SqlWord word;
  Effects effects{};
};
using W = SqlWord;
using E = Effect;

// PostgreSQL manual: appendix C (key words), 9.17, 9.26, 9.27 (functions), 54 (views).
constexpr Entry kEntries[] = {
    {"abort", W::Abort},
    {"aggregate", W::RoutineKind},
    {"all", W::All},
    {"alter", W::Alter},
    {"as", W::As},
    {"atomic", W::Atomic},
    {"authorization", W::Authorization},
    {"begin", W::Begin},
    {"call", W::Call},
    {"case", W::Case},
    {"chain", W::Chain},
    {"characteristics", W::Characteristics},
    {"close", W::Close},
    {"commit", W::Commit},
    {"constraints", W::Constraints},
    {"copy", W::Copy},
    {"create", W::Create},
    {"deallocate", W::Deallocate},
    {"declare", W::Declare},
    {"default", W::Default},
    {"discard", W::Discard},
    {"do", W::Do},
    {"drop", W::Drop},
    {"end", W::End},
    {"execute", W::Execute},
    {"explain", W::Explain},
    {"extension", W::RoutineKind},
    {"from", W::From},
    {"function", W::Function},
    {"global", W::Global},
    {"hold", W::Hold},
    {"insert", W::Insert},
    {"into", W::Into},
    {"language", W::RoutineKind},
    {"listen", W::Listen},
    {"load", W::Load},
    {"local", W::Local},
    {"merge", W::Merge},
    {"names", W::Names},
    {"no", W::No},
    {"none", W::None},
    {"on", W::On},
    {"operator", W::RoutineKind},
    {"option", W::Option},
    {"or", W::Or},
    {"plans", W::Plans},
    {"policy", W::RoutineKind},
    {"prepare", W::Prepare},
    {"prepared", W::Prepared},
    {"procedure", W::Procedure},
    {"release", W::Release},
    {"replace", W::Replace},
    {"reset", W::Reset},
    {"role", W::Role},
    {"rollback", W::Rollback},
    {"routine", W::RoutineKind},
    {"rule", W::RoutineKind},
    {"savepoint", W::Savepoint},
    {"schema", W::Schema},
    {"sequences", W::Sequences},
    {"session", W::Session},
    {"set", W::Set},
    {"start", W::Start},
    {"temp", W::Temp},
    {"temporary", W::Temp},
    {"time", W::Time},
    {"to", W::To},
    {"transaction", W::Transaction},
    {"trigger", W::RoutineKind},
    {"unlisten", W::Unlisten},
    {"update", W::Update},
    {"with", W::With},
    {"xml", W::Xml},
    {"zone", W::Zone},
    // names; pg_temp* and dblink* are found by their beginning
    {"currval", W::Name, E::SequenceSession},
    {"lastval", W::Name, E::SequenceSession},
    {"nextval", W::Name, E::SequenceTouch},
    {"pg_advisory_lock", W::Name, E::AdvisoryLock},
    {"pg_advisory_lock_shared", W::Name, E::AdvisoryLock},
    {"pg_advisory_unlock", W::Name, E::AdvisoryUnlock},
    {"pg_advisory_unlock_all", W::Name, E::AdvisoryUnlock},
    {"pg_advisory_unlock_shared", W::Name, E::AdvisoryUnlock},
    {"pg_backend_pid", W::Name, E::BackendPid},
    {"pg_backup_start", W::Name, E::Backup},
    {"pg_backup_stop", W::Name, E::Backup},
    {"pg_copy_logical_replication_slot", W::Name, E::ReplicationSlot},
    {"pg_copy_physical_replication_slot", W::Name, E::ReplicationSlot},
    {"pg_create_logical_replication_slot", W::Name, E::ReplicationSlot},
    {"pg_create_physical_replication_slot", W::Name, E::ReplicationSlot},
    {"pg_cursor", W::Name, E::CursorsView},
    {"pg_cursors", W::Name, E::CursorsView},
    {"pg_listening_channels", W::Name, E::ListeningView},
    {"pg_prepared_statement", W::Name, E::PreparedStatementsView},
    {"pg_prepared_statements", W::Name, E::PreparedStatementsView},
    {"pg_replication_origin_session_reset", W::Name, E::ReplicationOrigin},
    {"pg_replication_origin_session_setup", W::Name, E::ReplicationOrigin},
    {"pg_settings", W::PgSettings},
    {"pg_start_backup", W::Name, E::Backup},
    {"pg_stop_backup", W::Name, E::Backup},
    {"pg_try_advisory_lock", W::Name, E::AdvisoryLock},
    {"pg_try_advisory_lock_shared", W::Name, E::AdvisoryLock},
    {"set_config", W::Name, E::SetConfigCall},
    {"set_limit", W::Name, E::SetConfigCall},  // pg_trgm's way to set pg_trgm.similarity_threshold
    {"setseed", W::Name, E::SetSeed},
    {"setval", W::Name, E::SequenceTouch},
};
constexpr std::size_t kCount = std::size(kEntries);
constexpr std::size_t kShortest = 2;
constexpr std::size_t kLongest = 35;

// Many more than words, so that most others find their slot empty.
constexpr std::size_t kSlots = 1024;

constexpr unsigned fold(char c) noexcept {
  const auto u = static_cast<unsigned char>(c);
  return u >= 'A' && u <= 'Z' ? u | 0x20U : u;
}

// REQUIRES: at least two bytes. Bit 0x20 is set for all, which merges more than case; the comparison decides.
constexpr std::size_t slot(std::string_view s) noexcept {
  const unsigned first = static_cast<unsigned char>(s.front()) | 0x20U;
  const unsigned last = static_cast<unsigned char>(s.back()) | 0x20U;
  const unsigned middle = static_cast<unsigned char>(s[s.size() / 2]) | 0x20U;
  return (first * 19 + last * 5 + middle * 37 + static_cast<unsigned>(s.size()) * 83) % kSlots;
}

struct Table {
  std::array<std::uint8_t, kSlots> head{};  // index + 1 into kEntries, 0: none
  std::array<std::uint8_t, kCount> next{};
};
constexpr Table make_table() {
  Table t;
  for (std::size_t i = 0; i < kCount; ++i) {
    auto& head = t.head[slot(kEntries[i].text)];
    t.next[i] = head;
    head = static_cast<std::uint8_t>(i + 1);
  }
  return t;
}
constexpr Table kTable = make_table();
// By first letter, without its bit 0x20: bit n is set if a word of n bytes may be known.
using Lengths = std::array<std::uint64_t, 256>;
constexpr Lengths make_lengths() {
  Lengths lengths{};
  for (const Entry& e : kEntries)
    lengths[static_cast<unsigned char>(e.text.front()) | 0x20U] |= std::uint64_t{1} << e.text.size();
  lengths['p'] |= ~std::uint64_t{0} << 7U;  // pg_temp*
  lengths['d'] |= ~std::uint64_t{0} << 6U;  // dblink*
  return lengths;
}
constexpr Lengths kLengths = make_lengths();

static_assert([] {
  std::size_t longest = 0;
  for (const Entry& e : kEntries) {
    if (e.text.size() < kShortest || e.text.size() > kLongest) return false;
    longest = e.text.size() > longest ? e.text.size() : longest;
  }
  return kCount < 255 && longest == kLongest;
}());

bool equal_folded(std::string_view text, std::string_view lower) noexcept {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if (fold(text[i]) != static_cast<unsigned char>(lower[i])) return false;
  }
  return true;
}

bool begins_folded(std::string_view text, std::string_view lower) noexcept {
  return text.size() >= lower.size() && equal_folded(text, lower);
}

// Schemas pg_temp and pg_temp_N; the whole family of the extension dblink.
KnownWord by_beginning(std::string_view text) noexcept {
  switch (fold(text.front())) {
    case 'p':
      if (begins_folded(text, "pg_temp")) return {W::PgTemp, {}};
      break;
    case 'd':
      if (begins_folded(text, "dblink")) return {W::Name, E::Dblink};
      break;
    default:
      break;
  }
  return {};
}

KnownWord find(std::string_view text, bool quoted) noexcept {
  if (text.size() < kShortest) return {};
  if (text.size() > kLongest) return by_beginning(text);
  const auto first = static_cast<unsigned char>(text.front()) | 0x20U;
  if ((kLengths[first] >> text.size() & 1) == 0) return {};
  for (unsigned i = kTable.head[slot(text)]; i != 0; i = kTable.next[i - 1]) {
    const Entry& e = kEntries[i - 1];
    if (e.text.size() != text.size() || !equal_folded(text, e.text)) continue;
    if (quoted && !is_name(e.word)) return {};
    return {e.word, e.effects};
  }
  return by_beginning(text);
}

}  // namespace

KnownWord known_word(std::string_view text) noexcept { return find(text, false); }

// Upper case in quotes names another function; taking it for the known one errs on the safe side.
KnownWord known_quoted(std::string_view text) noexcept { return find(text, true); }

}  // namespace sidepool::protocol
