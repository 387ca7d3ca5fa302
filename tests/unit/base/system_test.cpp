// tests/unit/base/system_test.cpp -- dates, CPU quota, random bytes, limits, secrets.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>

#include "src/base/cgroup.h"
#include "src/base/limits.h"
#include "src/base/memory_reserve.h"
#include "src/base/random.h"
#include "src/base/rfc3339.h"
#include "src/base/secret_memory.h"

namespace sidepool {
namespace {

namespace fs = std::filesystem;

TEST(Signals, StayPendingUntilTheyAreReleased) {
  static volatile std::sig_atomic_t seen = 0;
  struct sigaction count {
  }, before{};
  count.sa_handler = [](int) { seen = seen + 1; };
  ASSERT_EQ(::sigaction(SIGTERM, &count, &before), 0);
  hold_signals();
  ::raise(SIGTERM);
  EXPECT_EQ(seen, 0);
  release_signals();
  EXPECT_EQ(seen, 1);
  ::sigaction(SIGTERM, &before, nullptr);
}

TEST(MemoryReserve, IsGivenOutPieceByPieceAndRefilled) {
  const auto before = std::get_new_handler();
  keep_memory_reserve();
  EXPECT_FALSE(memory_is_short());
  const auto give_out = std::get_new_handler();
  give_out();
  EXPECT_TRUE(memory_is_short());
  refill_memory_reserve();
  EXPECT_FALSE(memory_is_short());
  for (int i = 0; i < 16; ++i) give_out();
  EXPECT_THROW(give_out(), std::bad_alloc);
  refill_memory_reserve();
  EXPECT_FALSE(memory_is_short());
  std::set_new_handler(before);
}

TEST(StandardStreams, AClosedOneIsReplaced) {
  const int kept = ::dup(STDIN_FILENO);
  ::close(STDIN_FILENO);
  open_standard_streams();
  char byte = 0;
  EXPECT_EQ(::read(STDIN_FILENO, &byte, 1), 0) << "/dev/null";
  const int other = ::open("/dev/null", O_RDONLY);
  EXPECT_GT(other, STDERR_FILENO);
  ::close(other);
  if (kept >= 0) ::dup2(kept, STDIN_FILENO);
  ::close(kept);
}

std::int64_t unix_micros(std::string_view text) {
  const auto t = parse_rfc3339(text);
  EXPECT_TRUE(t) << text;
  return t ? std::chrono::duration_cast<std::chrono::microseconds>(t->time_since_epoch()).count() : -1;
}

TEST(Rfc3339, Parses) {
  EXPECT_EQ(unix_micros("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(unix_micros("2024-06-01T12:00:00Z"), 1717243200000000);
  EXPECT_EQ(unix_micros("2024-06-01t14:00:00.5+02:00"), 1717243200500000);
  EXPECT_EQ(unix_micros("2024-06-01T06:30:00.1234567-05:30"), 1717243200123456);
  EXPECT_EQ(unix_micros("2016-12-31T23:59:60Z"), 1483228800000000);
  EXPECT_EQ(unix_micros("2024-02-29T00:00:00Z"), 1709164800000000);
  EXPECT_EQ(unix_micros("1969-12-31T23:59:59.5Z"), -500000);
}

TEST(Rfc3339, Refuses) {
  for (const char* bad :
       {"", "2024", "2024-06-01", "2024-06-01T12:00:00", "2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z", "2024-06-01T24:00:00Z", "2024-06-01T12:60:00Z",
        "2024-06-01T12:00:61Z", "2024-06-01T12:00:00.Z", "2024-06-01T12:00:00+2:00",
        "2024-06-01T12:00:00+24:00", "2024-06-01T12:00:00Zx", "2024-06-01X12:00:00Z", "-024-06-01T12:00:00Z",
        "2024-6-01T12:00:00Z"})
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
}

TEST(Rfc3339, Formats) {
  const auto t = *parse_rfc3339("2024-06-01T12:00:00.9Z");
  EXPECT_EQ(format_rfc3339(t), "2024-06-01T12:00:00Z");
  ::setenv("TZ", "Asia/Kolkata", 1);
  ::tzset();
  EXPECT_EQ(format_rfc3339_local(t), "2024-06-01T17:30:00+05:30");
  ::setenv("TZ", "NST3:30", 1);
  ::tzset();
  EXPECT_EQ(format_rfc3339_local(t), "2024-06-01T08:30:00-03:30");
  ::setenv("TZ", "UTC0", 1);
  ::tzset();
  EXPECT_EQ(format_rfc3339_local(t), "2024-06-01T12:00:00Z");
  EXPECT_EQ(parse_rfc3339(format_rfc3339(t)), std::chrono::floor<std::chrono::seconds>(t));
}

class Cgroup : public testing::Test {
 protected:
  Cgroup() {
    std::string pattern = (fs::temp_directory_path() / "cgroupXXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~Cgroup() override { fs::remove_all(root_); }
  void put(const char* path, const char* text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  fs::path root_;
};

TEST_F(Cgroup, NothingThereIsNoQuota) { EXPECT_FALSE(cgroup_cpu_quota(root_)); }

TEST_F(Cgroup, Version2TakesTheSmallestOfAllLevels) {
  put("proc/self/cgroup", "0::/pod/container\n");
  put("sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  EXPECT_FALSE(cgroup_cpu_quota(root_));
  put("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
  EXPECT_EQ(cgroup_cpu_quota(root_), 2.5);
  put("sys/fs/cgroup/pod/container/cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroup_cpu_quota(root_), 0.5);
}

TEST_F(Cgroup, InAContainerThePathMayBeTheHosts) {
  put("proc/self/cgroup", "0::/../host/path/that/is/not/here\n");
  put("sys/fs/cgroup/cpu.max", "100000 100000\n");
  EXPECT_EQ(cgroup_cpu_quota(root_), 1.0);
}

TEST_F(Cgroup, Version1) {
  put("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/docker/abc\n1:cpuset:/y\n");
  put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(cgroup_cpu_quota(root_));
  put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(cgroup_cpu_quota(root_), 1.5);
}

TEST_F(Cgroup, MalformedFilesAreNoQuota) {
  put("proc/self/cgroup", "garbage\n0::\n::::\n");
  put("sys/fs/cgroup/cpu.max", "ten twenty\n");
  EXPECT_FALSE(cgroup_cpu_quota(root_));
  put("sys/fs/cgroup/cpu.max", "100000 0\n");
  EXPECT_FALSE(cgroup_cpu_quota(root_));
}

TEST(Random, DiffersEachTime) {
  std::set<std::vector<std::uint8_t>> seen;
  for (int i = 0; i < 100; ++i) {
    std::vector<std::uint8_t> b(16);
    fill_random(b);
    seen.insert(b);
    const double u = random_unit();
    EXPECT_GE(u, 0.0);
    EXPECT_LT(u, 1.0);
  }
  EXPECT_EQ(seen.size(), 100u);
}

TEST(Limits, OpenFilesAreRaisedToTheHardLimit) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = std::min<rlim_t>(before.rlim_cur, 128);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const auto raised = raise_open_files();
  rlimit after{};
  ::getrlimit(RLIMIT_NOFILE, &after);
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(raised);
  EXPECT_EQ(raised->before, low.rlim_cur);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
}

TEST(Limits, ABrokenPipeIsAnErrorNotASignal) {
  ignore_sigpipe();
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  ::close(fds[0]);
  EXPECT_EQ(::write(fds[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  ::close(fds[1]);
}

TEST(SecretMemory, KeepsMovesAndDrops) {
  SecretMemory a(std::string_view("correct horse"));
  EXPECT_EQ(a.text(), "correct horse");
  const auto* where = a.bytes().data();
  SecretMemory b(std::move(a));
  EXPECT_EQ(b.bytes().data(), where);  // moved, not copied
  SecretMemory c(std::string_view("other"));
  c = std::move(b);
  EXPECT_EQ(c.text(), "correct horse");
  EXPECT_TRUE(SecretMemory(std::string_view()).empty());
  // Page aligned, so that locking and leaving it out of dumps touches nothing else.
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(where) % static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE)),
            0u);
}

}  // namespace
}  // namespace sidepool
