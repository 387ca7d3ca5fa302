// The first packet and the options parameter.
#include <cstdint>

#include "protocol/encode.h"
#include "protocol/startup.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::protocol;

namespace {

// What was read, written again, reads the same.
void round_trip(const StartupMessage& m) {
  std::vector<Parameter> p{{"user", m.user}};
  if (!m.database.empty()) p.emplace_back("database", m.database);
  if (!m.options.empty()) p.emplace_back("options", m.options);
  if (!m.replication_value.empty()) p.emplace_back("replication", m.replication_value);
  for (const auto& name : m.protocol_options) p.emplace_back(name, "");
  for (const auto& [name, value] : m.parameters) p.emplace_back(name, value);
  Buffer out;
  startup_message(out, m.asked, p);
  const auto again = decode_first_packet(out);
  const auto* n = std::get_if<StartupMessage>(&again.packet);
  if (!n) {  // names that became longer: the database that was the user's name
    test::require(out.size() > kMaxStartupPacket + 4, "our own packet is good");
    return;
  }
  test::require(n->user == m.user && n->database == m.database && n->parameters == m.parameters &&
                    n->protocol_options == m.protocol_options && n->replication == m.replication &&
                    n->protocol == m.protocol,
                "the same is read again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(data, size);
  const auto whole = decode_first_packet(all);
  test::require(whole.size <= size, "no more is taken than there is");
  // A prefix needs more or is as wrong as the whole; it never reads as something else.
  for (std::size_t n = 0; n < std::min<std::size_t>(size, 64); ++n) {
    const auto part = decode_first_packet(all.first(n));
    test::require(
        part.packet.index() == whole.packet.index() || std::holds_alternative<NeedMore>(part.packet),
        "a prefix says the same or needs more");
  }
  if (std::holds_alternative<NeedMore>(whole.packet)) {
    test::require(size < kMaxStartupPacket + 4, "need for more is bounded");
  }
  if (const auto* m = std::get_if<StartupMessage>(&whole.packet)) {
    test::require(!m->user.empty() && m->user.size() <= 63 && m->database.size() <= 63,
                  "names are in bounds");
    test::require(m->protocol <= m->asked && m->protocol >> 16 == 3, "never newer than asked");
    round_trip(*m);
  }
  const auto options = parse_options(as_text(all));
  if (const auto* bad = std::get_if<OptionsError>(&options)) test::require(bad->text.size() <= 64, "short");
  return 0;
}
