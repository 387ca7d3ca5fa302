// protocol/startup.cpp -- rules of PostgreSQL's ProcessStartupPacket (backend_startup.c) and
// process_postgres_switches.
#include "protocol/startup.h"

#include <algorithm>
#include <array>
#include <optional>

#include "protocol/sqlstate.h"

namespace sidepool::protocol {
namespace {

constexpr std::size_t kMaxName = 63;  // NAMEDATALEN - 1
constexpr std::uint8_t kTlsHandshake = 0x16;

Malformed bad_length() { return {sqlstate::kProtocolViolation, "invalid length of startup packet", true}; }

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Prefixes of the words in any case, as parse_bool() takes them. nullopt: not a boolean.
std::optional<bool> boolean(std::string_view v) {
  struct Word {
    std::string_view text;
    std::size_t least;  // "o" could be on or off
    bool value;
  };
  static constexpr std::array<Word, 8> kWords{{{"true", 1, true},
                                               {"false", 1, false},
                                               {"yes", 1, true},
                                               {"no", 1, false},
                                               {"on", 2, true},
                                               {"off", 2, false},
                                               {"1", 1, true},
                                               {"0", 1, false}}};
  for (const auto& w : kWords) {
    if (v.size() < w.least || v.size() > w.text.size()) continue;
    if (std::equal(v.begin(), v.end(), w.text.begin(), [](char a, char b) { return lower(a) == b; }))
      return w.value;
  }
  return std::nullopt;
}

// nullopt, or why the value is wrong.
std::optional<Malformed> set_replication(StartupMessage& m, std::string_view value) {
  m.replication_value = value;
  if (value == "database") {
    m.replication = Replication::Logical;
    return std::nullopt;
  }
  const auto on = boolean(value);
  if (!on) {
    return Malformed{sqlstate::kInvalidParameterValue, "invalid value for parameter \"replication\": \"" +
                                                           std::string(value.substr(0, 64)) + "\""};
  }
  m.replication = *on ? Replication::Physical : Replication::None;
  return std::nullopt;
}

std::optional<Malformed> read_parameters(StartupMessage& m, Reader& r) {
  for (auto name = r.cstr(); !name.empty(); name = r.cstr()) {
    const auto value = r.cstr();
    if (!r.ok()) break;
    if (name == "user") {
      m.user = value;
    } else if (name == "database") {
      m.database = value;
    } else if (name == "options") {
      m.options = value;
    } else if (name == "replication") {
      if (auto bad = set_replication(m, value)) return bad;
    } else if (name.starts_with("_pq_.")) {
      m.protocol_options.emplace_back(name);
    } else {
      m.parameters.emplace_back(name, value);
    }
  }
  if (r.done()) return std::nullopt;
  return Malformed{sqlstate::kProtocolViolation,
                   "invalid startup packet layout: expected terminator as last byte"};
}

// 3.1 was never used by a server and is reserved (manual, "Protocol Versions"): who asks for it speaks 3.0.
std::uint32_t spoken(std::uint32_t asked) noexcept {
  return asked >= kProtocol32 ? kProtocol32 : kProtocol30;
}

std::variant<StartupMessage, Malformed> startup(std::uint32_t version, Reader& r) {
  if (version >> 16 != 3) {
    return Malformed{sqlstate::kFeatureNotSupported,
                     "unsupported frontend protocol " + std::to_string(version >> 16) + "." +
                         std::to_string(version & 0xffff) + ": server supports 3.0 to 3.2"};
  }
  StartupMessage m;
  m.asked = version;
  m.protocol = spoken(version);
  if (auto bad = read_parameters(m, r)) return *std::move(bad);
  if (m.user.empty()) {
    return Malformed{sqlstate::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet"};
  }
  if (m.database.empty()) m.database = m.user;
  if (m.replication == Replication::Physical) m.database.clear();
  if (m.user.size() > kMaxName) m.user.resize(kMaxName);
  if (m.database.size() > kMaxName) m.database.resize(kMaxName);
  return m;
}

FirstPacket cancel(Reader& r, std::size_t size) {
  const auto pid = r.u32();
  const auto key = r.rest();
  if (!r.ok() || key.size() < 4 || key.size() > kMaxCancelKey) return {bad_length(), 0};
  return {CancelRequest{pid, Buffer(key.begin(), key.end())}, size};
}

bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<std::string> split(std::string_view options) {
  std::vector<std::string> words;
  std::size_t i = 0;
  for (;;) {
    while (i < options.size() && is_space(options[i])) ++i;
    if (i == options.size()) return words;
    auto& word = words.emplace_back();
    for (; i < options.size() && !is_space(options[i]); ++i) {
      if (options[i] == '\\' && ++i == options.size()) break;  // a backslash at the end keeps nothing
      word += options[i];
    }
  }
}

OptionsError options_error(std::string_view word, bool no_value) {
  return {std::string(word.substr(0, 64)), no_value};
}

}  // namespace

FirstPacket decode_first_packet(Bytes seen) {
  if (seen.empty()) return {NeedMore{}};
  if (seen[0] == kTlsHandshake) return {DirectTls{}};
  if (seen.size() < 4) return {NeedMore{}};
  const std::size_t size = load_be32(seen.data());
  if (size < 8 || size > kMaxStartupPacket + 4) return {bad_length()};
  if (seen.size() < size) return {NeedMore{}};
  Reader r(seen.subspan(4, size - 4));
  const auto code = r.u32();
  switch (code) {
    case kSslRequestCode:
      return r.done() ? FirstPacket{SslRequest{}, size} : FirstPacket{bad_length()};
    case kGssEncRequestCode:
      return r.done() ? FirstPacket{GssEncRequest{}, size} : FirstPacket{bad_length()};
    case kCancelRequestCode:
      return cancel(r, size);
    default:
      break;
  }
  auto m = startup(code, r);
  if (auto* bad = std::get_if<Malformed>(&m)) return {std::move(*bad)};
  return {std::get<StartupMessage>(std::move(m)), size};
}

std::variant<std::vector<OwnedParameter>, OptionsError> parse_options(std::string_view options) {
  std::vector<OwnedParameter> pairs;
  const auto words = split(options);
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i], setting;
    if (word == "-c" && i + 1 < words.size()) {
      setting = words[++i];
    } else if (word.size() > 2 && (word.starts_with("-c") || word.starts_with("--"))) {
      setting = word.substr(2);
    } else {
      return options_error(word, word == "-c");
    }
    const auto equals = setting.find('=');
    if (equals == std::string_view::npos || equals == 0) return options_error(setting, true);
    std::string name(setting.substr(0, equals));
    std::replace(name.begin(), name.end(), '-', '_');
    pairs.emplace_back(std::move(name), setting.substr(equals + 1));
  }
  return pairs;
}

}  // namespace sidepool::protocol
