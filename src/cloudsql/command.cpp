// cloudsql/command.cpp -- see the header.
#include "src/cloudsql/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string_view>
#include <utility>

#include "src/io/fd.h"

namespace sidepool::cloudsql {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxOut = 1 << 20;
constexpr std::size_t kMaxErr = 16 << 10;
constexpr std::chrono::milliseconds kLook{200};  // how often `stopping` and an exit without EOF are noticed

struct Pipe {
  io::Fd read;
  io::Fd write;
  bool open() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read.reset(ends[0]);
    write.reset(ends[1]);
    return ::fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
  }
};

// What posix_spawn is told, freed in any case.
struct SpawnPlan {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> out;
  const auto name = [](std::string_view line) { return line.substr(0, line.find('=')); };
  for (char** entry = environ; entry && *entry; ++entry) {
    const bool replaced = std::any_of(more.begin(), more.end(),
                                      [&](const std::string& line) { return name(line) == name(*entry); });
    if (!replaced) out.emplace_back(*entry);
  }
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

// The process groups of this process's commands.
struct Groups {
  std::mutex mutex;  // guards what follows
  std::vector<pid_t> running;
  bool ended = false;
};
Groups& groups() {
  static Groups all;
  return all;
}

// 0, or errno.
int spawn(const Command& command, int out, int err, pid_t& pid) {
  const std::lock_guard lock{groups().mutex};
  if (groups().ended) return ECANCELED;
  SpawnPlan plan;
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&plan.actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&plan.actions, err, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, STDERR_FILENO + 1);
  posix_spawnattr_setpgroup(&plan.attributes, 0);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  posix_spawnattr_setflags(&plan.attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> environment = environment_with(command.env);
  const int code = ::posix_spawn(&pid, command.argv[0].c_str(), &plan.actions, &plan.attributes,
                                 pointers(command.argv).data(), pointers(environment).data());
  for (std::string& line : environment) wipe(line);
  if (code == 0) groups().running.push_back(pid);
  return code;
}

// A running program. Its end is seen before it is reaped, so that its number still is its group's when the
// group is killed.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}  // which groups() knows
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { static_cast<void>(end()); }

  // True also if somebody made the kernel forget children (SIGCHLD ignored by who started us).
  bool exited() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
           info.si_pid == pid_;
  }
  // Kills the group and reaps; the exit code.
  int end() {
    if (pid_ < 0) return 0;
    ::kill(-pid_, SIGKILL);
    {
      const std::lock_guard lock{groups().mutex};
      std::erase(groups().running, pid_);
    }
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0)
      if (errno != EINTR) {
        status = 0;
        break;
      }
    pid_ = -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }

 private:
  pid_t pid_;
};

enum class ReadEnd : unsigned char { More, Closed, TooMuch };

// Takes what there is. Beyond `most` it is an error or, if `keep_first`, thrown away.
ReadEnd drain(int fd, std::string& into, std::size_t most, bool keep_first) {
  std::array<char, 4096> chunk{};
  ReadEnd end = ReadEnd::More;
  for (;;) {
    const ssize_t n = ::read(fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0 || errno != EAGAIN) end = ReadEnd::Closed;
      break;
    }
    const std::size_t room = most - into.size();
    into.append(chunk.data(), std::min(room, static_cast<std::size_t>(n)));
    if (static_cast<std::size_t>(n) > room && !keep_first) {
      end = ReadEnd::TooMuch;
      break;
    }
  }
  OPENSSL_cleanse(chunk.data(), chunk.size());
  return end;
}

struct Trouble {
  Errc code;
  const char* what;
  const char* reason;
};

// Reads both pipes until the program has ended or must be ended; nullptr: it ended by itself.
const Trouble* follow(const Child& child, const Pipe& out, const Pipe& err, const Command& command,
                      const std::atomic<bool>& stopping, std::string& out_text, std::string& err_text) {
  static constexpr Trouble kStopping{Errc::Io, " was ended because sidepool is stopping", "stopped"};
  static constexpr Trouble kTime{Errc::Timeout, " took too long and was killed", "timeout"};
  static constexpr Trouble kTooMuch{Errc::Io, " printed more than 1 MiB", "too_large"};
  const auto deadline = Clock::now() + command.timeout;
  std::array<pollfd, 2> fds{{{out.read.get(), POLLIN, 0}, {err.read.get(), POLLIN, 0}}};
  for (;;) {
    // Looked at before the pipes: what it printed before it ended is then read below.
    const bool exited = child.exited();
    if (fds[0].fd >= 0) {
      const ReadEnd end = drain(fds[0].fd, out_text, kMaxOut, false);
      if (end == ReadEnd::TooMuch) return &kTooMuch;
      if (end == ReadEnd::Closed) fds[0].fd = -1;
    }
    if (fds[1].fd >= 0 && drain(fds[1].fd, err_text, kMaxErr, true) == ReadEnd::Closed) fds[1].fd = -1;
    if (exited) return nullptr;  // a child of its own may hold the pipes: not waited for
    if (stopping.load(std::memory_order_relaxed)) return &kStopping;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return &kTime;
    // Once both pipes are closed the exit follows at once, and nothing else tells of it.
    const bool closed = fds[0].fd < 0 && fds[1].fd < 0;
    const auto wait = std::min(left, closed ? std::chrono::milliseconds{5} : kLook);
    ::poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
  }
}

}  // namespace

Result<CommandOutput> run_command(const Command& command, const std::atomic<bool>& stopping) {
  if (command.argv.empty()) return fail(Errc::Config, "there is no command", 0, "command");
  Pipe out;
  Pipe err;
  pid_t pid = -1;
  const int code = !out.open() || !err.open() ? errno : spawn(command, out.write.get(), err.write.get(), pid);
  if (code != 0)
    return fail(Errc::Config, command.argv[0] + " could not be started: " + std::strerror(code), code,
                "command");
  Child child{pid};
  out.write.reset();
  err.write.reset();
  std::string text;
  text.reserve(kMaxOut);  // so that no copy is left behind by growing
  CommandOutput output;
  const Trouble* trouble = follow(child, out, err, command, stopping, text, output.err_text);
  output.exit_code = child.end();
  output.out = SecretText{std::move(text)};
  if (trouble) return fail(trouble->code, command.argv[0] + trouble->what, 0, trouble->reason);
  return output;
}

void end_commands() noexcept {
  const std::lock_guard lock{groups().mutex};
  groups().ended = true;
  for (const pid_t group : groups().running) ::kill(-group, SIGKILL);
}

std::string find_program(const std::string& name, const std::string& path) {
  const auto runs = [](const std::string& file) {
    struct stat s {};
    return ::stat(file.c_str(), &s) == 0 && S_ISREG(s.st_mode) && ::access(file.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos) return runs(name) ? name : std::string{};
  std::string_view rest = path;
  while (!rest.empty() && !name.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    if (!folder.starts_with('/')) continue;
    std::string file = std::string{folder} + '/' + name;
    if (runs(file)) return file;
  }
  return {};
}

}  // namespace sidepool::cloudsql
