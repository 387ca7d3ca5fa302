// bench/load/options.h -- the command line of the load client.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sidepool::bench {

enum class Workload : std::uint8_t { Select, Result, CopyOut, CopyIn };
// How a Select is sent. Pipeline: `batch` of them, prepared, and one Sync.
enum class Mode : std::uint8_t { Simple, Extended, Prepared, Pipeline };

struct Options {
  // Connection strings, which the clients use in turn; libpq's environment gives the rest.
  std::vector<std::string> databases{""};
  Workload workload = Workload::Select;
  Mode mode = Mode::Simple;
  std::size_t clients = 1;
  std::size_t slow_readers = 0;
  unsigned batch = 10;
  std::uint64_t bytes = 10'000'000;  // of one result or COPY
  double rate = 0;  // requests a second of all clients together; 0: as fast as they are answered
  std::chrono::duration<double> warm_up{0.3}, window{2};
  std::int64_t rows = 100'000;  // of pgbench_accounts
};

// Exits by itself on --help and mistakes.
Options parse_options(int argc, char** argv);

}  // namespace sidepool::bench
