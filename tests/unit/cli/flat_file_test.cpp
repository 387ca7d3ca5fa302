// tests/unit/cli/flat_file_test.cpp -- the Auth Proxy's configuration file in its three formats.
#include "src/cli/flat_file.h"

#include <gmock/gmock.h>

#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Format {
  const char* name;
  const char* text;
};
void PrintTo(const Format& format, std::ostream* out) { *out << format.name; }

class FlatFormat : public testing::TestWithParam<Format> {
 protected:
  Map files() const { return {{GetParam().name, GetParam().text}}; }
  std::string flag() const { return std::string("--config-file ") + GetParam().name; }
};

TEST_P(FlatFormat, SetsFlagsByName) {
  const RunConfig run = good(flag(), {}, files());
  const conf::Config& c = run.config;
  ASSERT_EQ(c.upstreams.size(), 2U);
  EXPECT_EQ(c.upstreams[0].instance, "p:r:a");
  EXPECT_TRUE(c.upstreams[0].auto_iam_authn);
  EXPECT_EQ(c.upstreams[1].instance, "p:r:b");
  EXPECT_FALSE(c.upstreams[1].auto_iam_authn);
  EXPECT_EQ(listeners(c), "127.0.0.1:5555 127.0.0.1:6001");
  EXPECT_EQ(c.http.health, (conf::Address{"127.0.0.1", 9801, {}}));
  EXPECT_EQ(c.cloudsql.credentials_json.reveal(), "{\"a\": 1}");
  EXPECT_EQ(c.shutdown.max_sigterm_delay, 5s);
  EXPECT_FALSE(c.shutdown.exit_zero_on_sigterm);
  EXPECT_EQ(c.log.level, conf::LogLevel::Info);
  EXPECT_THAT(run.invocation.files, ElementsAre(GetParam().name));
}

TEST_P(FlatFormat, GivesWayToVariablesAndFlags) {
  const auto port = [this](const std::string& line, Map environment) {
    return listeners(good(flag() + line, std::move(environment), files()).config);
  };
  EXPECT_EQ(port("", {{"CSQL_PROXY_PORT", "7000"}}), "127.0.0.1:7000 127.0.0.1:6001");
  EXPECT_EQ(port(" --port 8000", {{"CSQL_PROXY_PORT", "7000"}}), "127.0.0.1:8000 127.0.0.1:6001");
  EXPECT_EQ(port("", {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:x"}}), "127.0.0.1:5555");
  EXPECT_EQ(port(" p:r:y p:r:z", {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:x"}}),
            "127.0.0.1:5555 127.0.0.1:5556");
  EXPECT_EQ(listeners(good("", {{"CSQL_PROXY_CONFIG_FILE", GetParam().name}}, files()).config),
            "127.0.0.1:5555 127.0.0.1:6001")
      << "the Auth Proxy does not look at this variable";
}

constexpr Format kFormats[] = {
    {"c.toml",
     "instance-connection-name-0 = 'p:r:a'\n"
     "instance-connection-name-1 = 'p:r:b?port=6001&auto-iam-authn=false'\n"
     "port = '5555'\nAuto-IAM-authn = true\nhealth-check = 'T'\nhttp-port = 9801\n"
     "json-credentials = '{\"a\": 1}'\nmax-sigterm-delay = '5s'\nexit-zero-on-sigterm = false\nquiet = ''\n"},
    {"c.yaml",
     "# a comment\ninstance-connection-name-0: p:r:a\n"
     "instance-connection-name-1: \"p:r:b?port=6001&auto-iam-authn=false\"\n"
     "port: 5555\nAuto-IAM-authn: true\nhealth-check: T\nhttp-port: \"9801\"\n"
     "json-credentials: '{\"a\": 1}'\nmax-sigterm-delay: 5s\nexit-zero-on-sigterm: false\nquiet:\n"},
    {"/etc/a.b/c.yml",
     "{instance-connection-name: 'p:r:a', instance-connection-name-1: "
     "'p:r:b?port=6001&auto-iam-authn=false',\n"
     "port: 5555, auto-iam-authn: true, health-check: 1, http-port: 9801, json-credentials: '{\"a\": 1}',\n"
     "max-sigterm-delay: 5s}\n"},
    {"c.json",
     R"({"instance-connection-name": "p:r:a", "instance-connection-name-1": "p:r:b?port=6001&auto-iam-authn=false",
"port": 5555, "Auto-IAM-Authn": true, "health-check": true, "http-port": "9801", "json-credentials": "{\"a\": 1}",
"max-sigterm-delay": "5s", "exit-zero-on-sigterm": false, "quiet": null})"},
};
INSTANTIATE_TEST_SUITE_P(All, FlatFormat, testing::ValuesIn(kFormats));

struct Bad {
  const char* name;
  const char* text;
  const char* error;
};
void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.name << " " << bad.text; }

class BadFlatFile : public testing::TestWithParam<Bad> {};

TEST_P(BadFlatFile, IsRefusedWithItsPlace) {
  const Bad& bad = GetParam();
  EXPECT_THAT(errors(std::string("--config-file ") + bad.name + " p:r:i", {}, {{bad.name, bad.text}}),
              ElementsAre(bad.error));
}

constexpr Bad kBad[] = {
    {"c.ini", "", "config file c.ini should have extension of toml, yaml, or json"},
    {"a.toml/c", "", "config file a.toml/c should have extension of toml, yaml, or json"},
    {"c.toml", "port = \n",
     "failed to load configuration from c.toml:1: not valid TOML: Error while parsing key-value pair: "
     "expected value, saw '\\n'"},
    {"c.yaml", "port: [1\n",
     "failed to load configuration from c.yaml:2: not valid YAML: end of sequence flow not found"},
    {"c.json", "{\n\"port\": SECRET}", "failed to load configuration from c.json:2: not valid JSON"},
    {"c.json", "", "failed to load configuration from c.json:1: not valid JSON"},
    {"c.json", "[]",
     "failed to load configuration from c.json: the file must be an object of flags, not an array"},
    {"c.json", "5",
     "failed to load configuration from c.json: the file must be an object of flags, not a single value"},
    {"c.json", "{\"port\": {\"a\": 1}}",
     "failed to load configuration from c.json: \"port\" must be a single value, not an object"},
    {"c.json", "{\"port\": 1, \"PORT\": 2}",
     "failed to load configuration from c.json: the key \"port\" is there twice"},
    {"c.yaml", "- port\n",
     "failed to load configuration from c.yaml:1: the file must be a list of \"flag: value\" lines"},
    {"c.yaml", "port: 1\nport: 2\n",
     "failed to load configuration from c.yaml:2: the key \"port\" is there twice"},
    {"c.yaml", "address:\n  - 127.0.0.1\n",
     "failed to load configuration from c.yaml:1: \"address\" must be a single value, not a list"},
    {"c.yaml", "a: &a [*a]\n",
     "failed to load configuration from c.yaml:1: \"a\" must be a single value, not a list"},
    {"c.toml", "port = [1]\n",
     "failed to load configuration from c.toml:1: \"port\" must be a single value, not an array"},
    {"c.toml", "\nprot = 1\n",
     "failed to load configuration from c.toml:2: unknown key \"prot\"; did you mean \"port\"?"},
    {"c.toml", "auto_iam_authn = true\n",
     "failed to load configuration from c.toml:1: unknown key \"auto_iam_authn\"; did you mean "
     "\"auto-iam-authn\"?"},
    {"c.yaml", "instance-connection-nam-1: p:r:i\n",
     "failed to load configuration from c.yaml:1: unknown key \"instance-connection-nam-1\"; did you mean "
     "\"instance-connection-name\"?"},
    {"c.toml", "config-file = 'x'\n",
     "failed to load configuration from c.toml:1: the key \"config-file\" does nothing in a file: give "
     "--config-file on the command line"},
    {"c.yaml", "port: \"1\\0\"\n",
     "failed to load configuration from c.yaml:1: the value of \"port\" holds a zero byte"},
    {"c.yaml", "# x\nport: abc\n",
     "invalid value \"abc\" for \"port\" in c.yaml:2: write a port number from 0 to 65535"},
    {"c.json", "{\"max-sigterm-delay\": 30}",
     "invalid value \"30\" for \"max-sigterm-delay\" in c.json: write a time with its unit, such as 30s or "
     "1m30s"},
    {"c.toml", "unix-socket = '/x'\naddress = '127.0.0.1'\n",
     "cannot specify --unix-socket and --address together"},
};
INSTANTIATE_TEST_SUITE_P(All, BadFlatFile, testing::ValuesIn(kBad));

TEST(FlatFile, ThatIsMissing) {
  EXPECT_THAT(
      errors("--config-file none.yaml p:r:i"),
      ElementsAre("failed to load configuration from none.yaml: open none.yaml: no such file or directory"));
}

TEST(FlatFile, DeepNestingEndsAtOnce) {
  const std::string deep(200000, '[');
  EXPECT_THAT(errors("--config-file c.yaml p:r:i", {}, {{"c.yaml", "a: " + deep}}), testing::SizeIs(1));
  EXPECT_THAT(errors("--config-file c.json p:r:i", {}, {{"c.json", "{\"a\": " + deep}}), testing::SizeIs(1));
  EXPECT_THAT(errors("--config-file c.toml p:r:i", {}, {{"c.toml", "a = " + deep}}), testing::SizeIs(1));
}

TEST(FlatFile, GoesTogetherWithOurOwn) {
  const auto run = good("--config s.toml --config-file c.yaml", {},
                        {{"s.toml", "[pool]\nsize = 3\n"}, {"c.yaml", "instance-connection-name: p:r:i\n"}});
  EXPECT_EQ(run.config.upstreams[0].pool.size, 3U);
  EXPECT_THAT(run.invocation.files, ElementsAre("s.toml", "c.yaml"));
}

TEST(FlatFile, WhatComesBehindAGapIsToldOf) {
  const auto notes = [](const RunConfig& run) {
    return run.notes.empty() ? std::string{} : run.notes[0].text;
  };
  const std::string name = "CSQL_PROXY_INSTANCE_CONNECTION_NAME";
  EXPECT_EQ(notes(good("", {{name + "_0", "p:r:a"}, {name + "_2", "p:r:b"}})),
            name + "_2 is not read, because there is no " + name + "_1");
  EXPECT_EQ(
      notes(good("--config-file c.toml", {},
                 {{"c.toml", "instance-connection-name = 'p:r:a'\ninstance-connection-name-2 = 'p:r:b'\n"}})),
      "instance-connection-name-2 is not read, because there is no instance-connection-name-1");
}

TEST(FlatFile, IsReadAgainAtAReload) {
  const auto before = good("--config-file c.yaml p:r:i", {}, {{"c.yaml", "max-connections: 5\n"}});
  EXPECT_EQ(before.config.server.max_client_conn, 5U);
  const Outcome again = parse(before.invocation.arguments, inputs({}, {{"c.yaml", "max-connections: 6\n"}}));
  EXPECT_EQ(std::get<RunConfig>(again).config.server.max_client_conn, 6U);
}

TEST(FlatYaml, AQuotedTextEndsOnItsLine) {
  for (const char* text :
       {"port: \"5555\nquiet: true\n", "port: '5555\nquiet: true\n", "a: \"b\n  c\"\nquiet: true\n",
        "\"port: 5555\nquiet: true\n", "\xEF\xBB\xBFport: \"5555\n", "port: \"5555\\\"\nquiet: true"}) {
    const auto read = read_flat_yaml(text);
    EXPECT_FALSE(read.problems.empty()) << text;
  }
  const auto read =
      read_flat_yaml("a: \"b\\\"c\" # \"\n'd': 'it''s'\ne: |\n  \"f\n  g\nh: i\"j\n\"k\": ''\n");
  EXPECT_TRUE(read.problems.empty());
  ASSERT_EQ(read.entries.size(), 5U);
  EXPECT_EQ(read.entries[0].text, "b\"c");
  EXPECT_EQ(read.entries[1].text, "it's");
  EXPECT_EQ(read.entries[2].text, "\"f\ng\n");
  EXPECT_EQ(read.entries[3].text, "i\"j");
}

}  // namespace
}  // namespace sidepool::cli::test
