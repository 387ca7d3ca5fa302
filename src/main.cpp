// src/main.cpp -- arguments in, exit code out.
#include <unistd.h>

#include <cstdio>
#include <variant>

#include "src/app/app.h"
#include "src/base/limits.h"
#include "src/base/log.h"
#include "src/check/check.h"
#include "src/cli/parse.h"
#include "src/cloudsql/command.h"
#include "src/commands/commands.h"
#include "src/io/listener.h"

namespace {

int finish(const sidepool::commands::Ending& ending) {
  if (!ending.error.empty()) std::fprintf(stderr, "Error: %s\n", ending.error.c_str());
  return ending.code;
}

void tell(const sidepool::Error& error) {
  const auto text = "The proxy has encountered a terminal error: " + error.what;
  const bool listener = error.reason == "in_use" || error.reason == "listen" || error.reason == "directory";
  const auto remedy = listener ? sidepool::io::listen_remedy(error.sys) : std::string_view{};
  if (remedy.empty()) return sidepool::log::error(text);
  sidepool::log::error(text, {{"remedy", remedy}});
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sidepool;
  hold_signals();
  open_standard_streams();
  const auto inputs = cli::process_inputs(cli::Files::MayBePipes);
  auto outcome = cli::parse(argc, argv, inputs);
  auto* run = std::get_if<cli::RunConfig>(&outcome);
  if (!run || run->check) release_signals();  // App has handlers for them
  if (const auto* print = std::get_if<cli::PrintAndExit>(&outcome)) {
    std::fputs(print->text.c_str(), stdout);
    return print->code;
  }
  if (const auto* failure = std::get_if<cli::Failure>(&outcome)) {
    std::fputs(failure->text().c_str(), stderr);
    return failure->code;
  }
  if (const auto* wait = std::get_if<cli::Wait>(&outcome)) return finish(commands::wait(*wait));
  if (const auto* shutdown = std::get_if<cli::Shutdown>(&outcome))
    return finish(commands::shutdown(*shutdown));
  if (run->check) {
    ignore_sigpipe();
    for (const auto& note : run->notes) std::fprintf(stderr, "%s\n", note.text.c_str());
    return check::run(run->config, inputs.environment, [](std::string_view line) {
      std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
      std::fflush(stdout);
    });
  }
  // What a reload reads again must not keep the control loop waiting.
  app::App app(std::move(*run), cli::process_inputs(cli::Files::Regular));
  if (auto started = app.start(); !started) {
    tell(started.error());
    cloudsql::end_commands();
    log::stop();
    ::_exit(1);  // threads of ours may still be about to start; nothing is served yet
  }
  return app.run();
}
