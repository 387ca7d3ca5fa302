// tests/unit/cli/file_test.cpp -- the configuration file together with flags, variables and instances.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "conf/diff.h"
#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Map file(const std::string& text) { return {{"s.toml", text}}; }

constexpr const char* kTwo =
    "[pool]\nsize = 7\n[[upstream]]\nname = 'main'\ninstance = 'p:r:i'\nlisten = "
    "'127.0.0.1:6000'\nauto_iam_authn = true\n"
    "[upstream.pool]\nmin_size = 1\n";

TEST(File, AloneDefinesEverything) {
  const auto run = good("--config s.toml", {}, file(kTwo));
  EXPECT_EQ(listeners(run.config), "127.0.0.1:6000");
  EXPECT_THAT(run.invocation.files, ElementsAre("s.toml"));
  EXPECT_EQ(run.invocation.arguments, words("--config s.toml"));
}

TEST(File, LendsItsKeysToAnInstanceOfTheSameName) {
  const auto run = good("--config s.toml p:r:i", {}, file(kTwo));
  const conf::Upstream& up = run.config.upstreams[0];
  EXPECT_EQ(up.name, "main");
  EXPECT_EQ(up.pool.size, 7U);
  EXPECT_EQ(up.pool.min_size, 1U);
  EXPECT_TRUE(up.auto_iam_authn);
  EXPECT_EQ(listeners(run.config), "127.0.0.1:6000");
  EXPECT_EQ(listeners(good("--config s.toml p:r:i?port=1", {}, file(kTwo)).config), "127.0.0.1:1");
  EXPECT_EQ(listeners(good("--config s.toml --port 2 p:r:i", {}, file(kTwo)).config), "127.0.0.1:2");
}

TEST(File, ItsPoolAppliesToInstancesItDoesNotName) {
  const auto run = good("--config s.toml p:r:x", {}, file("[pool]\nsize = 7\n"));
  EXPECT_EQ(run.config.upstreams[0].pool.size, 7U);
}

TEST(File, MustNotListUpstreamsThatTheArgumentsReplace) {
  EXPECT_THAT(
      errors("--config s.toml p:r:other", {}, file(kTwo)),
      ElementsAre(
          "s.toml:3:1: this [[upstream]] is \"p:r:i\", but the instances named by arguments or "
          "CSQL_PROXY_INSTANCE_CONNECTION_NAME replace the file's list: name it there too, or remove one of "
          "the two"));
  EXPECT_THAT(errors("--config s.toml", {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:x"}},
                     file("[[upstream]]\nhosts = 'a'\n")),
              ElementsAre(HasSubstr("s.toml:1:1: this [[upstream]] is a list of hosts")));
}

TEST(File, FlagsAndVariablesOverrideItsKeys) {
  const Map text = file(
      "[[upstream]]\ninstance = 'p:r:i'\nlisten = '127.0.0.1:6000'\nip_type = 'private'\nauto_iam_authn = "
      "true\n"
      "[log]\nformat = 'json'\n[metrics]\nlisten = '127.0.0.1:1234'\n[cloudsql]\ncredentials_file = '/a'\n"
      "[shutdown]\nmax_sigterm_delay = '9s'\n");
  const auto untouched = good("--config s.toml", {}, text).config;
  EXPECT_EQ(untouched.http.metrics, (conf::Address{"127.0.0.1", 1234, {}}));
  const auto run = good(
      "--config s.toml -l=false --private-ip=false --address 127.0.0.2 --http-port=99 --prometheus "
      "--health-check --credentials-file=/b",
      {{"CSQL_PROXY_MAX_SIGTERM_DELAY", "0"}, {"CSQL_PROXY_AUTO_IAM_AUTHN", "false"}}, text);
  const conf::Config& c = run.config;
  EXPECT_EQ(c.log.format, conf::LogFormat::Plain);
  EXPECT_EQ(c.upstreams[0].ip_type, conf::IpType::Public);
  EXPECT_FALSE(c.upstreams[0].auto_iam_authn);
  EXPECT_EQ(listeners(c), "127.0.0.2:5432");
  EXPECT_EQ(c.http.metrics, (conf::Address{"127.0.0.1", 99, {}}));
  EXPECT_EQ(c.http.health, (conf::Address{"127.0.0.1", 99, {}}));
  EXPECT_EQ(c.cloudsql.credentials_file, "/b");
  EXPECT_EQ(c.shutdown.max_sigterm_delay, conf::Duration{0});
  EXPECT_EQ(good("--config s.toml --prometheus=false", {}, text).config.http.metrics, std::nullopt);
  EXPECT_EQ(good("--config s.toml -t=T --auto-iam-authn=false", {}, text).config.cloudsql.credentials_file,
            "");
}

TEST(File, FlagsForInstancesNeedOne) {
  EXPECT_THAT(
      errors("--config s.toml --port 1", {}, file("[[upstream]]\nhosts = 'a'\n")),
      ElementsAre("--port, --address, --unix-socket, --auto-iam-authn, --private-ip, --psc and --auto-ip "
                  "are about Cloud SQL instances, "
                  "and s.toml has none: set listen in its [[upstream]] instead"));
}

TEST(File, SecretsComeFromVariablesAndFiles) {
  const Map files = {{"s.toml",
                      "[[upstream]]\ninstance = 'p:r:i'\nauto_iam_authn = true\n[cloudsql]\n"
                      "token = { env = 'TOKEN' }\nlogin_token = { file = '/run/login' }\n"},
                     {"/run/login", "from file\r\n"}};
  const auto run = good("--config s.toml", {{"TOKEN", "from variable"}}, files);
  EXPECT_EQ(run.config.cloudsql.token.reveal(), "from variable");
  EXPECT_EQ(run.config.cloudsql.login_token.reveal(), "from file");
  EXPECT_THAT(
      errors("--config s.toml", {}, {{"s.toml", files.at("s.toml")}}),
      ElementsAre(
          "s.toml:5:17: cloudsql.token could not be read from env \"TOKEN\": it is not set",
          "s.toml:6:24: cloudsql.login_token could not be read from file \"/run/login\": No such file or "
          "directory"));
}

TEST(File, TheWrongKindOfFileNamesTheRightFlag) {
  EXPECT_THAT(errors("--config s.toml", {}, file("port = 5432\nauto-iam-authn = true\n")),
              ElementsAre(HasSubstr(
                  "s.toml:1:1: \"port\" at the top level belongs to the Auth Proxy's flat format")));
  EXPECT_THAT(errors("--config s.yaml"),
              ElementsAre(HasSubstr("--config takes sidepool's own TOML format, not \"s.yaml\"")));
  for (const char* line : {"--config-file s.toml", "--config-file=s.toml"}) {
    EXPECT_THAT(
        errors(line, {}, file(kTwo)),
        ElementsAre("s.toml is in sidepool's own format, whose flag is --config: write --config s.toml"));
  }
  EXPECT_THAT(errors("", {{"CSQL_PROXY_CONFIG_FILE", "s.toml"}}, file("[pool]\nsise = 1\n")),
              ElementsAre(HasSubstr("s.toml is in sidepool's own format")));
  EXPECT_THAT(errors("--config none.toml"),
              ElementsAre("failed to load configuration from none.toml: No such file or directory"));
}

TEST(File, EveryProblemIsReportedWithItsPlace) {
  EXPECT_THAT(errors("--config s.toml", {}, file("[pool]\nsise = 1\nsize = 0\n")),
              ElementsAre("s.toml:2:1: unknown key \"sise\" in [pool]; did you mean \"size\"?",
                          "s.toml:3:8: pool.size must be from 1 to 10000, not 0"));
  // A rule across keys still finds its place when the list of upstreams was replaced.
  EXPECT_THAT(
      errors("--config s.toml p:r:x p:r:i", {},
             file("[[upstream]]\ninstance = 'p:r:i'\n[upstream.pool]\nmin_size = 99\n")),
      ElementsAre("s.toml:4:12: upstream \"p:r:i\": pool.min_size (99) is larger than pool.size (10)"));
}

TEST(File, CheckAndPrintDoNotRun) {
  const Outcome check = run("--config s.toml --check-config", {}, file(kTwo));
  EXPECT_EQ(std::get<PrintAndExit>(check).text, "the configuration is valid\n");
  EXPECT_EQ(std::get<PrintAndExit>(check).code, 0);
  const Outcome print = run("--print-config --port 1 p:r:i");
  const std::string& text = std::get<PrintAndExit>(print).text;
  EXPECT_THAT(text, HasSubstr("instance = \"p:r:i\""));
  EXPECT_EQ(good("--config s.toml", {}, file(text)).config, good("--port 1 p:r:i").config);
  EXPECT_THAT(errors("--config s.toml --check-config", {}, file("x = 1")), testing::SizeIs(1));
}

TEST(File, AReloadReadsItAgain) {
  const auto before = good("--config s.toml", {}, file(kTwo));
  const Outcome again =
      parse(before.invocation.arguments, inputs({}, file(std::string(kTwo) + "size = 9\n")));
  const auto plan = conf::plan_reload(before.config, std::get<RunConfig>(again).config);
  ASSERT_EQ(plan.changes.size(), 1U);
  EXPECT_EQ(to_string(plan.changes[0]), "upstream \"main\".pool.size: 7 -> 9 (now)");
}

// A reload must not wait for the other end of a pipe.
TEST(ProcessInputs, OfARunningProcessAreRegularFiles) {
  const Inputs real = process_inputs(Files::Regular);
  const std::string path = testing::TempDir() + "sidepool_pipe_test";
  std::remove(path.c_str());
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(real.read_file(path).error().what, "it is not a regular file");
  std::remove(path.c_str());
  std::ofstream(path) << "hello";
  EXPECT_EQ(real.read_file(path).value(), "hello");
  std::remove(path.c_str());
}

TEST(ProcessInputs, ReadsFilesAndSaysWhyNot) {
  const Inputs real = process_inputs(Files::MayBePipes);
  const std::string path = testing::TempDir() + "sidepool_inputs_test";
  std::ofstream(path) << "hello";
  EXPECT_EQ(real.read_file(path).value(), "hello");
  std::ofstream(path) << std::string((1 << 20) + 1, 'x');
  EXPECT_EQ(real.read_file(path).error().what, "it is larger than 1 MiB");
  std::remove(path.c_str());
  EXPECT_EQ(real.read_file(path).error().what, "No such file or directory");
  EXPECT_EQ(real.read_file(testing::TempDir()).error().what, "Is a directory");
  EXPECT_FALSE(real.environment("SIDEPOOL_SURELY_NOT_SET"));
  EXPECT_TRUE(real.environment("PATH"));
}

}  // namespace
}  // namespace sidepool::cli::test
