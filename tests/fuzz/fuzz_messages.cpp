// Every body decoder: views stay inside the body, and what our own encoder writes of them reads the same.
#include <cstdint>
#include <vector>

#include "protocol/encode.h"
#include "protocol/messages.h"
#include "tests/fuzz/require.h"

using namespace sidepool;
using namespace sidepool::protocol;

namespace {

Bytes g_body;

void inside(Bytes part) {
  if (part.empty()) return;
  test::require(part.data() >= g_body.data() && part.data() + part.size() <= g_body.data() + g_body.size(),
                "a view borrows from its body");
}
void inside(std::string_view part) { inside(as_bytes(part)); }

void same(const Buffer& message) {
  const auto body = Bytes{message}.subspan(5);
  test::require(std::equal(body.begin(), body.end(), g_body.begin(), g_body.end()),
                "written again it is the same");
}

void parse_and_bind() {
  Buffer out;
  if (const auto v = ParseView::decode(g_body)) {
    inside(v->name), inside(v->query), inside(v->types);
    std::vector<std::uint32_t> types;
    for (std::size_t i = 0; i < v->types.size(); i += 4) types.push_back(load_be32(v->types.data() + i));
    parse(out, v->name, v->query, types);
    same(out);
  }
  if (const auto v = BindHead::decode(g_body)) {
    inside(v->portal), inside(v->statement);
    test::require(v->size <= g_body.size(), "the head is inside");
  }
}

void small_ones() {
  Buffer out;
  if (const auto v = TargetView::decode(g_body)) describe(out, v->kind, v->name), same(out);
  out.clear();
  if (const auto v = ParameterStatusView::decode(g_body)) parameter_status(out, v->name, v->value), same(out);
  out.clear();
  if (const auto v = BackendKeyDataView::decode(g_body)) backend_key_data(out, v->pid, v->key), same(out);
  out.clear();
  if (const auto v = decode_command_tag(g_body)) command_complete(out, *v), same(out);
  out.clear();
  if (const auto v = decode_ready_for_query(g_body)) ready_for_query(out, *v), same(out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  g_body = {data, size};
  parse_and_bind();
  small_ones();
  if (const auto v = ErrorView::decode(g_body)) {
    for (const auto field : {v->severity, v->code, v->message, v->detail, v->hint}) inside(field);
    Buffer out;
    error_response(out, {v->severity, v->code, v->message, v->detail, v->hint});
    const auto again = ErrorView::decode(Bytes{out}.subspan(5));
    test::require(again && again->severity == v->severity && again->code == v->code &&
                      again->message == v->message && again->detail == v->detail && again->hint == v->hint &&
                      again->fatal() == v->fatal(),
                  "the same is read again");
  }
  return 0;
}
