// tests/sim/broker_sim.cpp -- seeded random schedules of the broker: faults of all kinds, invariants after
// each step.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/sim/broker_world.h"

namespace {

constexpr int kSteps = 3000;

// False, and one line to replay, if the run of this seed breaks an invariant.
bool run(std::uint64_t seed, std::uint64_t* served) {
  int step = 0;
  try {
    sidepool::sim::BrokerWorld world(seed);
    for (; step < kSteps; ++step) world.step();
    world.finish();
    *served += world.served();
    return true;
  } catch (const sidepool::sim::Fault& fault) {
    std::printf("broker_sim --seed %llu: step %d: %s\n", static_cast<unsigned long long>(seed), step,
                fault.what());
    return false;
  }
}

}  // namespace

// broker_sim [--seed N | --seeds COUNT | --seconds S]: one seed; so many from 1; or as many as fit (default 8
// s).
int main(int argc, char** argv) {
  std::uint64_t first = 1, count = ~std::uint64_t{0}, served = 0, done = 0;
  auto length = std::chrono::seconds(8);
  if (argc == 3 && std::strcmp(argv[1], "--seed") == 0) {
    first = std::strtoull(argv[2], nullptr, 10);
    count = 1;
  } else if (argc == 3 && std::strcmp(argv[1], "--seeds") == 0) {
    count = std::strtoull(argv[2], nullptr, 10);
    length = std::chrono::hours(24);
  } else if (argc == 3 && std::strcmp(argv[1], "--seconds") == 0) {
    length = std::chrono::seconds(std::strtoull(argv[2], nullptr, 10));
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: broker_sim [--seed N | --seeds COUNT | --seconds S]\n");
    return 2;
  }
  const auto end = std::chrono::steady_clock::now() + length;
  for (; done < count && (done == 0 || std::chrono::steady_clock::now() < end); ++done)
    if (!run(first + done, &served)) return 1;
  std::printf("broker_sim: %llu seeds, %llu clients served\n", static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(served));
  return served == 0 ? 1 : 0;
}
