// src/base/log.h -- log lines: a message and typed fields, plain or JSON, written by a thread of their own.
#pragma once
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "src/base/clock.h"

namespace sidepool::log {

enum class Level : std::uint8_t { Debug, Info, Warn, Error };

// One typed value under a fixed snake_case name. Borrows for the length of the call. Never a secret.
struct Field {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, bool v) : key(k), value(v) {}
  template <std::signed_integral T>
  Field(std::string_view k, T v) : key(k), value(std::int64_t{v}) {}
  template <std::unsigned_integral T>
  Field(std::string_view k, T v) : key(k), value(std::uint64_t{v}) {}
  template <std::floating_point T>
  Field(std::string_view k, T v) : key(k), value(double{v}) {}

  std::string_view key;
  Value value;
};
using Fields = std::initializer_list<Field>;

struct Options {
  Level level = Level::Info;  // lower ones are dropped
  bool json = false;
  std::size_t queue_lines = 1024;  // of 408 bytes each, taken at start()
  int out_fd = 1;                  // debug, info
  int err_fd = 2;                  // warn, error
};

// From start() to stop() lines go through a bounded queue to the writing thread; when it is full the oldest
// line is dropped and counted, so a reader that stops reading our stderr never blocks a worker. Before and
// after, lines are written at once by the caller to 1 and 2: before, plain and from level Info; after, as
// they were. start() is called by main while no other thread logs.
void start(const Options& options);
// Waits up to `patience` for the queue to be written, drops the rest. Other threads may go on logging.
void stop(std::chrono::milliseconds patience = std::chrono::milliseconds(500));
// Any thread.
void set_level(Level level) noexcept;
bool enabled(Level level) noexcept;
std::uint64_t dropped() noexcept;  // lines dropped since the process began

// Any thread. Control characters and bytes that are not UTF-8 are escaped in messages and values.
void write(Level level, std::string_view message, Fields fields = {});
inline void debug(std::string_view message, Fields fields = {}) {
  if (enabled(Level::Debug)) write(Level::Debug, message, fields);
}
inline void info(std::string_view message, Fields fields = {}) { write(Level::Info, message, fields); }
inline void warn(std::string_view message, Fields fields = {}) { write(Level::Warn, message, fields); }
inline void error(std::string_view message, Fields fields = {}) { write(Level::Error, message, fields); }

// Keeps one place in the code from filling the log with an error that clients can provoke: at most one line
// per interval. A static object at that place; any thread.
class Limiter {
 public:
  explicit Limiter(Duration interval) noexcept : interval_(interval.count()) {}
  // nullopt: stay silent. Otherwise log, with the number of lines left out since the last one.
  std::optional<std::uint64_t> pass(Time now) noexcept;

 private:
  const Duration::rep interval_;
  std::atomic<Duration::rep> next_{0};
  std::atomic<std::uint64_t> silenced_{0};
};

// The text of one line without its newline. Pure apart from the time zone; for the writing thread and the
// tests.
std::string render_plain(WallTime when, std::string_view message, std::span<const Field> fields);
std::string render_json(WallTime when, Level level, std::string_view message, std::span<const Field> fields);

}  // namespace sidepool::log
