// src/base/limits.cpp -- setrlimit and sigaction.
#include "src/base/limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace sidepool {

namespace {
std::uint64_t number(rlim_t v) noexcept {
  return v == RLIM_INFINITY ? UINT64_MAX : static_cast<std::uint64_t>(v);
}

constexpr std::array<int, 2> kEnd{SIGTERM, SIGINT};

void mask_signals(int how, bool hangup = true) noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : kEnd) ::sigaddset(&set, signal);
  if (hangup) ::sigaddset(&set, SIGHUP);
  ::pthread_sigmask(how, &set, nullptr);
}

void handle_end(void (*handler)(int)) noexcept {
  struct sigaction action {};
  action.sa_handler = handler;
  for (const int signal : kEnd) ::sigaction(signal, &action, nullptr);
}
}  // namespace

Result<OpenFiles> raise_open_files() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return fail(Errc::Limit, std::string("cannot read the limit on open files: ") + std::strerror(errno),
                errno);
  const auto before = number(limit.rlim_cur);
  if (limit.rlim_cur == limit.rlim_max) return OpenFiles{before, before};
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return fail(Errc::Limit, std::string("cannot raise the limit on open files: ") + std::strerror(errno),
                errno);
  return OpenFiles{before, number(limit.rlim_cur)};
}

void hold_signals() noexcept { mask_signals(SIG_BLOCK); }
void release_signals() noexcept { mask_signals(SIG_UNBLOCK); }

EndOnSignals::EndOnSignals() noexcept {
  handle_end([](int number) { ::_exit(128 + number); });
  mask_signals(SIG_UNBLOCK, false);
}
EndOnSignals::~EndOnSignals() {
  mask_signals(SIG_BLOCK, false);
  handle_end(SIG_DFL);
}

void open_standard_streams() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) != 0 && errno == EBADF) (void)!::open("/dev/null", O_RDWR);  // gets this number
  }
}

void ignore_sigpipe() noexcept {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, nullptr);
}

}  // namespace sidepool
