// protocol/sql_scan.h -- judges the text of Query and Parse as it passes: what it may leave behind in a
// server.
//
// A lexer, not a parser (PostgreSQL manual 4.1, "Lexical Structure"): comments, literals and quoted
// identifiers are told apart exactly, then the first words of each statement and a list of function and view
// names decide. Doubt goes towards an effect: a wrong effect costs a pin, a missed one leaves state behind.
// What no text can show (functions, triggers, dynamic SQL) is the business of command tags, ParameterStatus
// and the probe.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/sql_effects.h"
#include "protocol/sql_judge.h"

namespace sidepool::protocol {

// How bytes from 0x80 up hide ASCII bytes behind them (PostgreSQL manual 24.3.1: encodings that only clients
// may use). Made by classify_encoding() and passed along; nobody else looks inside.
enum class EncodingClass : std::uint8_t {
  AsciiSafe,   // a byte below 0x80 is that ASCII character wherever it stands
  Sjis,        // lead byte + 1, but 0xA1..0xDF stand alone
  DoubleByte,  // lead byte + 1: BIG5, GBK, UHC; also GB18030, whose four bytes are twice lead and digit
  Unknown,     // any byte from 0x80 up makes the text Unsure
};

// Of a value of client_encoding, spelled as PostgreSQL accepts it (case and punctuation do not matter).
// A name that is not known is Unknown.
EncodingClass classify_encoding(std::string_view client_encoding) noexcept;

// Judges one text at a time. Feed the pieces of the text in order, cut anywhere: the result does not depend
// on the cuts. A zero byte ends the text; what follows it is ignored, so a message body may be fed as it is
// from the start of the text on. Linear time, no allocation, trivially copyable, borrows nothing, about 320
// bytes: a session needs one only while a text is passing.
class SqlScanner {
 public:
  SqlScanner(bool standard_conforming_strings, EncodingClass encoding) noexcept
      : conforming_(standard_conforming_strings), encoding_(encoding) {}

  // Starts a new text. Both inputs are those in force when the *server* will read the text.
  void reset(bool standard_conforming_strings, EncodingClass encoding) noexcept {
    *this = SqlScanner(standard_conforming_strings, encoding);
  }
  void feed(Bytes piece) noexcept;
  // The text is complete. Call once; then reset() before the next text.
  ScanResult finish() noexcept;

 private:
  using Byte = std::uint8_t;
  enum class Lex : Byte {
    Code,           // between tokens
    Word,           // in an unquoted word, kept_ holds its beginning
    UnicodePrefix,  // behind U&
    Quoted,         // in "...", kept_ holds its beginning
    QuotedQuote,    // behind a " in it: the end, or the first of two
    String,         // in '...'
    StringEscape,   // behind a backslash in it
    AfterString,    // behind its ': the end, the first of two, or a continuation on another line
    AfterStringMinus,
    AfterStringComment,
    Number,
    Dollar,      // behind $, kept_ holds what may be a tag
    DollarBody,  // in $tag$...$tag$, kept_ holds the tag
    Minus,       // behind -
    Slash,       // behind /
    LineComment,
    BlockComment,
    Lost,  // given up, the text is Unsure
  };
  enum class Literal : Byte { Plain, Escape, Unicode, Raw };

  void lex(const Byte* p, const Byte* end) noexcept;
  const Byte* code(const Byte* p, const Byte* end) noexcept;
  const Byte* word(const Byte* p, const Byte* end) noexcept;
  bool word_ended(std::string_view text, bool whole, Byte next) noexcept;
  const Byte* unicode_prefix(const Byte* p) noexcept;
  const Byte* begin_quoted(const Byte* p, const Byte* end) noexcept;
  const Byte* quoted(const Byte* p, const Byte* end) noexcept;
  const Byte* quoted_quote(const Byte* p) noexcept;
  void quoted_ended() noexcept;
  void begin_literal(Lex state, Literal kind) noexcept;
  const Byte* string(const Byte* p, const Byte* end) noexcept;
  const Byte* string_escape(const Byte* p) noexcept;
  const Byte* after_string(const Byte* p, const Byte* end) noexcept;
  const Byte* dollar(const Byte* p, const Byte* end) noexcept;
  const Byte* dollar_body(const Byte* p, const Byte* end) noexcept;
  const Byte* comment_or_symbol(const Byte* p) noexcept;
  const Byte* block_comment(const Byte* p, const Byte* end) noexcept;

  void keep(const Byte* from, const Byte* to) noexcept;
  std::string_view kept() const noexcept;
  bool kept_whole() const noexcept { return kept_size_ <= kMaxName; }
  bool trusted(std::string_view name) const noexcept;
  void watch(const Byte* from, const Byte* to) noexcept;
  Byte mask(Byte b) noexcept;

  static constexpr Byte kMaxName = 63;  // NAMEDATALEN - 1; PostgreSQL cuts what is longer

  bool conforming_;
  EncodingClass encoding_;
  bool ended_ = false;  // a zero byte was seen
  Byte swallow_ = 0;    // bytes left of a character of several bytes
  Lex lex_ = Lex::Code;
  Literal literal_ = Literal::Plain;
  bool gap_ = false;         // AfterString: white space seen
  bool new_line_ = false;    // AfterString: with a line break in it
  bool unicode_ = false;     // Quoted: U&"..."
  bool matching_ = false;    // DollarBody: behind a $
  bool watching_ = false;    // in a literal: looking for pg_temp
  Byte matched_ = 0;         // bytes of the tag seen behind it
  Byte watched_ = 0;         // bytes of pg_temp seen
  Byte last_ = 0;            // BlockComment: * or / if it was the byte before
  Byte kept_size_ = 0;       // bytes of the token so far, stays at kMaxKept + 1
  std::uint32_t depth_ = 0;  // BlockComment: they nest
  static constexpr Byte kMaxKept = kMaxName;
  std::array<char, kMaxKept> kept_{};
  SqlJudge judge_;
};

}  // namespace sidepool::protocol
