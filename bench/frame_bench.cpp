// bench/frame_bench.cpp -- cutting a stream into messages: short rows, long rows, the answer to one SELECT.
#include <benchmark/benchmark.h>

#include <string>

#include "protocol/encode.h"
#include "protocol/frame.h"

namespace sidepool::protocol {
namespace {

constexpr std::size_t kRead = 65536;  // bytes that a read gives

void row(Buffer& out, std::size_t width) {
  const auto size = static_cast<std::uint32_t>(4 + 2 + 4 + width);
  const auto add = [&out](std::uint32_t value, int bytes) {
    while (bytes-- > 0) out.push_back(static_cast<std::uint8_t>(value >> (8 * bytes)));
  };
  out.push_back('D');
  add(size, 4);
  add(1, 2);
  add(static_cast<std::uint32_t>(width), 4);
  out.insert(out.end(), width, 'x');
}

void walk(benchmark::State& state, const Buffer& stream) {
  Framer framer((1U << 30) - 1);
  std::int64_t messages = 0;
  for (auto _ : state) {
    Bytes in(stream);
    while (const auto slice = framer.next(in)) messages += slice->last ? 1 : 0;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
  state.SetItemsProcessed(messages);
}

// A read full of rows; the argument: bytes of a value.
void BM_Rows(benchmark::State& state) {
  Buffer stream;
  while (stream.size() < kRead) row(stream, static_cast<std::size_t>(state.range(0)));
  walk(state, stream);
}
BENCHMARK(BM_Rows)->Arg(4)->Arg(100)->Arg(10'000);

void BM_Answer(benchmark::State& state) {
  Buffer stream;
  parse_complete(stream);
  bind_complete(stream);
  row(stream, 8);
  command_complete(stream, "SELECT 1");
  ready_for_query(stream, TxStatus::Idle);
  walk(state, stream);
}
BENCHMARK(BM_Answer);

}  // namespace
}  // namespace sidepool::protocol

BENCHMARK_MAIN();
