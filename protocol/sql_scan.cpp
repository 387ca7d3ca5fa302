// protocol/sql_scan.cpp -- bytes to tokens, by the rules of PostgreSQL manual 4.1 "Lexical Structure".
#include "protocol/sql_scan.h"

#include <algorithm>
#include <string_view>

#include "protocol/sql_chars.h"

namespace sidepool::protocol {
namespace {

using namespace sql;  // NOLINT: classes of bytes

std::string_view view(const Byte* from, const Byte* to) noexcept {
  return {reinterpret_cast<const char*>(from), static_cast<std::size_t>(to - from)};
}

}  // namespace

void SqlScanner::feed(Bytes piece) noexcept {
  if (ended_ || piece.empty()) return;
  const Byte* p = piece.data();
  const Byte* end = find(p, p + piece.size(), '\0');
  ended_ = end != p + piece.size();
  if (encoding_ == EncodingClass::AsciiSafe) return lex(p, end);
  std::array<Byte, 256> masked;
  while (p != end) {
    const auto n = std::min(static_cast<std::size_t>(end - p), masked.size());
    std::transform(p, p + n, masked.begin(), [this](Byte b) { return mask(b); });
    lex(masked.data(), masked.data() + n);
    p += n;
  }
}

// Every byte of a character of several bytes becomes 0x80, a letter to the lexer; so no trail byte is
// mistaken for a quote or a backslash. Those below 0x30 belong to no character: the server refuses the text,
// or we are told the wrong encoding.
SqlScanner::Byte SqlScanner::mask(Byte b) noexcept {
  if (swallow_ > 0) {
    --swallow_;
    if (b < 0x30) judge_.doubt();
    return 0x80;
  }
  if (b < 0x80) return b;
  if (encoding_ == EncodingClass::Unknown) judge_.doubt();
  const bool alone =
      encoding_ == EncodingClass::Unknown || (encoding_ == EncodingClass::Sjis && b >= 0xa1 && b <= 0xdf);
  swallow_ = alone ? 0 : 1;
  return 0x80;
}

void SqlScanner::lex(const Byte* p, const Byte* end) noexcept {
  while (p != end) {
    switch (lex_) {
      case Lex::Code:
        p = code(p, end);
        break;
      case Lex::Word:
        p = word(p, end);
        break;
      case Lex::UnicodePrefix:
        p = unicode_prefix(p);
        break;
      case Lex::Quoted:
        p = quoted(p, end);
        break;
      case Lex::QuotedQuote:
        p = quoted_quote(p);
        break;
      case Lex::String:
        p = string(p, end);
        break;
      case Lex::StringEscape:
        p = string_escape(p);
        break;
      case Lex::AfterString:
      case Lex::AfterStringMinus:
      case Lex::AfterStringComment:
        p = after_string(p, end);
        break;
      case Lex::Number:
        p = std::find_if(p, end, [](Byte c) { return !is_digit(c) && c != '.'; });
        if (p != end) lex_ = Lex::Code;
        break;
      case Lex::Dollar:
        p = dollar(p, end);
        break;
      case Lex::DollarBody:
        p = dollar_body(p, end);
        break;
      case Lex::Minus:
      case Lex::Slash:
        p = comment_or_symbol(p);
        break;
      case Lex::LineComment:
        p = std::find_if(p, end, [](Byte c) { return c == '\n' || c == '\r'; });
        if (p != end) lex_ = Lex::Code;
        break;
      case Lex::BlockComment:
        p = block_comment(p, end);
        break;
      case Lex::Lost:
        return;
    }
  }
}

const SqlScanner::Byte* SqlScanner::code(const Byte* p, const Byte* end) noexcept {
  while (p != end) {
    switch (kClass[*p]) {
      case Class::Space:
        ++p;
        break;
      case Class::Letter: {
        const Byte* q = p + 1;
        while (q != end && kInWord[*q]) ++q;
        if (q == end) {
          kept_size_ = 0;
          keep(p, q);
          lex_ = Lex::Word;
          return q;
        }
        const auto text = view(p, q);
        p = q;
        if (word_ended(text, text.size() <= kMaxName, *q)) ++p;
        if (lex_ != Lex::Code) return p;
        break;
      }
      case Class::Digit:
        judge_.literal();
        lex_ = Lex::Number;
        return p + 1;
      case Class::Quote:
        begin_literal(Lex::String, Literal::Plain);
        return p + 1;
      case Class::DoubleQuote:
        p = begin_quoted(p + 1, end);
        if (lex_ != Lex::Code) return p;
        break;
      case Class::Dollar:
        kept_size_ = 0;
        lex_ = Lex::Dollar;
        return p + 1;
      case Class::Minus:
        lex_ = Lex::Minus;
        return p + 1;
      case Class::Slash:
        lex_ = Lex::Slash;
        return p + 1;
      case Class::Symbol:
        judge_.symbol(static_cast<char>(*p));
        ++p;
        break;
    }
  }
  return p;
}

// An unquoted word that an earlier piece began.
const SqlScanner::Byte* SqlScanner::word(const Byte* p, const Byte* end) noexcept {
  const Byte* q = p;
  while (q != end && kInWord[*q]) ++q;
  keep(p, q);
  if (q == end) return q;
  lex_ = Lex::Code;
  return word_ended(kept(), kept_whole(), *q) ? q + 1 : q;
}

// `next` is the byte behind the word. True if it belongs to the same token: E'...', B'...', X'...', N'...',
// U&'...', U&"...".
bool SqlScanner::word_ended(std::string_view text, bool whole, Byte next) noexcept {
  if (text.size() == 1 && (next == '\'' || next == '&')) {
    const char c = static_cast<char>(text[0] | 0x20);
    if (next == '&' && c == 'u') {
      lex_ = Lex::UnicodePrefix;
      return true;
    }
    const bool raw = c == 'b' || c == 'x';
    if (next == '\'' && (c == 'e' || c == 'n' || raw)) {
      begin_literal(Lex::String, c == 'e' ? Literal::Escape : raw ? Literal::Raw : Literal::Plain);
      return true;
    }
  }
  judge_.word(text, whole && trusted(text));
  return false;
}

const SqlScanner::Byte* SqlScanner::unicode_prefix(const Byte* p) noexcept {
  if (*p == '\'') {
    begin_literal(Lex::String, Literal::Unicode);
    return p + 1;
  }
  if (*p == '"') {
    kept_size_ = 0;
    unicode_ = true;
    lex_ = Lex::Quoted;
    return p + 1;
  }
  judge_.word("u", true);
  judge_.symbol('&');
  lex_ = Lex::Code;
  return p;
}

// Whole in this piece, as a rule: then nothing is copied.
const SqlScanner::Byte* SqlScanner::begin_quoted(const Byte* p, const Byte* end) noexcept {
  const Byte* q = find(p, end, '"');
  if (end - q >= 2 && q[1] != '"') {
    const auto text = view(p, q);
    judge_.quoted(text, text.size() <= kMaxName && trusted(text));
    return q + 1;
  }
  kept_size_ = 0;
  unicode_ = false;
  lex_ = Lex::Quoted;
  return p;
}

const SqlScanner::Byte* SqlScanner::quoted(const Byte* p, const Byte* end) noexcept {
  const Byte* q = find(p, end, '"');
  keep(p, q);
  if (q == end) return q;
  lex_ = Lex::QuotedQuote;
  return q + 1;
}

const SqlScanner::Byte* SqlScanner::quoted_quote(const Byte* p) noexcept {
  if (*p == '"') {
    keep(p, p + 1);
    lex_ = Lex::Quoted;
    return p + 1;
  }
  quoted_ended();
  lex_ = Lex::Code;
  return p;
}

void SqlScanner::quoted_ended() noexcept {
  if (unicode_) judge_.doubt();  // its escapes may spell any name
  judge_.quoted(kept(), !unicode_ && kept_whole() && trusted(kept()));
}

// Behind - or /, which in the middle of an operator too begins a comment if - or * follows.
const SqlScanner::Byte* SqlScanner::comment_or_symbol(const Byte* p) noexcept {
  const bool minus = lex_ == Lex::Minus;
  if (*p == (minus ? '-' : '*')) {
    lex_ = minus ? Lex::LineComment : Lex::BlockComment;
    depth_ = 1;
    last_ = 0;
    return p + 1;
  }
  judge_.symbol(minus ? '-' : '/');
  lex_ = Lex::Code;
  return p;
}

const SqlScanner::Byte* SqlScanner::block_comment(const Byte* p, const Byte* end) noexcept {
  for (; p != end; ++p) {
    if (*p == '*' && last_ == '/') {
      ++depth_;
      last_ = 0;
    } else if (*p == '/' && last_ == '*') {
      last_ = 0;
      if (--depth_ == 0) {
        lex_ = Lex::Code;
        return p + 1;
      }
    } else {
      last_ = *p;
    }
  }
  return p;
}

void SqlScanner::keep(const Byte* from, const Byte* to) noexcept {
  const auto n = static_cast<std::size_t>(to - from);
  const std::size_t free = kept_.size() - std::min<std::size_t>(kept_size_, kept_.size());
  std::copy_n(from, std::min(n, free), kept_.begin() + (kept_.size() - free));
  kept_size_ = static_cast<Byte>(std::min<std::size_t>(kept_size_ + n, kMaxName + 1));
}

std::string_view SqlScanner::kept() const noexcept {
  return {kept_.data(), std::min<std::size_t>(kept_size_, kept_.size())};
}

// Masked bytes do not say which character they were.
bool SqlScanner::trusted(std::string_view name) const noexcept {
  return encoding_ == EncodingClass::AsciiSafe ||
         std::none_of(name.begin(), name.end(), [](char c) { return (c & 0x80) != 0; });
}

ScanResult SqlScanner::finish() noexcept {
  if (swallow_ > 0) judge_.doubt();
  switch (lex_) {
    case Lex::Word:
      judge_.word(kept(), kept_whole() && trusted(kept()));
      break;
    case Lex::QuotedQuote:
      quoted_ended();
      break;
    case Lex::Quoted:
    case Lex::UnicodePrefix:
    case Lex::String:
    case Lex::StringEscape:
    case Lex::Dollar:
    case Lex::DollarBody:
    case Lex::BlockComment:
    case Lex::Lost:
      judge_.doubt();
      break;
    case Lex::AfterStringMinus:
    case Lex::Minus:
      judge_.symbol('-');
      break;
    case Lex::Slash:
      judge_.symbol('/');
      break;
    case Lex::Code:
    case Lex::AfterString:
    case Lex::AfterStringComment:
    case Lex::Number:
    case Lex::LineComment:
      break;
  }
  return judge_.finish();
}

}  // namespace sidepool::protocol
