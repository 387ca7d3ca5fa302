// tests/sim/session_sim.cpp -- many seeds of session_world.h. `session_sim --seed N` replays one.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/sim/session_world.h"

int main(int argc, char** argv) {
  constexpr std::uint64_t kSeeds = 300;
  std::uint64_t first = 1, last = kSeeds;
  if (argc == 3 && std::string_view(argv[1]) == "--seed") first = last = std::strtoull(argv[2], nullptr, 10);
  if (argc == 3 && std::string_view(argv[1]) == "--seeds") last = std::strtoull(argv[2], nullptr, 10);
  for (auto seed = first; seed <= last; ++seed) {
    const auto failure = sidepool::test::SessionWorld(seed).run(1500);
    if (failure.empty()) continue;
    std::fprintf(stderr, "session_sim --seed %llu: %s\n", static_cast<unsigned long long>(seed),
                 failure.c_str());
    return 1;
  }
  return 0;
}
