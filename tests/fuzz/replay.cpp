// Runs every fuzz target over its corpus. A target that finds something wrong aborts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

struct Target {
  const char* name;
  int (*one_input)(const std::uint8_t*, std::size_t);
};

#include "fuzz_targets.inc"

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A buffer of its own and of exactly this size, so that a sanitizer sees every byte read beyond it.
void run(const Target& t, const std::string& input, std::size_t size) {
  const std::vector<std::uint8_t> bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
  t.one_input(bytes.data(), bytes.size());
}

class Replay : public testing::TestWithParam<Target> {};

TEST_P(Replay, Corpus) {
  const auto& target = GetParam();
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(SIDEPOOL_FUZZ_CORPUS "/") + target.name)) {
    SCOPED_TRACE(entry.path().string());
    const auto input = read(entry.path());
    run(target, input, input.size());
    // Cut off anywhere, too: most faults are at an end that comes early.
    const auto step = std::max<std::size_t>(1, input.size() / 64);
    for (std::size_t n = 0; n < input.size(); n += step) run(target, input, n);
    ++files;
  }
  EXPECT_GT(files, 0U) << "no corpus for " << target.name;
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay, testing::ValuesIn(kTargets),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
