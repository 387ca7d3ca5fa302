// src/cli/flat_yaml.cpp -- the flat file in YAML; the only file that includes yaml-cpp, which throws.
#include <yaml-cpp/yaml.h>

#include <algorithm>

#include "conf/diagnostic.h"
#include "src/cli/flat_file.h"

namespace sidepool::cli {
namespace {

std::uint32_t line_of(const YAML::Mark& mark) {
  return mark.is_null() ? 0 : static_cast<std::uint32_t>(mark.line + 1);
}

// The library may quote the file in its texts: keep them to one short printable line.
std::string printable(std::string text) {
  text.resize(std::min<std::size_t>(text.size(), 200));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

// The library takes a quotation mark that is never closed for one at the end of the file, and the settings
// between for its text; so quoted texts end on their line. For longer ones there are block scalars.
bool ends_on_its_line(std::string_view text, const YAML::Mark& mark) {
  auto at = static_cast<std::size_t>(mark.pos);
  if (mark.is_null() || at >= text.size() || (text[at] != '"' && text[at] != '\'')) return true;
  const char quote = text[at];
  for (++at; at < text.size() && text[at] != '\n'; ++at) {
    if (quote == '"' && text[at] == '\\') {
      ++at;
    } else if (text[at] == quote) {
      if (quote == '"' || at + 1 == text.size() || text[at + 1] != quote) return true;
      ++at;  // '' stands for one
    }
  }
  return false;
}

// An alias refers to a node instead of copying it, and the library bounds the depth of a document, so its
// size bounds everything.
void members(const YAML::Node& document, std::string_view text, FlatText& out) {
  if (document.IsNull()) return;  // empty
  if (!document.IsMap()) {
    out.problems.push_back({"the file must be a list of \"flag: value\" lines", line_of(document.Mark())});
    return;
  }
  for (const auto& member : document) {
    const std::uint32_t line = line_of(member.first.Mark());
    if (!member.first.IsScalar()) {
      out.problems.push_back({"a key must be the name of a flag", line});
    } else if (!ends_on_its_line(text, member.first.Mark()) ||
               (member.second.IsScalar() && !ends_on_its_line(text, member.second.Mark()))) {
      out.problems.push_back({"a quotation mark is not closed on its line", line});
    } else if (member.second.IsNull()) {
      out.entries.push_back({member.first.Scalar(), "", line});
    } else if (member.second.IsScalar()) {
      out.entries.push_back({member.first.Scalar(), member.second.Scalar(), line});
    } else {
      out.problems.push_back({conf::in_quotes(member.first.Scalar()) + " must be a single value, not " +
                                  (member.second.IsMap() ? "a map" : "a list"),
                              line});
    }
  }
}

}  // namespace

FlatText read_flat_yaml(std::string_view text) {
  FlatText out;
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  try {
    members(YAML::Load(std::string(text)), text, out);
  } catch (const YAML::Exception& error) {
    out.entries.clear();
    out.problems = {{"not valid YAML: " + printable(error.msg), line_of(error.mark)}};
  }
  return out;
}

}  // namespace sidepool::cli
