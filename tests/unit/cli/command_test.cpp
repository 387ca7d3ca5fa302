// tests/unit/cli/command_test.cpp -- wait, shutdown, completion, help, --version.
#include "src/cli/command.h"

#include <gmock/gmock.h>

#include "src/cli/flags.h"
#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Outcome called(std::vector<const char*> argv) {
  return parse(static_cast<int>(argv.size()), argv.data(), inputs());
}
std::string printed(const Outcome& outcome) {
  const auto* print = std::get_if<PrintAndExit>(&outcome);
  EXPECT_TRUE(print);
  return print ? print->text : "";
}

TEST(Wait, HasFlagsOfItsOwn) {
  const auto wait = [](const std::string& line, Map environment = {}) {
    return std::get<Wait>(run(line, std::move(environment)));
  };
  EXPECT_EQ(wait("wait").host, "localhost");
  EXPECT_EQ(wait("wait").port, 9090);
  EXPECT_EQ(wait("wait").max, 30s);
  for (const char* line :
       {"wait --max 5s --http-port 9801 --http-address ::1", "wait -m5s --http-port=9801 --http-address=::1",
        "--http-port 9801 --http-address ::1 wait --max=5s"}) {
    EXPECT_EQ(wait(line).max, 5s) << line;
    EXPECT_EQ(wait(line).port, 9801) << line;
    EXPECT_EQ(wait(line).host, "::1") << line;
  }
  EXPECT_EQ(wait("wait", {{"CSQL_PROXY_HTTP_PORT", "9801"}}).port, 9090)
      << "variables are for the proxy itself";
  // What serving would refuse is none of its business.
  wait("wait", {{"CSQL_PROXY_PORT", "nonsense"}});
}

TEST(Wait, NamesWhatIsWrong) {
  EXPECT_THAT(
      errors("wait --max 30 --http-port x --http-address a/b"),
      ElementsAre("invalid argument \"a/b\" for \"--http-address\" flag: write a host name or an IP address",
                  "invalid argument \"x\" for \"--http-port\" flag: write a port number from 1 to 65535",
                  "invalid argument \"30\" for \"-m, --max\" flag: write a time with its unit, such as 30s "
                  "or 1m30s"));
  EXPECT_THAT(errors("wait --port 1"), testing::SizeIs(2)) << "the flag and its value";
  EXPECT_THAT(errors("wait p:r:i"), ElementsAre("`wait` takes no argument such as \"p:r:i\""));
  EXPECT_THAT(errors("wait --maximum=1s"), ElementsAre(StartsWith("unknown flag: --maximum")));
}

TEST(Shutdown, HasFlagsOfItsOwn) {
  EXPECT_EQ(std::get<Shutdown>(run("shutdown")).port, 9091);
  EXPECT_EQ(std::get<Shutdown>(run("shutdown --admin-port 9092")).port, 9092);
  EXPECT_EQ(std::get<Shutdown>(run("shutdown", {{"CSQL_PROXY_ADMIN_PORT", "9092"}})).port, 9091);
  EXPECT_THAT(errors("shutdown --admin-port=0"), testing::SizeIs(1));
}

TEST(Command, AWordBehindTwoDashesIsAnInstance) {
  EXPECT_THAT(errors("-- wait"), ElementsAre(HasSubstr("\"wait\" is not an instance connection name")));
}

TEST(Command, HasHelp) {
  for (const std::string command : {"wait", "shutdown", "completion"}) {
    const std::string text = printed(run("help " + command));
    EXPECT_THAT(text, HasSubstr("sidepool " + command));
    EXPECT_EQ(printed(run(command + " --help")), text);
    EXPECT_EQ(printed(run(command + " -h")), text);
  }
  EXPECT_EQ(printed(run("help")), help_text("sidepool"));
  EXPECT_EQ(printed(run("completion")), printed(run("help completion")));
  EXPECT_THAT(errors("help nonsense"), ElementsAre("there is no command \"nonsense\""));
}

TEST(Command, TheProgramIsCalledAsItWas) {
  EXPECT_THAT(printed(called({"/usr/bin/sidepool", "--version"})), StartsWith("sidepool version "));
  const std::string version = printed(called({"/cloud-sql-proxy", "-v"}));
  EXPECT_THAT(version, StartsWith("cloud-sql-proxy version "));
  EXPECT_THAT(version, HasSubstr("+sidepool"));
  EXPECT_THAT(printed(called({"cloud-sql-proxy", "--help"})),
              HasSubstr("\n  cloud-sql-proxy [flags] INSTANCE"));
  EXPECT_THAT(printed(called({"cloud-sql-proxy", "help", "wait"})),
              HasSubstr("\n  cloud-sql-proxy wait [flags]"));
  EXPECT_THAT(printed(called({"x", "--help"})), HasSubstr("\n  sidepool [flags] INSTANCE"));
  EXPECT_THAT(std::get<Failure>(called({"cloud-sql-proxy"})).text(),
              HasSubstr("Run 'cloud-sql-proxy --help'"));
}

TEST(Completion, KnowsEveryFlagInEveryShell) {
  for (const std::string shell : {"bash", "zsh", "fish", "powershell"}) {
    const std::string script = printed(run("completion " + shell));
    for (const Flag& flag : flags()) EXPECT_THAT(script, HasSubstr(std::string(flag.name))) << shell;
    EXPECT_THAT(script, HasSubstr("cloud-sql-proxy")) << shell;
    EXPECT_THAT(script, HasSubstr("wait")) << shell;
  }
  EXPECT_EQ(printed(run("completion csh")), printed(run("completion"))) << "as the Auth Proxy does";
}

}  // namespace
}  // namespace sidepool::cli::test
