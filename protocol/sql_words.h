// protocol/sql_words.h -- the words the SQL scanner knows.
#pragma once
#include <cstdint>
#include <string_view>

#include "protocol/sql_effects.h"

namespace sidepool::protocol {

// Key words mean something only unquoted and in their place; names (from PgTemp on) wherever they appear.
enum class SqlWord : std::uint8_t {
  Other,   // any other word, a quoted identifier, a literal
  Dot,     // these two are no words: what stands before a word matters to some
  Symbol,  // any other operator or punctuation
  Abort,
  All,
  Alter,
  As,
  Atomic,
  Authorization,
  Begin,
  Call,
  Case,
  Chain,
  Characteristics,
  Close,
  Commit,
  Constraints,
  Copy,
  Create,
  Deallocate,
  Declare,
  Default,
  Discard,
  Do,
  Drop,
  End,
  Execute,
  Explain,
  From,
  Function,
  Global,
  Hold,
  Insert,
  Into,
  Listen,
  Load,
  Local,
  Merge,
  Names,
  No,
  None,
  On,
  Option,
  Or,
  Plans,
  Prepare,
  Prepared,
  Procedure,
  Release,
  Replace,
  Reset,
  Role,
  Rollback,
  RoutineKind,  // other things that run code: TRIGGER, RULE, EXTENSION, ...
  Savepoint,
  Schema,
  Sequences,
  Session,
  Set,
  Start,
  Temp,  // TEMP, TEMPORARY
  Time,
  To,
  Transaction,
  Unlisten,
  Update,
  With,
  Xml,
  Zone,
  PgTemp,
  PgSettings,
  Name,  // of a function or view that has effects of its own
};
constexpr bool is_name(SqlWord w) noexcept { return w >= SqlWord::PgTemp; }

struct KnownWord {
  SqlWord word = SqlWord::Other;
  Effects effects;  // wherever the word appears
};

// `text` as it stands in the SQL.
KnownWord known_word(std::string_view text) noexcept;
// `text` of a quoted identifier, without the quotes: names only.
KnownWord known_quoted(std::string_view text) noexcept;

}  // namespace sidepool::protocol
