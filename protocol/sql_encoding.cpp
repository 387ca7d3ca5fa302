// protocol/sql_encoding.cpp -- which encodings hide ASCII bytes in other characters.
#include <algorithm>
#include <array>

#include "protocol/sql_scan.h"

namespace sidepool::protocol {
namespace {

struct Alias {
  std::string_view name;  // lower case, letters and digits only, as PostgreSQL compares them
  EncodingClass encoding;
};

// PostgreSQL manual, table 24.3, with the names its servers also accept. SHIFT_JIS_2004 is Unknown because
// its conversion makes a backslash of the two bytes 81 5F; JOHAB because PostgreSQL and the standard disagree
// about the length of its characters. (Both seen on PostgreSQL 15.)
constexpr Alias kAliases[] = {
    {"abc", EncodingClass::AsciiSafe},
    {"alt", EncodingClass::AsciiSafe},
    {"big5", EncodingClass::DoubleByte},
    {"euccn", EncodingClass::AsciiSafe},
    {"eucjis2004", EncodingClass::AsciiSafe},
    {"eucjp", EncodingClass::AsciiSafe},
    {"euckr", EncodingClass::AsciiSafe},
    {"euctw", EncodingClass::AsciiSafe},
    {"gb18030", EncodingClass::DoubleByte},
    {"gbk", EncodingClass::DoubleByte},
    {"iso88591", EncodingClass::AsciiSafe},
    {"iso885910", EncodingClass::AsciiSafe},
    {"iso885913", EncodingClass::AsciiSafe},
    {"iso885914", EncodingClass::AsciiSafe},
    {"iso885915", EncodingClass::AsciiSafe},
    {"iso885916", EncodingClass::AsciiSafe},
    {"iso88592", EncodingClass::AsciiSafe},
    {"iso88593", EncodingClass::AsciiSafe},
    {"iso88594", EncodingClass::AsciiSafe},
    {"iso88595", EncodingClass::AsciiSafe},
    {"iso88596", EncodingClass::AsciiSafe},
    {"iso88597", EncodingClass::AsciiSafe},
    {"iso88598", EncodingClass::AsciiSafe},
    {"iso88599", EncodingClass::AsciiSafe},
    {"koi8", EncodingClass::AsciiSafe},
    {"koi8r", EncodingClass::AsciiSafe},
    {"koi8u", EncodingClass::AsciiSafe},
    {"latin1", EncodingClass::AsciiSafe},
    {"latin10", EncodingClass::AsciiSafe},
    {"latin2", EncodingClass::AsciiSafe},
    {"latin3", EncodingClass::AsciiSafe},
    {"latin4", EncodingClass::AsciiSafe},
    {"latin5", EncodingClass::AsciiSafe},
    {"latin6", EncodingClass::AsciiSafe},
    {"latin7", EncodingClass::AsciiSafe},
    {"latin8", EncodingClass::AsciiSafe},
    {"latin9", EncodingClass::AsciiSafe},
    {"mskanji", EncodingClass::Sjis},
    {"muleinternal", EncodingClass::AsciiSafe},
    {"shiftjis", EncodingClass::Sjis},
    {"sjis", EncodingClass::Sjis},
    {"sqlascii", EncodingClass::AsciiSafe},
    {"tcvn", EncodingClass::AsciiSafe},
    {"tcvn5712", EncodingClass::AsciiSafe},
    {"uhc", EncodingClass::DoubleByte},
    {"unicode", EncodingClass::AsciiSafe},
    {"utf8", EncodingClass::AsciiSafe},
    {"vscii", EncodingClass::AsciiSafe},
    {"win", EncodingClass::AsciiSafe},
    {"win1250", EncodingClass::AsciiSafe},
    {"win1251", EncodingClass::AsciiSafe},
    {"win1252", EncodingClass::AsciiSafe},
    {"win1253", EncodingClass::AsciiSafe},
    {"win1254", EncodingClass::AsciiSafe},
    {"win1255", EncodingClass::AsciiSafe},
    {"win1256", EncodingClass::AsciiSafe},
    {"win1257", EncodingClass::AsciiSafe},
    {"win1258", EncodingClass::AsciiSafe},
    {"win866", EncodingClass::AsciiSafe},
    {"win874", EncodingClass::AsciiSafe},
    {"win932", EncodingClass::Sjis},
    {"win936", EncodingClass::DoubleByte},
    {"win949", EncodingClass::DoubleByte},
    {"win950", EncodingClass::DoubleByte},
    {"windows1250", EncodingClass::AsciiSafe},
    {"windows1251", EncodingClass::AsciiSafe},
    {"windows1252", EncodingClass::AsciiSafe},
    {"windows1253", EncodingClass::AsciiSafe},
    {"windows1254", EncodingClass::AsciiSafe},
    {"windows1255", EncodingClass::AsciiSafe},
    {"windows1256", EncodingClass::AsciiSafe},
    {"windows1257", EncodingClass::AsciiSafe},
    {"windows1258", EncodingClass::AsciiSafe},
    {"windows866", EncodingClass::AsciiSafe},
    {"windows874", EncodingClass::AsciiSafe},
    {"windows932", EncodingClass::Sjis},
    {"windows936", EncodingClass::DoubleByte},
    {"windows949", EncodingClass::DoubleByte},
    {"windows950", EncodingClass::DoubleByte},
};

}  // namespace

EncodingClass classify_encoding(std::string_view client_encoding) noexcept {
  std::array<char, 16> clean{};  // longer than every name here
  std::size_t n = 0;
  for (const char c : client_encoding) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if ((lower < 'a' || lower > 'z') && (lower < '0' || lower > '9')) continue;
    if (n == clean.size()) return EncodingClass::Unknown;
    clean[n++] = lower;
  }
  const std::string_view name(clean.data(), n);
  const auto* const found =
      std::find_if(std::begin(kAliases), std::end(kAliases), [&](const Alias& a) { return a.name == name; });
  return found == std::end(kAliases) ? EncodingClass::Unknown : found->encoding;
}

}  // namespace sidepool::protocol
