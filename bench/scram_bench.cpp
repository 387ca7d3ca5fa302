// bench/scram_bench.cpp -- what a password costs: the derivation, and an exchange whose keys are known.
#include <benchmark/benchmark.h>

#include <string>

#include "protocol/scram.h"

namespace sidepool::protocol {
namespace {

const Buffer salt(16, 0x5a);
const std::string password = "a password of usual length";

// PBKDF2; the argument: iterations.
void BM_Derive(benchmark::State& state) {
  for (auto _ : state)
    benchmark::DoNotOptimize(derive(password, salt, static_cast<std::uint32_t>(state.range(0))));
}
BENCHMARK(BM_Derive)->Arg(4096);

// Both sides of a login.
void BM_Exchange(benchmark::State& state) {
  const auto keys = derive(password, salt, 4096);
  const auto verifier = make_verifier(*keys);
  for (auto _ : state) {
    ScramClient client("rOprNGfwEbeRWgbNEkqO");
    ScramServer server(*verifier, "3rfcNHYJY1ZVvWVs7j");
    const auto first = server.challenge(as_bytes(client.first()));
    const auto challenge = client.challenge(as_bytes(*first));
    const auto final = client.final(*keys);
    if (!challenge || server.finish(as_bytes(*final)) != ScramServer::Result::Ok ||
        !client.verify(as_bytes(server.final_message())))
      state.SkipWithError("the exchange failed");
  }
}
BENCHMARK(BM_Exchange);

}  // namespace
}  // namespace sidepool::protocol

BENCHMARK_MAIN();
