// protocol/sql_literals.cpp -- the scanner inside string constants and dollar quotes (manual 4.1.2).
#include <algorithm>
#include <string_view>

#include "protocol/sql_chars.h"
#include "protocol/sql_scan.h"

namespace sidepool::protocol {

using sql::find;
using sql::is_digit;
using sql::is_space;
using sql::kInWord;

void SqlScanner::begin_literal(Lex state, Literal kind) noexcept {
  judge_.literal();
  watching_ = judge_.watches_literal();
  watched_ = 0;
  literal_ = kind;
  lex_ = state;
  // PostgreSQL refuses U&'...' without standard_conforming_strings; escapes of it may spell pg_temp.
  if (kind == Literal::Unicode && (!conforming_ || watching_)) judge_.doubt();
}

const SqlScanner::Byte* SqlScanner::string(const Byte* p, const Byte* end) noexcept {
  const bool escapes = literal_ == Literal::Escape || (literal_ == Literal::Plain && !conforming_);
  const Byte* q =
      escapes ? std::find_if(p, end, [](Byte c) { return c == '\'' || c == '\\'; }) : find(p, end, '\'');
  const bool backslash = escapes ? q != end && *q == '\\' : find(p, q, '\\') != q;
  if (backslash && literal_ == Literal::Plain) judge_.backslash_in_string();
  watch(p, q);
  if (q == end) return q;
  if (*q == '\\') {
    lex_ = Lex::StringEscape;
    return q + 1;
  }
  gap_ = new_line_ = false;
  lex_ = Lex::AfterString;
  return q + 1;
}

// \n, \", \\ and their like are no part of pg_temp; numbers and other letters may be.
const SqlScanner::Byte* SqlScanner::string_escape(const Byte* p) noexcept {
  constexpr std::string_view kHarmless = "\\'\"bfnrt/";
  if (watching_ && kHarmless.find(static_cast<char>(*p)) == kHarmless.npos) judge_.doubt();
  watched_ = 0;
  lex_ = Lex::String;
  return p + 1;
}

// Two quotes are one in the literal; and a literal goes on, in its kind, behind white space with a line break
// in it, comments up to the end of the line included (manual 4.1.2.1).
const SqlScanner::Byte* SqlScanner::after_string(const Byte* p, const Byte* end) noexcept {
  for (; p != end; ++p) {
    const bool line_break = *p == '\n' || *p == '\r';
    if (lex_ == Lex::AfterStringComment) {
      if (line_break) new_line_ = true, lex_ = Lex::AfterString;
    } else if (lex_ == Lex::AfterStringMinus) {
      if (*p != '-') {
        judge_.symbol('-');
        lex_ = Lex::Code;
        return p;
      }
      lex_ = Lex::AfterStringComment;
    } else if (is_space(*p)) {
      gap_ = true;
      new_line_ = new_line_ || line_break;
    } else if (*p == '-') {
      gap_ = true;
      lex_ = Lex::AfterStringMinus;
    } else if (*p == '\'' && (!gap_ || new_line_)) {
      lex_ = Lex::String;
      return p + 1;
    } else {
      lex_ = Lex::Code;
      return p;
    }
  }
  return p;
}

// $1, or the tag of a dollar quote, or no more than a $ with a word behind it.
const SqlScanner::Byte* SqlScanner::dollar(const Byte* p, const Byte* end) noexcept {
  if (kept_size_ == 0 && is_digit(*p)) {
    judge_.literal();
    lex_ = Lex::Number;
    return p;
  }
  const Byte* q = std::find_if(p, end, [](Byte c) { return c == '$' || !kInWord[c]; });
  keep(p, q);
  if (q == end) return q;
  if (*q == '$') {
    begin_literal(Lex::DollarBody, Literal::Raw);
    matching_ = false;
    if (!kept_whole()) {
      judge_.doubt();
      lex_ = Lex::Lost;
    } else if (!trusted(kept())) {
      judge_.doubt();
    }
    return q + 1;
  }
  judge_.symbol('$');
  lex_ = kept_size_ > 0 ? Lex::Word : Lex::Code;
  return q;
}

// A $ that ends no delimiter may begin one: `$$a$` holds `$a$`.
const SqlScanner::Byte* SqlScanner::dollar_body(const Byte* p, const Byte* end) noexcept {
  const Byte* const from = p;
  while (p != end) {
    if (!matching_) {
      p = find(p, end, '$');
      if (p == end) break;
      matching_ = true;
      matched_ = 0;
      ++p;
    } else if (matched_ < kept_size_ && *p == static_cast<Byte>(kept_[matched_])) {
      ++matched_;
      ++p;
    } else if (*p == '$') {
      ++p;
      if (matched_ == kept_size_) {
        lex_ = Lex::Code;
        break;
      }
      matched_ = 0;
    } else {
      matching_ = false;
    }
  }
  watch(from, p);
  return p;
}

void SqlScanner::watch(const Byte* from, const Byte* to) noexcept {
  constexpr std::string_view kWanted = "pg_temp";  // its only border is its p
  if (!watching_) return;
  for (; from != to; ++from) {
    const char c = static_cast<char>(*from >= 'A' && *from <= 'Z' ? *from | 0x20 : *from);
    watched_ = c == kWanted[watched_] ? static_cast<Byte>(watched_ + 1) : static_cast<Byte>(c == 'p');
    if (watched_ < kWanted.size()) continue;
    judge_.temp_in_literal();
    watched_ = 0;
  }
}

}  // namespace sidepool::protocol
