// Programs that are run for what they print: bounded, alone, and gone afterwards.
#include "src/cloudsql/command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <thread>

#include "src/io/fd.h"
#include "tests/unit/cloudsql/pki.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Commands : public testing::Test {
 protected:
  Result<CommandOutput> shell(const std::string& script, std::chrono::milliseconds timeout = 30s) {
    return run_command(Command{{"/bin/sh", "-c", script}, {"SIDEPOOL_TEST=x y"}, timeout}, stopping_);
  }
  std::atomic<bool> stopping_{false};
  test::TempDir dir_;
};

TEST_F(Commands, OutputAndExitCode) {
  const auto got = shell("echo out; echo err >&2; exit 3");
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->out.view(), "out\n");
  EXPECT_EQ(got->err_text, "err\n");
  EXPECT_EQ(got->exit_code, 3);
  EXPECT_EQ(shell("kill -TERM $$")->exit_code, 128 + SIGTERM);
}

TEST_F(Commands, ItSeesTheEnvironmentAndNothingElseOfOurs) {
  ::setenv("SIDEPOOL_TEST", "old", 1);
  const auto old_handler = ::signal(SIGPIPE, SIG_IGN);  // as the program has it
  const auto got = shell(
      "echo \"$SIDEPOOL_TEST:$HOME\"; cat; ls /proc/self/fd | wc -l; "
      "sed -n 's/SigIgn:.//p' /proc/self/status");
  ::signal(SIGPIPE, old_handler);
  ::unsetenv("SIDEPOOL_TEST");
  ASSERT_TRUE(got);
  // 0, 1, 2 and the folder that ls reads.
  const std::string head = "x y:" + std::string{::getenv("HOME")} + "\n4\n";
  const std::string text{got->out.view()};
  ASSERT_TRUE(text.starts_with(head)) << text;
  EXPECT_EQ(std::stoull(text.substr(head.size()), nullptr, 16) & (1U << (SIGPIPE - 1)), 0U);
}

TEST_F(Commands, WhatCannotBeStartedIsAnError) {
  const auto got = run_command(Command{{"/nonexistent/program"}}, stopping_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().what, "/nonexistent/program could not be started: No such file or directory");
  EXPECT_FALSE(run_command(Command{}, stopping_));
}

TEST_F(Commands, TimeIsBounded) {
  const auto got = shell("sleep 60", 300ms);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::Timeout);
  EXPECT_EQ(got.error().what, "/bin/sh took too long and was killed");
}

TEST_F(Commands, AChildThatHoldsThePipesIsNotWaitedFor) {
  const auto before = std::chrono::steady_clock::now();
  const auto got = shell("sleep 60 & echo done");
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->out.view(), "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - before, 30s);
}

TEST_F(Commands, OutputIsBounded) {
  const auto much = shell("head -c 1048577 /dev/zero; sleep 60");
  ASSERT_FALSE(much);
  EXPECT_THAT(much.error().what, HasSubstr("printed more than 1 MiB"));
  const auto most = shell("head -c 1048576 /dev/zero; head -c 1000000 /dev/zero >&2");
  ASSERT_TRUE(most) << most.error().what;
  EXPECT_EQ(most->out.view().size(), 1048576U);
  EXPECT_EQ(most->err_text.size(), 16384U);
}

TEST_F(Commands, StoppingEndsItWithAllThatItStarted) {
  const std::string fifo = dir_.path() + "/started";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  io::Fd reader;
  std::thread stopper{[&] {
    reader.reset(::open(fifo.c_str(), O_RDONLY | O_CLOEXEC));
    char byte = 0;
    EXPECT_EQ(::read(reader.get(), &byte, 1), 1);  // the grandchild runs
    stopping_ = true;
  }};
  const auto got = shell("(exec > " + fifo + "; printf x; sleep 60) & wait");
  stopper.join();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "stopped");
  pollfd end{reader.get(), 0, 0};
  EXPECT_EQ(::poll(&end, 1, 30'000), 1) << "the grandchild lives on and holds the pipe";
  EXPECT_NE(end.revents & POLLHUP, 0);
}

TEST_F(Commands, ProgramsAreFoundInAbsoluteFoldersOnly) {
  const std::string program = dir_.file("bin/tool", "#!/bin/sh\n");
  dir_.file("other/tool", "not executable");
  EXPECT_EQ(find_program("tool", dir_.path() + "/bin"), "") << "not executable yet";
  ::chmod(program.c_str(), 0700);
  EXPECT_EQ(find_program("tool", "relative::.:" + dir_.path() + "/other:" + dir_.path() + "/bin"), program);
  EXPECT_EQ(find_program(program, ""), program);
  EXPECT_EQ(find_program("tool", ""), "");
  EXPECT_EQ(find_program("", "/bin"), "");
}

}  // namespace
}  // namespace sidepool::cloudsql
