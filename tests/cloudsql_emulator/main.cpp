// tests/cloudsql_emulator/main.cpp -- starts everything, says "ready", waits for SIGTERM.
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <string>

#include "tests/cloudsql_emulator/control.h"
#include "tests/cloudsql_emulator/http_server.h"
#include "tests/cloudsql_emulator/options.h"
#include "tests/cloudsql_emulator/router.h"

namespace sidepool::emulator {
namespace {

constexpr std::int64_t kForever = INT64_MAX;

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status write_private_file(const std::string& path, const std::string& text) {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return fail(Errc::Io, "cannot write " + path);
  bool ok = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(fd);
  if (!ok) return fail(Errc::Io, "cannot write " + path);
  return {};
}

void register_principals(const Options& options, Principals& principals) {
  if (!options.principal.empty()) principals.set_attached(options.principal);
  for (const std::string& user : options.users) principals.add(user);
  for (const auto& [token, principal] : options.tokens) {
    principals.add_static_token(token, Token{principal, {kPlatformScope}, kForever});
  }
}

Status run(const Options& options, const sigset_t& stop_signals) {
  auto password = Upstream::parse(options.postgres);
  if (!password) return tl::unexpected<Error>(password.error());
  auto trust = Upstream::parse(options.postgres_trust.empty() ? options.postgres : options.postgres_trust);
  if (!trust) return tl::unexpected<Error>(trust.error());

  Principals principals;
  Instances instances;
  Faults faults;
  Recorder recorder;
  register_principals(options, principals);
  for (const auto& [name, settings] : options.instances) {
    if (Status status = instances.put(name, settings); !status) return status;
  }
  SideProxy side(SideServices{principals, instances, recorder, *password, *trust}, options.side_port);
  if (Status status = side.sync(); !status) return status;
  Control control(principals, instances, faults, recorder, side);
  Router router(principals, instances, faults, recorder, control);
  auto http = HttpServer::listen(options.api_address, options.api_port,
                                 [&router](const Request& request) { return router.handle(request); });
  if (!http) return tl::unexpected<Error>(http.error());
  std::string url = "http://" + options.api_address + ":" + std::to_string((*http)->port());
  for (const auto& [email, path] : options.service_accounts) {
    Json file = credentials_file(email, principals.add_service_account_key(email), url + "/token");
    if (Status status = write_private_file(path, file.dump()); !status) return status;
  }
  std::printf("ready api=%s\n", url.c_str());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&stop_signals, &signal);
  faults.stop();
  recorder.stop();
  return {};
}

int start(int argc, const char* const* argv) {
  auto options = parse_options(argc, argv);
  if (!options) {
    std::fprintf(stderr, "cloudsql-emulator: %s\n", options.error().what.c_str());
    return 1;
  }
  if (options->show_help) {
    std::fputs(options->help.c_str(), stdout);
    return 0;
  }
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  // Blocked before any thread exists, so that only sigwait() sees them.
  sigset_t stop_signals;
  sigemptyset(&stop_signals);
  sigaddset(&stop_signals, SIGTERM);
  sigaddset(&stop_signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &stop_signals, nullptr);
  if (Status status = run(*options, stop_signals); !status) {
    std::fprintf(stderr, "cloudsql-emulator: %s\n", status.error().what.c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sidepool::emulator

int main(int argc, char** argv) { return sidepool::emulator::start(argc, argv); }
