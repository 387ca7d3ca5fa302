// src/base/log.cpp -- the way of a line to its descriptor; the only file that includes spdlog.
#include "src/base/log.h"

#include <poll.h>
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>

namespace sidepool::log {

namespace {

std::atomic<Level> g_level{Level::Info};
std::atomic<std::uint64_t> g_dropped{0};
std::atomic<bool> g_json{false};
// Set between start() and stop(); the writing thread gives up on a full pipe once it is past.
std::atomic<std::int64_t> g_give_up_at{0};

bool past_give_up() noexcept {
  const auto at = g_give_up_at.load(std::memory_order_relaxed);
  return at != 0 && steady_now().time_since_epoch().count() >= at;
}

// Waits for a reader in short steps, so that stop() is heard. False: the line cannot be written.
bool wait_writable(int fd) noexcept {
  for (;;) {
    if (past_give_up()) return false;
    pollfd p{fd, POLLOUT, 0};
    const int rc = ::poll(&p, 1, 50);
    if (rc > 0) return (p.revents & (POLLERR | POLLNVAL)) == 0;
    if (rc < 0 && errno != EINTR) return false;
  }
}

// A pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7)), so no write is larger than
// that.
bool write_line(int fd, std::string_view line, bool may_wait) noexcept {
  constexpr std::size_t kStep = 4096;
  while (!line.empty()) {
    if (may_wait && !wait_writable(fd)) return false;
    const auto n = ::write(fd, line.data(), std::min(line.size(), kStep));
    if (n > 0) {
      line.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

// Gets finished lines; the spdlog level only chooses the descriptor.
class FdSink final : public spdlog::sinks::sink {
 public:
  FdSink(int out, int err) : out_(out), err_(err) {}
  void log(const spdlog::details::log_msg& msg) override {
    const int fd = msg.level >= spdlog::level::warn ? err_ : out_;
    if (!write_line(fd, {msg.payload.data(), msg.payload.size()}, true))
      g_dropped.fetch_add(1, std::memory_order_relaxed);
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  const int out_, err_;
};

struct Writer {
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
};
std::atomic<Writer*> g_writer{nullptr};
// Threads that may hold what g_writer pointed to. Counted before the pointer is read, so that stop(), which
// takes the pointer away first, sees everybody who can still have it (both sequentially consistent).
std::atomic<std::uint32_t> g_users{0};

class Use {
 public:
  Use() noexcept { g_users.fetch_add(1); }
  ~Use() { g_users.fetch_sub(1); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
};

// False: somebody is still at it.
bool wait_for_users() noexcept {
  while (g_users.load() != 0) {
    if (past_give_up()) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

spdlog::level::level_enum spdlog_level(Level level) noexcept {
  return level >= Level::Warn ? spdlog::level::warn : spdlog::level::info;
}

}  // namespace

void start(const Options& options) {
  stop();
  g_level.store(options.level, std::memory_order_relaxed);
  g_json.store(options.json, std::memory_order_relaxed);
  g_give_up_at.store(0, std::memory_order_relaxed);
  auto writer = std::make_unique<Writer>();
  writer->pool = std::make_shared<spdlog::details::thread_pool>(options.queue_lines, 1);
  writer->logger = std::make_shared<spdlog::async_logger>(
      "sidepool", std::make_shared<FdSink>(options.out_fd, options.err_fd), writer->pool,
      spdlog::async_overflow_policy::overrun_oldest);
  writer->logger->set_level(spdlog::level::trace);
  g_writer.store(writer.release());
}

void stop(std::chrono::milliseconds patience) {
  std::unique_ptr<Writer> writer(g_writer.exchange(nullptr));
  if (!writer) return;
  // The pool's destructor lets its thread write what is queued and joins it; the thread hears the deadline.
  g_give_up_at.store((steady_now() + patience).time_since_epoch().count(), std::memory_order_relaxed);
  if (!wait_for_users()) return (void)writer.release();  // rather lost than taken from under its user
  const auto overrun = writer->pool->overrun_counter();
  // The logger last: queued lines hold it, and with the thread joined nobody else does any more.
  writer->pool.reset();
  writer->logger.reset();
  g_dropped.fetch_add(overrun, std::memory_order_relaxed);
}

void set_level(Level level) noexcept { g_level.store(level, std::memory_order_relaxed); }

bool enabled(Level level) noexcept { return level >= g_level.load(std::memory_order_relaxed); }

std::uint64_t dropped() noexcept {
  const Use use;
  const Writer* w = g_writer.load();
  return g_dropped.load(std::memory_order_relaxed) + (w ? w->pool->overrun_counter() : 0);
}

void write(Level level, std::string_view message, Fields fields) {
  if (!enabled(level)) return;
  const std::span<const Field> all(fields.begin(), fields.size());
  std::string line = g_json.load(std::memory_order_relaxed) ? render_json(wall_now(), level, message, all)
                                                            : render_plain(wall_now(), message, all);
  line += '\n';
  const Use use;
  if (const Writer* w = g_writer.load()) {
    // spdlog catches what its own code throws; a line that cannot be queued is lost and nothing else.
    w->logger->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
  } else if (!write_line(level >= Level::Warn ? 2 : 1, line, false)) {
    g_dropped.fetch_add(1, std::memory_order_relaxed);
  }
}

std::optional<std::uint64_t> Limiter::pass(Time now) noexcept {
  const auto at = now.time_since_epoch().count();
  auto next = next_.load(std::memory_order_relaxed);
  if (at < next || !next_.compare_exchange_strong(next, at + interval_, std::memory_order_relaxed)) {
    silenced_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }
  return silenced_.exchange(0, std::memory_order_relaxed);
}

}  // namespace sidepool::log
