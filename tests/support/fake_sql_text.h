// tests/support/fake_sql_text.h -- what the fake PostgreSQL reads out of a text.
#pragma once
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/messages.h"

namespace sidepool::test::fake_sql {

inline std::vector<std::string> split(const std::string& all) {
  std::vector<std::string> texts;
  std::string one;
  for (const char c : all + ";") {
    if (c != ';') {
      if (!one.empty() || c != ' ') one += c;
      continue;
    }
    if (!one.empty()) texts.push_back(std::exchange(one, {}));
  }
  return texts;
}

inline std::vector<std::string> words(const std::string& t) {
  std::vector<std::string> w;
  std::string one;
  for (const char c : t + " ") {
    if (c == ' ' || c == '\'' || c == '"') {
      if (!one.empty()) w.push_back(std::exchange(one, {}));
    } else {
      one += c;
    }
  }
  if (w.empty()) w.emplace_back();
  return w;
}

inline std::string canonical(const std::string& name) {
  std::string low = name;
  std::transform(low.begin(), low.end(), low.begin(), [](unsigned char c) { return std::tolower(c); });
  return low == "timezone" ? "TimeZone" : low;
}

inline bool has(const std::string& t, std::string_view what) { return t.find(what) != std::string::npos; }

inline bool is_replay(const std::string& t) { return t.starts_with("SELECT pg_catalog.set_config("); }

inline bool returns_rows(const std::string& t) { return t.starts_with("SELECT"); }

inline bool ends_block(const std::string& t) {
  return t.starts_with("ROLLBACK") || t.starts_with("COMMIT") || split(t).empty();
}

inline std::vector<std::string> array(protocol::Bytes b) {
  std::vector<std::string> values;
  protocol::Reader r(b);
  r.u32(), r.u32(), r.u32();
  const auto n = r.u32();
  r.u32();
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) values.emplace_back(protocol::as_text(r.bytes(r.u32())));
  return values;
}

}  // namespace sidepool::test::fake_sql
