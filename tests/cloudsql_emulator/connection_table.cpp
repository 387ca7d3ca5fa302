// tests/cloudsql_emulator/connection_table.cpp -- counting and killing.
#include "tests/cloudsql_emulator/connection_table.h"

#include <sys/socket.h>

namespace sidepool::emulator {

std::shared_ptr<Slot> ConnectionTable::add(int fd, const std::string& instance) {
  auto slot = std::make_shared<Slot>(fd, instance);
  std::lock_guard lock(mutex_);
  slots_.insert(slot);
  return slot;
}

void ConnectionTable::remove(const std::shared_ptr<Slot>& slot) {
  std::lock_guard lock(mutex_);
  slots_.erase(slot);
  changed_.notify_all();
}

std::size_t ConnectionTable::kill(const std::string& instance, End how) {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& slot : slots_) {
    if (!instance.empty() && slot->instance != instance) continue;
    slot->ordered = how;
    // The read side only: the thread may still have to say close_notify.
    shutdown(slot->fd, SHUT_RD);
    ++count;
  }
  return count;
}

std::map<std::string, std::size_t> ConnectionTable::open() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::size_t> out;
  for (const auto& slot : slots_) ++out[slot->instance];
  return out;
}

bool ConnectionTable::wait_empty(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, timeout, [&] { return slots_.empty(); });
}

}  // namespace sidepool::emulator
