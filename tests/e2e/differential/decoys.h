// tests/e2e/differential/decoys.h -- other clients of the same pool, which take the servers away between two
// steps.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "tests/e2e/differential/transcript.h"

namespace sidepool::differential {

// Each has a thread and a connection; they leave behind on the servers whatever a pool has to clean.
class Decoys {
 public:
  Decoys(const Target& target, int count, std::uint64_t seed);
  ~Decoys();
  Decoys(const Decoys&) = delete;
  Decoys& operator=(const Decoys&) = delete;
  std::uint64_t turns() const noexcept { return turns_; }

 private:
  void live(const Target& target, std::uint64_t seed);

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> turns_{0};
  std::vector<std::thread> threads_;
};

}  // namespace sidepool::differential
