// tests/cloudsql_emulator/faults.h -- what an API method is told to do instead of answering normally.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/http_message.h"
#include "tests/cloudsql_emulator/json.h"

namespace sidepool::emulator {

struct FaultStep {
  int status = 0;  // 0: the normal answer
  std::string reason;
  std::string message;
  Headers headers;
  std::optional<std::string> body;  // replaces the error body
  int delay_ms = 0;
  bool hold = false;  // wait for release()
  bool drop = false;
  std::string malformed;  // "json", "pem", "empty_pem" or nothing
  long times = 1;         // -1: until cleared
};

// Thread-safe. Each request of a method takes the next step of the first queue that fits: (method, instance)
// before (method, any instance).
class Faults {
 public:
  static Result<std::vector<FaultStep>> parse_steps(const Json& steps);

  void set(const std::string& method, const std::string& instance, std::vector<FaultStep> steps);
  void clear();
  std::optional<FaultStep> take(const std::string& method, const std::string& instance);
  // Blocks for the step's delay and hold; returns early when everything is cleared, released or stopped.
  void wait(const std::string& method, const FaultStep& step);
  // Lets every request go that is held back now.
  void release(const std::string& method);
  void stop();
  Json describe() const;

 private:
  using Where = std::pair<std::string, std::string>;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Where, std::deque<FaultStep>> queues_;
  std::map<std::string, std::uint64_t> releases_;
  std::map<std::string, long> held_;
  std::uint64_t clears_ = 0;
  bool stopped_ = false;
};

}  // namespace sidepool::emulator
