// bench/load/options.cpp -- see options.h
#include "bench/load/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <map>

namespace sidepool::bench {

Options parse_options(int argc, char** argv) {
  const std::map<std::string, Workload> workloads{{"select", Workload::Select},
                                                  {"result", Workload::Result},
                                                  {"copy-out", Workload::CopyOut},
                                                  {"copy-in", Workload::CopyIn}};
  const std::map<std::string, Mode> modes{{"simple", Mode::Simple},
                                          {"extended", Mode::Extended},
                                          {"prepared", Mode::Prepared},
                                          {"pipeline", Mode::Pipeline}};
  Options options;
  double warm_up = options.warm_up.count(), window = options.window.count();
  CLI::App app{"a PostgreSQL load for a fixed time; prints \"begin\" and \"end\" of the window, then JSON"};
  app.add_option("--database", options.databases,
                 "connection string beside libpq's environment; repeatable, used in turn");
  app.add_option("--workload", options.workload)->transform(CLI::CheckedTransformer(workloads));
  app.add_option("--mode", options.mode, "how a select is sent")->transform(CLI::CheckedTransformer(modes));
  app.add_option("--clients", options.clients)->check(CLI::Range(1, 100'000));
  app.add_option("--slow-readers", options.slow_readers,
                 "further clients that read a result of --bytes slowly");
  app.add_option("--batch", options.batch, "statements of a pipeline")->check(CLI::Range(1, 1000));
  app.add_option("--bytes", options.bytes, "of one result or COPY");
  app.add_option("--rate", options.rate, "requests a second of all clients, at fixed times; 0: closed loop");
  app.add_option("--warm-up", warm_up, "seconds before the window")->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", window, "the window")->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows, "of pgbench_accounts")->check(CLI::PositiveNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
  options.warm_up = std::chrono::duration<double>(warm_up);
  options.window = std::chrono::duration<double>(window);
  return options;
}

}  // namespace sidepool::bench
