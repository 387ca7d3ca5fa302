// The Auth Proxy's configuration file, as TOML, JSON and YAML: any text is read or refused line by line, and
// what is accepted reads the same from JSON and gives a whole configuration or errors.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "src/cli/flat_file.h"
#include "src/cli/parse.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::cli;

namespace {

bool one_line(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

bool ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string in_json(const std::string& text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || c == '"' || c == '\\') {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out += '"';
}

void same_from_json(const FlatFile& file) {
  std::string text = "{";
  for (const FlatEntry& entry : file.entries()) {
    if (!ascii(entry.text)) return;  // JSON is UTF-8; what YAML lets through need not be
    text += (text.size() > 1 ? "," : "") + in_json(entry.key) + ":" + in_json(entry.text);
  }
  const auto again = read_flat_file("f.json", text + "}");
  const auto* other = std::get_if<FlatFile>(&again);
  test::require(other && other->entries().size() == file.entries().size(),
                "what is accepted reads from JSON");
  for (const FlatEntry& entry : file.entries()) {
    const FlatEntry* found = other->find(entry.key);
    test::require(found && found->text == entry.text, "a value is the same from JSON");
  }
}

void look_at(const FlatFile& file) {
  for (const FlatEntry& entry : file.entries()) {
    test::require(one_line(entry.key) && ascii(entry.key), "a key is one of those that are known");
    test::require(file.find(entry.key) == &entry, "a key is there once");
    test::require(entry.text.find('\0') == std::string::npos, "a value could be given to a flag");
  }
  same_from_json(file);
}

void errors(const std::vector<std::string>& lines) {
  test::require(!lines.empty(), "a refusal says why");
  for (const std::string& line : lines) test::require(one_line(line), "an error is one printable line");
}

void start_with(const std::string& name, const std::string& text, bool readable) {
  const Inputs inputs{[](const std::string&) { return std::nullopt; },
                      [&](const std::string&) -> Result<std::string> { return text; }};
  const Outcome outcome = parse({"--config-file", name}, inputs);
  if (const auto* failure = std::get_if<Failure>(&outcome)) return errors(failure->lines);
  test::require(readable, "a file that is refused starts nothing");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"f.toml", "f.json", "f.yaml"}) {
    const auto read = read_flat_file(name, text);
    const auto* file = std::get_if<FlatFile>(&read);
    file ? look_at(*file) : errors(std::get<std::vector<std::string>>(read));
    start_with(name, text, file != nullptr);
  }
  return 0;
}
