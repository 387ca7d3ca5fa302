// tests/unit/base/log_test.cpp -- the shape of log lines, their way to the descriptors, and what a stuck
// reader costs.
#include "src/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <regex>
#include <thread>
#include <vector>

namespace sidepool::log {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const WallTime kWhen = std::chrono::system_clock::from_time_t(1717243200);

std::string plain(std::string_view m, std::vector<Field> f = {}) { return render_plain(kWhen, m, f); }
std::string json(std::string_view m, std::vector<Field> f = {}) {
  return render_json(kWhen, Level::Info, m, f);
}

TEST(LogText, PlainIsTheAuthProxysFormat) {
  const std::string line = plain("[p:r:i] Listening on 127.0.0.1:5432");
  EXPECT_TRUE(std::regex_match(
      line, std::regex(R"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[p:r:i\] Listening on 127\.0\.0\.1:5432)")))
      << line;
}

TEST(LogText, PlainFieldsAreTypedAndQuotedWhereNeeded) {
  EXPECT_THAT(
      plain("opened", {{"pool", "app"}, {"ms", 12}, {"ok", true}, {"ratio", 0.5}, {"n", std::uint64_t{7}}}),
      EndsWith(" opened pool=app ms=12 ok=true ratio=0.5 n=7"));
  EXPECT_THAT(plain("m", {{"a", "two words"}, {"b", ""}, {"c", "q\"\\"}}),
              EndsWith(R"( m a="two words" b="" c="q\"\\")"));
}

TEST(LogText, NothingThatAClientSendsLeavesItsLineOrReachesTheTerminal) {
  const std::string evil = "x\n2024/01/01 00:00:00 forged\r\x1b[2J\x7f\xc2\x9b\xff\xc0\xaf";
  for (const std::string& line :
       {plain(evil), plain("m", {{"user", evil}}), json(evil), json("m", {{"user", evil}})}) {
    for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << line;
    EXPECT_EQ(line.find('\x7f'), std::string::npos);
    EXPECT_EQ(line.find('\xff'), std::string::npos);
    EXPECT_EQ(line.find("\xc2\x9b"), std::string::npos);
    EXPECT_EQ(line.find('\xc0'), std::string::npos);
  }
  EXPECT_THAT(plain("m", {{"u", "a\nb"}}), HasSubstr(R"(a\nb)"));
  EXPECT_THAT(json("m", {{"u", "a\nb\xff"}}), HasSubstr(R"("a\u000ab\ufffd")"));
}

TEST(LogText, ValidUtf8PassesUnchanged) {
  const std::string text = "Grüße 数据 🐘";
  EXPECT_THAT(plain(text), EndsWith(text));
  EXPECT_THAT(json(text), HasSubstr(text));
  // Surrogates, overlong forms and what is beyond U+10FFFF are not UTF-8.
  EXPECT_THAT(json("\xed\xa0\x80"), HasSubstr("\\ufffd"));
  EXPECT_THAT(json("\xe0\x80\x80"), HasSubstr("\\ufffd"));
  EXPECT_THAT(json("\xf4\x90\x80\x80"), HasSubstr("\\ufffd"));
  EXPECT_THAT(json("\xf0\x9f"), HasSubstr("\\ufffd"));
}

TEST(LogText, JsonKeysComeInGooglesOrder) {
  const std::string line = json("server \"opened\"", {{"pool", "app"}, {"ms", 12}, {"bad", 0.0 / 1.0}});
  EXPECT_TRUE(std::regex_match(
      line,
      std::regex(
          R"re(\{"timestamp":"2024-06-01T[^"]*","severity":"INFO","message":"server \\"opened\\"","pool":"app","ms":12,"bad":0(\.0)?\})re")))
      << line;
}

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(fds.data(), O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(fds[0]);
    if (fds[1] >= 0) ::close(fds[1]);
  }
  std::string read_all() {
    ::close(fds[1]);
    fds[1] = -1;
    std::string all;
    std::array<char, 4096> b;
    for (ssize_t n; (n = ::read(fds[0], b.data(), b.size())) > 0;)
      all.append(b.data(), static_cast<std::size_t>(n));
    return all;
  }
  std::array<int, 2> fds{};
};

TEST(Log, DebugAndInfoGoToOneDescriptorTheRestToTheOther) {
  Pipe out, err;
  start({.level = Level::Debug, .json = false, .out_fd = out.fds[1], .err_fd = err.fds[1]});
  debug("a-debug"), info("an-info"), warn("a-warning"), error("an-error");
  set_level(Level::Error);
  info("not-this"), debug("nor-this"), error("but-this");
  stop();
  const auto o = out.read_all(), e = err.read_all();
  EXPECT_THAT(o, HasSubstr("a-debug\n"));
  EXPECT_THAT(o, EndsWith("an-info\n"));
  EXPECT_THAT(e, HasSubstr("a-warning\n"));
  EXPECT_THAT(e, HasSubstr("an-error\n"));
  EXPECT_THAT(e, EndsWith("but-this\n"));
  EXPECT_THAT(o, Not(HasSubstr("not-this")));
}

TEST(Log, LinesLongerThanAPipeBufferStayWhole) {
  Pipe out;
  start({.json = true, .out_fd = out.fds[1], .err_fd = out.fds[1]});
  const std::string longish(20000, 'x');
  info(longish);
  stop();
  EXPECT_THAT(out.read_all(), HasSubstr("\"message\":\"" + longish + "\"}\n"));
}

TEST(Log, AReaderThatStopsReadingBlocksNobody) {
  Pipe out;
  const auto before = dropped();
  start({.queue_lines = 64, .out_fd = out.fds[1], .err_fd = out.fds[1]});
  const std::string line(1000, 'x');
  std::vector<std::thread> workers;
  for (int w = 0; w < 3; ++w)
    workers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) info(line);  // far more than pipe and queue hold
    });
  for (auto& w : workers) w.join();  // would hang if a worker could be blocked
  stop(std::chrono::milliseconds(1));
  EXPECT_GT(dropped(), before + 1000);
}

TEST(Log, IsClosedUnderThreadsThatStillUseIt) {
  for (int round = 0; round < 10; ++round) {
    Pipe out;
    start({.queue_lines = 64, .out_fd = out.fds[1], .err_fd = out.fds[1]});
    std::atomic<int> lines{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> workers;
    for (int w = 0; w < 3; ++w)
      workers.emplace_back([&] {
        while (!over) {
          info("x");
          ++lines;
          if (lines > 60) std::this_thread::yield();
        }
      });
    while (lines < 60) std::this_thread::yield();
    stop(std::chrono::milliseconds(50));
    over = true;
    for (auto& w : workers) w.join();
  }
}

TEST(Log, KeepsItsFormatWhenItIsClosed) {
  Pipe out;
  start({.level = Level::Error, .json = true, .out_fd = out.fds[1], .err_fd = out.fds[1]});
  stop();
  EXPECT_FALSE(enabled(Level::Warn));
  testing::internal::CaptureStderr();
  error("late");
  const std::string late = testing::internal::GetCapturedStderr();
  EXPECT_THAT(late, StartsWith("{\"timestamp\":"));
  start({});
  stop();
}

TEST(Log, LimiterLetsOneThroughAndCountsTheRest) {
  Limiter limiter(std::chrono::seconds(1));
  const Time t = steady_now();
  EXPECT_EQ(limiter.pass(t), std::uint64_t{0});
  EXPECT_EQ(limiter.pass(t), std::nullopt);
  EXPECT_EQ(limiter.pass(t + std::chrono::milliseconds(999)), std::nullopt);
  EXPECT_EQ(limiter.pass(t + std::chrono::milliseconds(1000)), std::uint64_t{2});
  EXPECT_EQ(limiter.pass(t + std::chrono::milliseconds(1001)), std::nullopt);
}

}  // namespace
}  // namespace sidepool::log
