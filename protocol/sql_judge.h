// protocol/sql_judge.h -- the half of the SQL scanner that sees words instead of bytes: what statements do.
#pragma once
#include <cstdint>
#include <string_view>

#include "protocol/sql_effects.h"
#include "protocol/sql_words.h"

namespace sidepool::protocol {

// Gets the tokens of one text in order, from SqlScanner only. It knows the first words of each statement and
// what little of the grammar moves the end of one (parentheses of CREATE RULE, BEGIN ATOMIC bodies).
class SqlJudge {
 public:
  // `whole`: `text` is the identifier as PostgreSQL sees it. Not so if it is longer than PostgreSQL keeps or
  // its encoding hides bytes.
  void word(std::string_view text, bool whole) noexcept;
  void quoted(std::string_view text, bool whole) noexcept;
  // A string, a number or a parameter begins.
  void literal() noexcept;
  void symbol(char c) noexcept;

  // The literal that just began may hold a search_path: tell by temp_in_literal() if pg_temp is in it.
  bool watches_literal() const noexcept { return watch_; }
  void temp_in_literal() noexcept { effects_ |= Effect::TempObject; }
  void backslash_in_string() noexcept { effects_ |= Effect::BackslashInString; }
  void doubt() noexcept { effects_ |= Effect::Unsure; }

  ScanResult finish() noexcept;

 private:
  using Word = SqlWord;
  enum class Kind : std::uint8_t { Word, Quoted, Literal, Symbol, End };
  struct Token {
    Kind kind;
    Word word = Word::Other;
    std::string_view text{};
    bool whole = true;
    bool is_identifier() const noexcept { return kind == Kind::Word || kind == Kind::Quoted; }
  };
  // What the next token of the statement decides.
  enum class Step : std::uint8_t {
    Start,      // no token of the statement has come
    Nothing,    // the order of tokens does not matter any more
    SetFirst,   // behind SET, SET LOCAL, SET SESSION, RESET: a name or a key word
    SetSecond,  // ... which of the two, held_
    SetPart,    // behind the dot of a name
    SetAfter,   // behind a part of a name
    SetValue,   // its first token: DEFAULT?
    PrepareFirst,
    PrepareSecond,
    DeallocateFirst,
    DeallocateSecond,  // behind DEALLOCATE PREPARE: the name, or was that the name?
    DeallocateEnd,
    Discard,
  };
  enum class Scope : std::uint8_t { Session, Local, Reset };

  void note(Effects e) noexcept;
  void step(const Token& t) noexcept;
  void first_word(Word w) noexcept;
  void key_word(Word w) noexcept;
  void body_word(Word w) noexcept;
  void temp_word() noexcept;
  void pg_temp() noexcept;
  void semicolon() noexcept;
  void end_statement() noexcept;
  void end_transaction_verb() noexcept;
  bool minds_settings() const noexcept;
  void push(Word w) noexcept { before_previous_ = previous_, previous_ = w; }

  // protocol/sql_settings.cpp
  void set_step(const Token& t) noexcept;
  void set_second(const Token& t) noexcept;
  void set_value(const Token& t) noexcept;
  void restart_name(const Token& t) noexcept;
  void append_name(const Token& t) noexcept;
  void replace_name(std::string_view fixed) noexcept;
  void commit_name() noexcept;
  void drop_name() noexcept;

  void deallocate_step(const Token& t) noexcept;
  void deallocate_name(const Token& t) noexcept;

  Effects effects_;
  SettingNames settings_;
  std::uint16_t statements_ = 0;
  std::uint8_t name_size_ = 0;
  bool reset_before_ = false;  // by an earlier statement
  TxVerb tx_ = TxVerb::None;
  LoneDeallocate lone_ = LoneDeallocate::No;

  // of the current statement
  Step step_ = Step::Start;
  Word verb_ = Word::Other;
  Word previous_ = Word::Symbol;
  Word before_previous_ = Word::Symbol;
  Word held_ = Word::Other;
  Scope scope_ = Scope::Session;
  bool committed_ = false;  // the last of settings_ is of this statement
  bool watch_ = false;      // search_path is being set
  bool routine_ = false;    // CREATE FUNCTION or PROCEDURE
  bool routine_ddl_ = false;
  bool body_ = false;        // in BEGIN ATOMIC ... END
  bool body_start_ = false;  // at the start of a statement of it
  bool temp_ = false;        // CREATE TEMP
  bool on_commit_drop_ = false;
  bool prepared_ = false, to_savepoint_ = false, chain_ = false;  // behind COMMIT, ROLLBACK
  bool update_ = false;
  bool resets_ = false;     // puts a setting back to its default
  bool unlocks_ = false;    // names a function that ends advisory locks
  std::uint8_t words_ = 0;  // so far, not beyond 255
  std::uint32_t parentheses_ = 0;
  std::uint32_t cases_ = 0;  // CASE without its END, in the body

  // The name that is being read stands behind the committed ones in settings_.text_.
  std::uint8_t pending_size_ = 0;
  bool pending_lost_ = false;  // it does not fit or is not whole
};

}  // namespace sidepool::protocol
