// protocol/sql_effects.h -- what the SQL scanner found out about a text.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sidepool::protocol {

// One bit each; a text may have several. "Server state" means: state that outlives the transaction.
enum class Effect : std::uint64_t {
  // Parameters (product.md §5: values are replayed, names are in ScanResult::settings).
  SetSession = 1ULL << 0,      // any session-level SET, TIME ZONE, NAMES, SCHEMA, XML OPTION included
  SetLocal = 1ULL << 1,        // SET LOCAL: gone with the transaction, no server state
  SetTransaction = 1ULL << 2,  // SET TRANSACTION and the transaction_* parameters: as SetLocal
  SetOther = 1ULL << 3,        // SET SESSION CHARACTERISTICS: some of default_transaction_*
  SetRole = 1ULL << 4,         // SET or RESET ROLE, `role` assigned (RESET ALL does not undo it)
  SetSessionAuthorization = 1ULL << 5,  // SET or RESET SESSION AUTHORIZATION
  Reset = 1ULL << 6,                    // RESET of a name (also in `settings`, marked `reset`)
  ResetAll = 1ULL << 7,                 // RESET ALL
  SetConfigCall = 1ULL << 8,  // set_config(), set_limit(), UPDATE pg_settings: any name, value unseen
  // Prepared statements of SQL: another name space user than Parse, but the same names.
  Prepare = 1ULL << 9,                  // PREPARE name
  ExecutePrepared = 1ULL << 10,         // EXECUTE name, also behind EXPLAIN and CREATE TABLE AS
  Deallocate = 1ULL << 11,              // DEALLOCATE name
  DeallocateAll = 1ULL << 12,           // DEALLOCATE ALL
  PreparedStatementsView = 1ULL << 13,  // looks at pg_prepared_statements: must find its own names there
  // Clean-up by the client.
  DiscardAll = 1ULL << 14,
  DiscardTemp = 1ULL << 15,
  DiscardPlans = 1ULL << 16,
  DiscardSequences = 1ULL << 17,
  // Server state that only pinning keeps.
  Listen = 1ULL << 18,
  Unlisten = 1ULL << 19,          // may end what Listen began
  DeclareHold = 1ULL << 20,       // DECLARE ... WITH HOLD; a plain cursor ends with its transaction
  CursorsView = 1ULL << 21,       // looks at pg_cursors
  Load = 1ULL << 22,              // LOAD: no command undoes it, the server is closed afterwards
  TempObject = 1ULL << 23,        // CREATE or SELECT INTO TEMP, and every use of pg_temp
  TempOnCommitDrop = 1ULL << 24,  // CREATE TEMP TABLE ... ON COMMIT DROP: gone with the transaction
  AdvisoryLock = 1ULL << 25,      // session-level pg_advisory_lock family, not the _xact_ forms
  AdvisoryUnlock = 1ULL << 26,    // may end what AdvisoryLock began
  SequenceSession = 1ULL << 27,   // currval(), lastval(): wants the server of an earlier nextval
  SequenceTouch = 1ULL << 28,     // nextval(), setval(): a later currval would want this server
  Dblink = 1ULL << 29,            // dblink family: named connections; no command cleans all of it
  SetSeed = 1ULL << 30,           // setseed(): no command cleans it
  ReplicationSlot =
      1ULL << 31,  // pg_create_/pg_copy_*_replication_slot(): temporary ones belong to the server
  ReplicationOrigin = 1ULL << 32,  // pg_replication_origin_session_*()
  Backup = 1ULL << 33,             // pg_backup_start() and its kin: backup mode belongs to the server
  // Identity of the server.
  BackendPid = 1ULL << 34,     // pg_backend_pid(): the answer is not the pid the client was given
  ListeningView = 1ULL << 35,  // pg_listening_channels()
  // Kinds of statement.
  CopyVerb = 1ULL << 36,
  DoOrCall = 1ULL << 37,    // DO, CALL: opaque, may do anything above and may commit
  Ddl = 1ULL << 38,         // CREATE, ALTER, DROP
  RoutineDdl = 1ULL << 39,  // Ddl of function, procedure, routine, trigger, rule, extension, operator, ...
  // Transaction control; ScanResult::tx has the sum of it.
  Begin = 1ULL << 40,
  Commit = 1ULL << 41,     // COMMIT, END
  Rollback = 1ULL << 42,   // ROLLBACK, ABORT; not ROLLBACK TO
  Savepoint = 1ULL << 43,  // SAVEPOINT, RELEASE, ROLLBACK TO
  TwoPhase = 1ULL << 44,   // PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED
  // Where a session has values of its own to return to (from its connection string), these are not what it
  // means: a SET LOCAL ... TO DEFAULT, and a statement that runs behind a RESET in the same text.
  LocalDefault = 1ULL << 45,
  RunsBehindReset = 1ULL << 46,
  // About the judgement itself.
  // A plain '...' literal held a backslash: all of this is right only if standard_conforming_strings was as
  // told. Matters to a caller that is not certain of it (a SET is still under way).
  BackslashInString = 1ULL << 47,
  // Cannot be judged: treat the text as having any effect. Unterminated literal or comment, unbalanced
  // parentheses, U&"..." identifier, undecodable bytes of an encoding that is not ASCII-safe, a dollar-quote
  // tag
  // that is too long to keep.
  Unsure = 1ULL << 48,
};

// For logs and labels: "set_session", "temp_object", ...
std::string_view to_string(Effect e) noexcept;

class Effects {
 public:
  constexpr Effects() = default;
  constexpr Effects(Effect e) noexcept : bits_(static_cast<std::uint64_t>(e)) {}  // NOLINT: a set of one
  constexpr bool has(Effect e) const noexcept { return (bits_ & static_cast<std::uint64_t>(e)) != 0; }
  constexpr bool has_any(Effects e) const noexcept { return (bits_ & e.bits_) != 0; }
  constexpr bool none() const noexcept { return bits_ == 0; }
  constexpr std::uint64_t bits() const noexcept { return bits_; }
  constexpr Effects& operator|=(Effects e) noexcept {
    bits_ |= e.bits_;
    return *this;
  }
  friend constexpr Effects operator|(Effects a, Effects b) noexcept { return a |= b; }
  friend constexpr bool operator==(Effects, Effects) = default;

 private:
  std::uint64_t bits_ = 0;
};
constexpr Effects operator|(Effect a, Effect b) noexcept { return Effects(a) | Effects(b); }

// State that no replay of values rebuilds: the client keeps its server (product.md §5, last rows of the
// table).
inline constexpr Effects kPinningEffects =
    Effect::Prepare | Effect::Listen | Effect::DeclareHold | Effect::Load | Effect::TempObject |
    Effect::AdvisoryLock | Effect::SequenceSession | Effect::Dblink | Effect::SetSeed |
    Effect::ReplicationSlot | Effect::ReplicationOrigin | Effect::Backup | Effect::Unsure;

// What the text as a whole, if it succeeds, does to the transaction block (product.md §6, "pool full").
enum class TxVerb : std::uint8_t {
  None,     // leaves it as it was: no verb, savepoints, COMMIT PREPARED
  Begins,   // leaves one open: the last verb is BEGIN, START TRANSACTION or ... AND CHAIN
  Ends,     // leaves none: the last verb is COMMIT, END, ROLLBACK, ABORT or PREPARE TRANSACTION
  Unknown,  // the text could not be judged (Effect::Unsure)
};

// Names assigned by session-level SET and RESET, in order, lower case (parameter names know no case), dotted
// names joined. No allocation; what does not fit is dropped and overflow() says so.
class SettingNames {
 public:
  static constexpr std::size_t kMaxNames = 8;
  static constexpr std::size_t kMaxBytes = 128;  // of all names together

  std::size_t size() const noexcept { return count_; }
  std::string_view name(std::size_t i) const noexcept {
    const std::size_t from = i == 0 ? 0 : end_[i - 1];
    return {text_.data() + from, end_[i] - from};
  }
  // RESET name, SET name TO DEFAULT: the parameter went back to the server's own reset value.
  bool reset(std::size_t i) const noexcept { return (reset_ >> i & 1) != 0; }
  // At least one name is missing here: any parameter may have been assigned. SetRole and
  // SetSessionAuthorization are set then too.
  bool overflow() const noexcept { return overflow_; }

 private:
  friend class SqlJudge;
  friend struct ScanResult;
  std::array<char, kMaxBytes> text_{};
  std::array<std::uint8_t, kMaxNames> end_{};
  std::uint8_t count_ = 0;
  std::uint8_t reset_ = 0;
  bool overflow_ = false;
};

// Whether the text is exactly one DEALLOCATE: such a one, of a protocol-level name, is answered from the
// ledger.
enum class LoneDeallocate : std::uint8_t { No, Name, All };

struct ScanResult {
  Effects effects;
  std::uint16_t statements = 0;  // non-empty ones; stays at 65535
  TxVerb tx = TxVerb::None;
  LoneDeallocate lone_deallocate = LoneDeallocate::No;
  SettingNames settings;

  // Of LoneDeallocate::Name: as PostgreSQL folds it (quoted: as is), 1..63 bytes in the client's encoding.
  // Borrows from this result.
  std::string_view deallocate_name() const noexcept { return {settings.text_.data(), name_size_}; }

 private:
  friend class SqlJudge;
  std::uint8_t name_size_ = 0;  // in settings.text_, which a lone DEALLOCATE does not use
};

}  // namespace sidepool::protocol
