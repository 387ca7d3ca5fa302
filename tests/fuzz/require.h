// tests/fuzz/require.h -- what a fuzz target insists on, in every build.
#pragma once
#include <cstdio>
#include <cstdlib>

namespace sidepool::test {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace sidepool::test
