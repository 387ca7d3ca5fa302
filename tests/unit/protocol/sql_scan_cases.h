// tests/unit/protocol/sql_scan_cases.h -- texts with what the scanner must say about them.
#pragma once
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>

#include "protocol/sql_scan.h"

namespace sidepool::protocol {

inline std::string describe(const ScanResult& r) {
  std::string s;
  for (std::uint64_t bits = r.effects.bits(); bits != 0; bits &= bits - 1) {
    if (!s.empty()) s += ' ';
    s += to_string(static_cast<Effect>(bits & -bits));
  }
  if (r.settings.size() > 0 || r.settings.overflow()) {
    s += " {";
    for (std::size_t i = 0; i < r.settings.size(); ++i) {
      if (i > 0) s += ',';
      s += r.settings.name(i);
      if (r.settings.reset(i)) s += '*';
    }
    s += r.settings.overflow() ? "...}" : "}";
  }
  if (r.tx == TxVerb::Begins) s += " tx=begins";
  if (r.tx == TxVerb::Ends) s += " tx=ends";
  if (r.tx == TxVerb::Unknown) s += " tx=unknown";
  if (r.statements != 1) s += " n=" + std::to_string(r.statements);
  if (r.lone_deallocate == LoneDeallocate::All) s += " lone=ALL";
  if (r.lone_deallocate == LoneDeallocate::Name) s += " lone=<" + std::string(r.deallocate_name()) + '>';
  if (!s.empty() && s.front() == ' ') s.erase(0, 1);
  return s;
}

struct ScanInput {
  bool conforming = true;
  EncodingClass encoding = EncodingClass::AsciiSafe;
};

inline std::string scan(std::string_view sql, ScanInput in = {}) {
  SqlScanner s(in.conforming, in.encoding);
  s.feed(as_bytes(sql));
  return describe(s.finish());
}

// Cut in two at every place, and into single bytes.
inline void expect_same_at_every_split(std::string_view sql, ScanInput in = {}) {
  const std::string whole = scan(sql, in);
  for (std::size_t i = 0; i <= sql.size(); ++i) {
    SqlScanner s(in.conforming, in.encoding);
    s.feed(as_bytes(sql.substr(0, i)));
    s.feed(as_bytes(sql.substr(i)));
    ASSERT_EQ(describe(s.finish()), whole) << sql << "\ncut at " << i;
  }
  SqlScanner s(in.conforming, in.encoding);
  for (std::size_t i = 0; i < sql.size(); ++i) s.feed(as_bytes(sql.substr(i, 1)));
  ASSERT_EQ(describe(s.finish()), whole) << sql << "\nbyte by byte";
}

struct ScanCase {
  std::string_view sql;
  std::string_view expected;
};

inline void check(std::span<const ScanCase> cases, ScanInput in = {}) {
  for (const ScanCase& c : cases) {
    EXPECT_EQ(scan(c.sql, in), c.expected) << c.sql;
    expect_same_at_every_split(c.sql, in);
  }
}

}  // namespace sidepool::protocol
