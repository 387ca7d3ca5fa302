// bench/statements_bench.cpp -- looking up prepared statements; the argument: how many there are.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "pool/statements.h"

namespace sidepool::pool {
namespace {

struct Prepared {
  explicit Prepared(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      tails.push_back("SELECT abalance FROM pgbench_accounts WHERE aid = $1 AND " + std::to_string(i) +
                      " = $2");
      tails.back() += std::string(1 + 2, '\0');
      statements.push_back(store.intern({}, protocol::as_bytes(tails.back()), nullptr, {}));
      names.push_back("P_" + std::to_string(i));
      client.add(names.back(), statements.back(), 1);
      server.add(statements.back()->id, 1);
    }
  }
  StatementStore store{"0123456789abcdef", WorkerId{0}, 1U << 30};
  std::vector<std::string> tails, names;
  std::vector<StatementRef> statements;
  ClientStatements client;
  ServerStatements server;
};

// A client prepares what others have prepared.
void BM_Intern(benchmark::State& state) {
  Prepared prepared(state.range(0));
  std::size_t i = 0;
  for (auto _ : state)
    benchmark::DoNotOptimize(prepared.store.intern(
        {}, protocol::as_bytes(prepared.tails[++i % prepared.tails.size()]), nullptr, {}));
}
BENCHMARK(BM_Intern)->Arg(10)->Arg(1000);

// A Bind: the client's name, then what the server has of it, then the server's name.
void BM_Bind(benchmark::State& state) {
  Prepared prepared(state.range(0));
  std::size_t i = 0;
  for (auto _ : state) {
    const auto* entry = prepared.client.find(prepared.names[++i % prepared.names.size()]);
    const Statement& statement = *entry->statement;
    if (prepared.server.look_up(statement.id, 1) != ServerStatements::Has::Yes)
      state.SkipWithError("the server has lost it");
    benchmark::DoNotOptimize(prepared.store.name_of(statement.id));
  }
}
BENCHMARK(BM_Bind)->Arg(10)->Arg(200);

}  // namespace
}  // namespace sidepool::pool

BENCHMARK_MAIN();
