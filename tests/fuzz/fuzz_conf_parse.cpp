// The configuration file: any text is read or refused, and what is accepted prints as text that reads the
// same.
#include <cstdint>
#include <string_view>

#include "conf/address.h"
#include "conf/diff.h"
#include "conf/print.h"
#include "conf/read.h"
#include "conf/units.h"
#include "conf/validate.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::conf;

namespace {

ResolvedSecret resolve(const SecretSource& source) { return {Secret(source.name), {}}; }

bool one_line(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return false;
  }
  return true;
}

// Completed and free of contradictions.
bool accepted(Draft& draft) {
  for (const Diagnostic& diagnostic : draft.diagnostics) {
    test::require(one_line(diagnostic.what), "a diagnostic is one printable line");
    test::require(diagnostic.file == "f", "a diagnostic of a file names it");
  }
  if (!draft.diagnostics.empty()) return false;
  complete(draft.config);
  const auto broken = validate(draft.config, draft.places);
  for (const Diagnostic& diagnostic : broken)
    test::require(one_line(diagnostic.what), "a broken rule is one line");
  return broken.empty();
}

// The small parsers by themselves: what they accept, they print as something they accept.
void values(std::string_view text) {
  if (const auto duration = parse_duration(text)) {
    test::require(parse_duration(format_duration(*duration)) == *duration, "a duration reads back");
  }
  if (const auto size = parse_size(text))
    test::require(parse_size(format_size(*size)) == *size, "a size reads back");
  if (const auto read = parse_address(text, false); const auto* address = std::get_if<Address>(&read)) {
    test::require(std::get<Address>(parse_address(to_string(*address), false)) == *address,
                  "an address reads back");
  }
  if (const auto read = parse_host(text); const auto* host = std::get_if<Host>(&read)) {
    test::require(std::get<Host>(parse_host(to_string(*host))) == *host, "a host reads back");
  }
  (void)refuse_instance(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  values(text);
  Draft draft = read_config(text, "f", resolve);
  if (!accepted(draft)) return 0;
  const std::string printed = print_config(draft.config);
  Draft again = read_config(printed, "f", resolve);
  test::require(accepted(again), "what is printed is accepted");
  test::require(print_config(again.config) == printed, "what is printed reads back");
  const ReloadPlan plan = plan_reload(draft.config, again.config);
  for (const Change& change : plan.changes) {
    const bool masked = change.from == change.to || change.key.rfind("user ", 0) == 0;
    test::require(masked, "nothing but secrets differs");
  }
  return 0;
}
