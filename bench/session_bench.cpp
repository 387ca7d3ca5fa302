// bench/session_bench.cpp -- one transaction through the session machine, without sockets: from the request
// to the released server, with the answer of a SELECT of one row.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string>

#include "pool/session.h"
#include "protocol/encode.h"

namespace sidepool::pool {
namespace {

using protocol::Buffer;

constexpr std::string_view kSelect = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";

Settings reported() {
  auto settings = std::make_shared<SettingSet>();
  for (const auto& [name, value] : std::initializer_list<std::pair<std::string, std::string>>{
           {"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"}, {"TimeZone", "UTC"}})
    settings->set(name, value);
  return settings;
}

// How the answer to a SELECT of one row ends.
void one_row(Buffer& out) {
  static constexpr std::array<std::uint8_t, 12> kRow{'D', 0, 0, 0, 11, 0, 1, 0, 0, 0, 1, '0'};
  out.insert(out.end(), kRow.begin(), kRow.end());
  protocol::command_complete(out, "SELECT 1");
  protocol::ready_for_query(out, protocol::TxStatus::Idle);
}

// One client and one server, which it gets whenever it asks.
class Pair {
 public:
  explicit Pair(Isolation isolation) : options_{.isolation = isolation} {
    server_.base = reported();
    server_.backend_pid = 4711;
    session_.begin(nullptr, Settings{}, actions_);
  }

  // Whether the server was released at the end.
  bool transaction(Bytes request, Bytes answer) {
    while (!request.empty()) {
      actions_.clear();
      session_.on_client(request, actions_);
      if (!carry_out()) break;
    }
    while (!answer.empty() && held_) {
      actions_.clear();
      session_.on_server(answer, actions_);
      if (!carry_out()) break;
    }
    return !held_;
  }
  std::size_t written() const noexcept { return written_; }

 private:
  // False: there was nothing to do.
  bool carry_out() {
    bool acquire = false;
    for (std::size_t i = 0; i < actions_.size(); ++i) {
      const Action action = actions_[i];
      written_ += action.bytes.size();
      acquire |= action.what == Do::AcquireServer;
      if (action.what == Do::ReleaseServer) held_ = false;
    }
    const bool any = !actions_.empty();
    if (acquire) {
      held_ = true;
      actions_.clear();
      session_.on_granted(server_, actions_);
      carry_out();
    }
    return any;
  }

  SessionOptions options_;
  StatementStore store_{"0123456789abcdef", WorkerId{0}, 1U << 26};
  ServerState server_;
  Actions actions_;
  Session session_{SessionId{WorkerId{0}, 1, 1}, options_, store_, reported()};
  bool held_ = false;
  std::size_t written_ = 0;
};

void run(benchmark::State& state, Pair& pair, const Buffer& request, const Buffer& answer) {
  for (auto _ : state) {
    if (!pair.transaction(request, answer)) {
      state.SkipWithError("the server was not released");
      break;
    }
  }
  benchmark::DoNotOptimize(pair.written());
}

void BM_Simple(benchmark::State& state) {
  Buffer request, answer;
  protocol::query(request, "SELECT abalance FROM pgbench_accounts WHERE aid = 4711");
  one_row(answer);
  Pair pair(Isolation::Reset);
  run(state, pair, request, answer);
}
BENCHMARK(BM_Simple);

// Parse, Bind, Execute, Sync of the unnamed statement.
void BM_Extended(benchmark::State& state) {
  const std::array<std::string_view, 1> values{"4711"};
  Buffer request, answer;
  protocol::parse(request, "", kSelect, {});
  protocol::bind_text(request, "", "", values);
  protocol::execute(request, "", 0);
  protocol::sync(request);
  protocol::parse_complete(answer);
  protocol::bind_complete(answer);
  one_row(answer);
  Pair pair(Isolation::Reset);
  run(state, pair, request, answer);
}
BENCHMARK(BM_Extended);

// Bind, Execute, Sync of a named one that the server has.
void BM_Prepared(benchmark::State& state) {
  const std::array<std::string_view, 1> values{"4711"};
  Buffer preparing, prepared, request, answer;
  protocol::parse(preparing, "P_1", kSelect, {});
  protocol::sync(preparing);
  protocol::parse_complete(prepared);
  protocol::ready_for_query(prepared, protocol::TxStatus::Idle);
  protocol::bind_text(request, "", "P_1", values);
  protocol::execute(request, "", 0);
  protocol::sync(request);
  protocol::bind_complete(answer);
  one_row(answer);
  Pair pair(Isolation::Reset);
  if (!pair.transaction(preparing, prepared)) state.SkipWithError("it could not be prepared");
  run(state, pair, request, answer);
}
BENCHMARK(BM_Prepared);

}  // namespace
}  // namespace sidepool::pool

BENCHMARK_MAIN();
