// Where literals, comments and identifiers end: what stands in them is not seen, what stands behind them is.
#include <random>

#include "tests/unit/protocol/sql_scan_cases.h"

namespace sidepool::protocol {
namespace {

// "set_session {x}" in a row means: the scanner was back in code at `;SET x=1`.
TEST(SqlLexer, Comments) {
  constexpr ScanCase kCases[] = {
      {"/* SET a=1 */ SELECT 1", ""},
      {"/* /* SET a=1; */ SET b=1; */;SET x=1", "set_session {x}"},
      {"/*/ SET a=1 */;SET x=1", "set_session {x}"},
      {"/*/*/ */ SET a=1 */;SET x=1", "set_session {x}"},
      {"/**/;SET x=1", "set_session {x}"},
      {"/***/;SET x=1", "set_session {x}"},
      {"/****/;SET x=1", "set_session {x}"},
      {"/*//**/*/;SET x=1", "set_session {x}"},
      {"/* ' */;SET x=1/* ' */", "set_session {x}"},
      {"/* -- */;SET x=1", "set_session {x}"},
      {"-- /*\n;SET x=1", "set_session {x}"},
      {"-- '\r;SET x=1", "set_session {x}"},
      {"--\n--SET a=1\n;SET x=1", "set_session {x}"},
      {"SELECT 1--SET\n;SET x=1", "set_session {x} n=2"},
      {"SELECT 1+--;SET a=1\n2;SET x=1", "set_session {x} n=2"},
      {"SELECT 1 */*;SET a=1;*/ 2;SET x=1", "set_session {x} n=2"},
      {"SELECT 4 / 2;SET x=1", "set_session {x} n=2"},
      {"SELECT 4//**/2;SET x=1", "set_session {x} n=2"},
      {"SELECT 4 - -2;SET x=1", "set_session {x} n=2"},
      {"SELECT 4 -/*;*/-2;SET x=1", "set_session {x} n=2"},
      {"SELECT 1 @--;SET a=1\n;SET x=1", "set_session {x} n=2"},
      {"/* open", "unsure tx=unknown n=0"},
      {"SET x=1; /* /* */", "set_session unsure {x} tx=unknown"},
      {"SET x=1; /", "set_session {x} n=2"},
      {"SET x=1; -", "set_session {x} n=2"},
  };
  check(kCases);
}

TEST(SqlLexer, Strings) {
  constexpr ScanCase kCases[] = {
      {"SELECT ';SET a=1'", ""},
      {"SELECT 'it''s;SET a=1';SET x=1", "set_session {x} n=2"},
      {"SELECT '';SET x=1", "set_session {x} n=2"},
      {"SELECT '''';SET x=1", "set_session {x} n=2"},
      {"SELECT '--';SET x=1", "set_session {x} n=2"},
      {"SELECT '/*';SET x=1", "set_session {x} n=2"},
      {"SELECT '\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT E'\\';SET a=1'", ""},
      {"SELECT E'\\\\';SET x=1", "set_session {x} n=2"},
      {"SELECT e'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'''';SET x=1", "set_session {x} n=2"},
      {"SELECT E'\\\n\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT fooe'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT \xc3\xa9'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT B'01', x'ff', b'\\';SET x=1", "set_session {x} n=2"},
      {"SELECT N'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT U&'\\0041\\';SET x=1", "set_session {x} n=2"},
      {"SELECT u&'d!0061t' UESCAPE '!';SET x=1", "set_session {x} n=2"},
      {"SELECT u & 'a\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT u&v;SET x=1", "set_session {x} n=2"},
      {"SELECT 1e'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a' 'b';SET x=1", "set_session {x} n=2"},
      // continuation keeps the kind
      {"SELECT E'a'\n'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'a' \t\r\n  '\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'a' -- c '\n  '\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'a'-- c\n-- d\n'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'a' '\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT E'a'/*\n*/'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT E'a'\n/**/'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT 'a'\n'b';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a'\nE'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a' - 'b';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a'-'b';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a'\n-'\\';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT 'a'-/**/'b';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a' -- end", ""},
      {"SELECT 'open", "unsure tx=unknown"},
      {"SELECT E'open\\", "unsure tx=unknown"},
      {"SELECT E'open\\'", "unsure tx=unknown"},
  };
  check(kCases);
}

TEST(SqlLexer, StringsWithoutStandardConformance) {
  constexpr ScanCase kCases[] = {
      {"SELECT '\\';SET a=1'", "backslash_in_string"},
      {"SELECT '\\'';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT E'\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT N'\\'';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT B'\\';SET x=1", "set_session {x} n=2"},
      {"SELECT 'a'\n'\\'';SET x=1", "set_session backslash_in_string {x} n=2"},
      {"SELECT U&'a'", "unsure tx=unknown"},
      {"SELECT \"\\\";SET x=1", "set_session {x} n=2"},
      {"SELECT $$\\$$;SET x=1", "set_session {x} n=2"},
  };
  check(kCases, {.conforming = false});
}

TEST(SqlLexer, Identifiers) {
  constexpr ScanCase kCases[] = {
      {"SELECT \";SET a=1\"", ""},
      {"SELECT \"a\"\";SET a=1\"", ""},
      {"SELECT \"a\"\"\";SET x=1", "set_session {x} n=2"},
      {"SELECT \"'\";SET x=1", "set_session {x} n=2"},
      {"SELECT \"--\";SET x=1", "set_session {x} n=2"},
      {"SELECT \"\\\";SET x=1", "set_session {x} n=2"},
      {"SELECT \"a\".\"b\";SET x=1", "set_session {x} n=2"},
      {"SELECT \"a\"\n\"b\";SET x=1", "set_session {x} n=2"},
      {"SELECT a$$b;SET x=1", "set_session {x} n=2"},
      {"SELECT \xd0\xb6SET, set\xd0\xb6;SET x=1", "set_session {x} n=2"},
      {"SELECT U&\"d\\0061t\"", "unsure tx=unknown"},
      {"SELECT u&\"x\"\";SET a=1\";SET x=1", "set_session unsure {x} tx=unknown n=2"},
      {"\"SET\" x = 1", ""},
      {"\"set\" x = 1", ""},
      {"SELECT \"open", "unsure tx=unknown"},
      {"SELECT \"a\"", ""},
      {"SELECT \"set_config\"", "set_config_call"},
      {"SELECT 1AS a;SET x=1", "set_session {x} n=2"},
      {"SELECT 1.5e10, .5, 1., 0x1F, 1_000;SET x=1", "set_session {x} n=2"},
      {"SELECT $1, $2.a;SET x=1", "set_session {x} n=2"},
      {"SELECT a[1:2], b::int, c := 1;SET x=1", "set_session {x} n=2"},
      {"SET\fx\v=\r1", "set_session {x}"},
  };
  check(kCases);
  const std::string long_word(200, 'a');
  EXPECT_EQ(scan(long_word + " 'x';SET x=1"), "set_session {x} n=2");
  expect_same_at_every_split("SELECT \"" + long_word + "\", " + long_word + ";SET x=1");
  EXPECT_EQ(scan("SELECT dblink_" + long_word), "dblink");
  expect_same_at_every_split("SELECT dblink_" + long_word + "()");
}

TEST(SqlLexer, DollarQuotes) {
  constexpr ScanCase kCases[] = {
      {"SELECT $$;SET a=1$$;SET x=1", "set_session {x} n=2"},
      {"SELECT $a$;SET a=1;$$;$a$;SET x=1", "set_session {x} n=2"},
      {"SELECT $a$ $b$ $a $ $A$ $aa$ $a$;SET x=1", "set_session {x} n=2"},
      {"SELECT $a$$a$;SET x=1", "set_session {x} n=2"},
      {"SELECT $a$x$$a$;SET x=1", "set_session {x} n=2"},
      {"SELECT $ab$ $a$ab$;SET x=1", "set_session {x} n=2"},
      {"SELECT $$ $a$ $ $$;SET x=1", "set_session {x} n=2"},
      {"SELECT $$ $a$$;SET x=1", "set_session {x} n=2"},
      {"SELECT $$$$;SET x=1", "set_session {x} n=2"},
      {"SELECT $$$a$$;SET x=1", "set_session {x} n=2"},
      {"SELECT $_1$ ' \" /* -- $_1$;SET x=1", "set_session {x} n=2"},
      {"SELECT $\xc3\xa9$ ; $\xc3\xa9$;SET x=1", "set_session {x} n=2"},
      {"SELECT a$b$;SET x=1", "set_session {x} n=2"},
      {"SELECT $1$$;SET a=1$$;SET x=1", "set_session {x} n=2"},
      {"SELECT 1$$;SET a=1$$;SET x=1", "set_session {x} n=2"},
      {"SELECT $a ;SET x=1", "set_session {x} n=2"},
      {"SELECT $a;SET x=1", "set_session {x} n=2"},
      {"SELECT $e'\\';SET a=1';SET x=1", "set_session {x} n=2"},
      {"SELECT $ ;SET x=1", "set_session {x} n=2"},
      {"SELECT $set_config(1)", "set_config_call"},
      {"SELECT $$ set_config pg_temp $$", ""},
      {"SELECT $$open$", "unsure tx=unknown"},
      {"SELECT $open", "unsure tx=unknown"},
      {"DO $do$ BEGIN PERFORM set_config('a','b',false); END $do$; LISTEN x", "listen do_or_call n=2"},
  };
  check(kCases);
  const std::string tag(63, 't');
  EXPECT_EQ(scan("SELECT $" + tag + "$;SET a=1;$" + tag + "$;SET x=1"), "set_session {x} n=2");
  EXPECT_EQ(scan("SELECT $" + tag + "t$;SET a=1;$" + tag + "t$;SET x=1"), "unsure tx=unknown");
  expect_same_at_every_split("SELECT $" + tag + "t$;SET a=1;$" + tag + "t$;SET x=1");
  expect_same_at_every_split("SELECT $" + tag + "t;SET x=1");
}

TEST(SqlLexer, ShiftJis) {
  constexpr ScanCase kCases[] = {
      // 0x8f5c and 0x835c end in a backslash's byte
      {"SELECT E'\x8f\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT '\x83\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT E'\\\x83\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT \"\x83\x5c\";SET x=1", "set_session {x} n=2"},
      // half-width katakana stand alone
      {"SELECT '\xb1';SET x=1", "set_session {x} n=2"},
      {"SELECT E'\xb1\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT '\xdf\x83\x5c\xa1';SET x=1", "set_session {x} n=2"},
      // a quote is never a trail byte
      {"SELECT '\x83';SET x=1", "unsure tx=unknown"},
      {"SELECT '\x83", "unsure tx=unknown"},
      {"SELECT $\x83\x5c$a$\x83\x5c$", "unsure tx=unknown"},
      {"DEALLOCATE \"\x83\x5c\"", "deallocate"},
      {"DEALLOCATE \"p\"", "deallocate lone=<p>"},
      {"SET \"\x83\x5c\".y = 1", "set_session set_role set_session_authorization {...}"},
      {"/* \x83\x2a/ */", "unsure tx=unknown n=0"},
  };
  check(kCases, {.encoding = EncodingClass::Sjis});
  constexpr ScanCase kNotConforming[] = {
      {"SELECT '\x83\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT '\x83\x5c\\'';SET x=1", "set_session backslash_in_string {x} n=2"},
  };
  check(kNotConforming, {.conforming = false, .encoding = EncodingClass::Sjis});
}

TEST(SqlLexer, OtherEncodings) {
  constexpr ScanCase kDouble[] = {
      {"SELECT E'\xb1\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT '\xb1\xb1';SET x=1", "set_session {x} n=2"},
      {"SELECT '\xb1';SET x=1", "unsure tx=unknown"},
  };
  check(kDouble, {.encoding = EncodingClass::DoubleByte});
  constexpr ScanCase kGb18030[] = {
      {"SELECT E'\x81\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT E'\x81\x30\x81\x30\\'';SET x=1", "set_session {x} n=2"},
      {"SELECT E'\x81\x30\x81\x30\x81\x5c';SET x=1", "set_session {x} n=2"},
      {"SELECT '\x81\x30\x81", "unsure tx=unknown"},
  };
  check(kGb18030, {.encoding = EncodingClass::DoubleByte});
  constexpr ScanCase kUnknown[] = {
      {"SET x=1", "set_session {x}"},
      {"SET x='\x81'", "set_session unsure {x} tx=unknown"},
  };
  check(kUnknown, {.encoding = EncodingClass::Unknown});
  // The same bytes read as an encoding without such trail bytes.
  EXPECT_EQ(scan("SELECT E'\x8f\x5c';SET a=1'"), "");
  EXPECT_EQ(scan("DEALLOCATE \"" + std::string(21, '\xe9') + "\""),
            "deallocate lone=<" + std::string(21, '\xe9') + ">");
  EXPECT_EQ(scan("DEALLOCATE \"" + std::string(22, '\xe9') + "\""), "deallocate");
}

TEST(SqlLexer, ClassifiesEncodings) {
  for (const auto* name : {"UTF8", "utf-8", "Unicode", "SQL_ASCII", "LATIN1", "iso-8859-15", "EUC_JP",
                           "EUC_JIS_2004", "WIN1252", "windows-1251", "KOI8R", "MULE_INTERNAL", "EUC_TW"}) {
    EXPECT_EQ(classify_encoding(name), EncodingClass::AsciiSafe) << name;
  }
  for (const auto* name : {"SJIS", "Shift_JIS", "mskanji", "WIN932", "Windows932"}) {
    EXPECT_EQ(classify_encoding(name), EncodingClass::Sjis) << name;
  }
  for (const auto* name : {"BIG5", "GBK", "UHC", "win949", "WIN950", "windows936", "GB18030"}) {
    EXPECT_EQ(classify_encoding(name), EncodingClass::DoubleByte) << name;
  }
  for (const auto* name :
       {"", "JOHAB", "SHIFT_JIS_2004", "klingon", "latin11", "utf16", "windows12512345678"}) {
    EXPECT_EQ(classify_encoding(name), EncodingClass::Unknown) << name;
  }
}

// Texts of fragments that like to meet; pieces cut at random.
TEST(SqlLexer, RandomTextsInRandomPieces) {
  constexpr std::string_view kFragments[] = {"'",
                                             "''",
                                             "\"",
                                             "$$",
                                             "$a$",
                                             "$",
                                             "\\",
                                             "--",
                                             "\n",
                                             "/*",
                                             "*/",
                                             "*",
                                             "/",
                                             "-",
                                             ";",
                                             "(",
                                             ")",
                                             ".",
                                             "=",
                                             " ",
                                             "E'",
                                             "U&\"",
                                             "u&'",
                                             "u&",
                                             "b'",
                                             "N'",
                                             "SET ",
                                             "LOCAL ",
                                             "SESSION ",
                                             "ROLE ",
                                             "x",
                                             "1",
                                             "1e5",
                                             "$1",
                                             "RESET ",
                                             "ALL",
                                             "BEGIN ",
                                             "ATOMIC ",
                                             "END ",
                                             "CASE ",
                                             "CREATE ",
                                             "TEMP ",
                                             "INTO ",
                                             "FUNCTION ",
                                             "COMMIT ",
                                             "AND ",
                                             "CHAIN ",
                                             "PREPARE ",
                                             "TRANSACTION ",
                                             "TO ",
                                             "\xc3\xa9",
                                             "\x83",
                                             "\x81\x30",
                                             "DEALLOCATE ",
                                             "search_path",
                                             "pg_temp",
                                             "set_config(",
                                             "ON COMMIT DROP ",
                                             "TIME ",
                                             "ZONE "};
  constexpr EncodingClass kEncodings[] = {EncodingClass::AsciiSafe, EncodingClass::Sjis,
                                          EncodingClass::DoubleByte, EncodingClass::Unknown};
  std::mt19937 random(20240601);  // NOLINT: the same texts every time
  for (int round = 0; round < 20000; ++round) {
    std::string sql;
    for (auto n = random() % 24; n > 0; --n) sql += kFragments[random() % std::size(kFragments)];
    const ScanInput in{random() % 2 == 0, kEncodings[random() % std::size(kEncodings)]};
    SqlScanner s(in.conforming, in.encoding);
    std::string cuts;
    for (std::size_t at = 0; at < sql.size();) {
      const auto n = std::min<std::size_t>(1 + random() % 9, sql.size() - at);
      s.feed(as_bytes(std::string_view(sql).substr(at, n)));
      at += n;
      cuts += std::to_string(at) + ' ';
    }
    ASSERT_EQ(describe(s.finish()), scan(sql, in)) << sql << "\ncut at " << cuts;
  }
}

}  // namespace
}  // namespace sidepool::protocol
