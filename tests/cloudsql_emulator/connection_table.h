// tests/cloudsql_emulator/connection_table.h -- the open connections of 3307, so that a test can count and
// kill them.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace sidepool::emulator {

enum class End : int { None, Close, CloseNotify, Reset };

// One connection; its thread owns the socket and closes it after remove().
struct Slot {
  Slot(int socket, std::string name) : fd(socket), instance(std::move(name)) {}
  const int fd;
  const std::string instance;
  std::atomic<End> ordered{End::None};  // how the test wants it to end
};

// Thread-safe.
class ConnectionTable {
 public:
  std::shared_ptr<Slot> add(int fd, const std::string& instance);
  void remove(const std::shared_ptr<Slot>& slot);
  // Wakes the threads of the connections (all if `instance` is empty); returns how many.
  std::size_t kill(const std::string& instance, End how);
  std::map<std::string, std::size_t> open() const;
  bool wait_empty(std::chrono::milliseconds timeout);

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::shared_ptr<Slot>> slots_;
};

}  // namespace sidepool::emulator
