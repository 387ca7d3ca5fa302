// bench/load/main.cpp -- the load client of the bench; see load.h and --help.
//
// stdout: "begin" and "end" when the window opens and closes, so that the runner reads the CPU time of what
// it measures at these moments; then one line of JSON. Anything that a server refuses ends it with 1 and the
// reason on stderr.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "bench/load/load.h"

namespace {

using namespace sidepool::bench;

void tell(const char* line) {
  std::puts(line);
  std::fflush(stdout);
}

nlohmann::json to_json(const Report& report) {
  const auto us = [](std::uint64_t ns) { return static_cast<double>(ns) / 1000; };
  const Histogram& all = report.latencies;
  return {{"seconds", report.seconds},
          {"requests", all.count()},
          {"bytes", report.bytes},
          {"slow_bytes", report.slow_bytes},
          {"served", {{"least", report.least_served}, {"most", report.most_served}}},
          {"latency_us",
           {{"mean", all.mean() / 1000},
            {"p50", us(all.quantile(0.5))},
            {"p99", us(all.quantile(0.99))},
            {"p99.9", us(all.quantile(0.999))},
            {"longest", us(static_cast<std::uint64_t>(report.longest.count()))}}}};
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse_options(argc, argv);
  Load load(options);
  const Report report = load.run([] { tell("begin"); }, [] { tell("end"); });
  tell(to_json(report).dump().c_str());
} catch (const std::exception& error) {
  std::fprintf(stderr, "load_client: %s\n", error.what());
  return 1;
}
