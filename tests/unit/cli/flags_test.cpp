// tests/unit/cli/flags_test.cpp -- flags, variables, their precedence and the Auth Proxy's rules.
#include "src/cli/flags.h"

#include <gmock/gmock.h>

#include <set>

#include "conf/address.h"
#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {

std::string listeners(const conf::Config& config) {
  std::string out;
  for (const conf::Upstream& up : config.upstreams) {
    for (const conf::Listener& listener : up.listeners)
      out.append(out.empty() ? "" : " ").append(to_string(listener.address));
  }
  return out;
}

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const Map kKey = {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:i"}};

TEST(Flags, TheInstanceAloneIsEnough) {
  const RunConfig run = good("my-project:us-central1:my-postgres");
  ASSERT_EQ(run.config.upstreams.size(), 1U);
  const conf::Upstream& up = run.config.upstreams[0];
  EXPECT_EQ(up.instance, "my-project:us-central1:my-postgres");
  EXPECT_EQ(up.name, up.instance);
  EXPECT_FALSE(up.auto_iam_authn);
  EXPECT_EQ(up.listeners, (std::vector<conf::Listener>{{{"127.0.0.1", 5432, {}}, conf::RemoteOptIn::No}}));
  EXPECT_EQ(up.pool, conf::PoolConfig{});
  EXPECT_EQ(run.config.shutdown.max_sigterm_delay, std::nullopt);
  EXPECT_FALSE(run.config.shutdown.exit_zero_on_sigterm);
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(Flags, EveryFlag) {
  const RunConfig run = good(
      "--port=6000 --address=127.0.0.2 --auto-iam-authn --private-ip --token T --login-token L "
      "--sqladmin-api-endpoint=http://127.0.0.1:1 --health-check --prometheus --http-port=9801 "
      "--http-address=0.0.0.0 "
      "--admin-port=9092 --quitquitquit --structured-logs --max-sigterm-delay=1m30s "
      "--exit-zero-on-sigterm p:r:i");
  const conf::Config& c = run.config;
  EXPECT_EQ(listeners(c), "127.0.0.2:6000");
  EXPECT_EQ(c.upstreams[0].listeners[0].remote_opt_in, conf::RemoteOptIn::FlagOrEnv);
  EXPECT_TRUE(c.upstreams[0].auto_iam_authn);
  EXPECT_EQ(c.upstreams[0].ip_type, conf::IpType::Private);
  EXPECT_EQ(c.cloudsql.token.reveal(), "T");
  EXPECT_EQ(c.cloudsql.login_token.reveal(), "L");
  EXPECT_EQ(c.cloudsql.sqladmin_api_endpoint, "http://127.0.0.1:1/");
  EXPECT_EQ(c.http.metrics, (conf::Address{"0.0.0.0", 9801, {}}));
  EXPECT_EQ(c.http.health, c.http.metrics);
  EXPECT_TRUE(c.http.quitquitquit);
  EXPECT_EQ(c.http.admin_port, 9092);
  EXPECT_EQ(c.log.format, conf::LogFormat::Json);
  EXPECT_EQ(c.shutdown.max_sigterm_delay, 90s);
  EXPECT_TRUE(c.shutdown.exit_zero_on_sigterm);
}

TEST(Flags, SpellingsOfGoFlags) {
  for (const char* line :
       {"-p6000 p:r:i", "-p 6000 p:r:i", "-p=6000 p:r:i", "--port 6000 p:r:i", "p:r:i --port=6000",
        "--port=1 --port=6000 p:r:i", "-p6000 -- p:r:i", "-lp6000 p:r:i"}) {
    EXPECT_EQ(listeners(good(line).config), "127.0.0.1:6000") << line;
  }
  for (const char* value : {"1", "t", "T", "TRUE", "true", "True"}) {
    EXPECT_TRUE(good(std::string("--auto-iam-authn=") + value + " p:r:i").config.upstreams[0].auto_iam_authn)
        << value;
  }
  for (const char* value : {"0", "f", "F", "FALSE", "false", "False"}) {
    EXPECT_FALSE(good(std::string("-i=") + value + " p:r:i").config.upstreams[0].auto_iam_authn) << value;
  }
  EXPECT_EQ(good("--max-sigterm-delay 0 p:r:i").config.shutdown.max_sigterm_delay, conf::Duration{0});
  EXPECT_EQ(good("--port=0 p:r:i").config.upstreams[0].listeners[0].address.port, 5432);
  EXPECT_EQ(good("--token= p:r:i").config.cloudsql.token, conf::Secret());
  EXPECT_EQ(good("--http-address localhost --prometheus p:r:i").config.http.metrics,
            (conf::Address{"127.0.0.1", 9090, {}}));
}

TEST(Flags, BadValuesAreNamed) {
  EXPECT_THAT(
      errors("--port=abc --http-port=70000 --auto-iam-authn=yes --max-sigterm-delay=30 p:r:i"),
      ElementsAre("invalid argument \"abc\" for \"-p, --port\" flag: write a port number from 0 to 65535",
                  "invalid argument \"yes\" for \"-i, --auto-iam-authn\" flag: write true or false",
                  "invalid argument \"70000\" for \"--http-port\" flag: write a port number from 0 to 65535",
                  "invalid argument \"30\" for \"--max-sigterm-delay\" flag: write a time with its unit, "
                  "such as 30s or 1m30s"));
  EXPECT_THAT(errors("--http-address=db p:r:i"),
              ElementsAre("invalid value \"db\" for --http-address: write an IP address or localhost"));
  EXPECT_THAT(errors("--max-sigterm-delay=-1s p:r:i"), testing::SizeIs(1));
  EXPECT_THAT(errors("p:r:i --port"), ElementsAre("flag needs an argument: --port"));
  EXPECT_THAT(errors("--auto-iam-authn= p:r:i"), testing::SizeIs(1));
}

TEST(Flags, UnknownOnesGetTheNearestName) {
  EXPECT_THAT(errors("--auto-iam p:r:i"),
              ElementsAre("unknown flag: --auto-iam; did you mean --auto-iam-authn?"));
  EXPECT_THAT(errors("--prot=1 p:r:i"), ElementsAre("unknown flag: --prot; did you mean --port?"));
  EXPECT_THAT(errors("--xyzzyxyzzy p:r:i"), ElementsAre("unknown flag: --xyzzyxyzzy"));
  EXPECT_THAT(errors("-x p:r:i"), ElementsAre("unknown shorthand flag: \"-x\""));
  EXPECT_THAT(errors("-instances=p:r:i"),
              ElementsAre("unknown flag: -instances; flags of more than a letter have two dashes"));
}

TEST(Flags, CloudSqlFlags) {
  const conf::Config c =
      good(
          "--json-credentials={} --impersonate-service-account t@p,b@p,c@p --quota-project q "
          "--universe-domain example.cloud --user-agent op/1 --lazy-refresh --run-connection-test "
          "--skip-failed-instance-config --max-connections 5 --prometheus-namespace ns --min-sigterm-delay "
          "3s "
          "--exit-when-idle 1m google.com:p:r:i")
          .config;
  EXPECT_EQ(c.upstreams[0].instance, "google.com:p:r:i");
  EXPECT_EQ(c.cloudsql.credentials_json.reveal(), "{}");
  EXPECT_THAT(c.cloudsql.impersonate, ElementsAre("t@p", "b@p", "c@p"));
  EXPECT_EQ(c.cloudsql.quota_project, "q");
  EXPECT_EQ(c.cloudsql.universe_domain, "example.cloud");
  EXPECT_EQ(c.cloudsql.user_agent, "op/1");
  EXPECT_TRUE(c.cloudsql.lazy_refresh);
  EXPECT_TRUE(c.cloudsql.run_connection_test);
  EXPECT_TRUE(c.server.skip_failed_listeners);
  EXPECT_EQ(c.server.max_client_conn, 5U);
  EXPECT_EQ(c.http.prometheus_namespace, "ns");
  EXPECT_EQ(c.shutdown.min_sigterm_delay, 3s);
  EXPECT_EQ(c.shutdown.exit_when_idle, conf::Duration{60s});
  EXPECT_TRUE(good("-g p:r:i").config.cloudsql.gcloud_auth);
  EXPECT_EQ(good("--max-connections 0 p:r:i").config.server.max_client_conn, 1000U)
      << "as if it were not given";
  EXPECT_THAT(errors("--max-connections=-1 p:r:i"),
              ElementsAre("invalid argument \"-1\" for \"--max-connections\" flag: write a whole number"));
  EXPECT_THAT(errors("--max-connections=1000001 p:r:i"), testing::SizeIs(1));
  EXPECT_THAT(errors("--impersonate-service-account a@b,,c@d p:r:i"), testing::SizeIs(1));
}

TEST(Flags, LogLevels) {
  const auto level = [](const char* line) { return good(line).config.log.level; };
  EXPECT_EQ(level("p:r:i"), conf::LogLevel::Info);
  EXPECT_EQ(level("--quiet p:r:i"), conf::LogLevel::Error);
  EXPECT_EQ(level("--debug-logs p:r:i"), conf::LogLevel::Debug);
  EXPECT_EQ(level("--debug-logs --quiet p:r:i"), conf::LogLevel::Error);
  EXPECT_EQ(level("--quiet=false p:r:i"), conf::LogLevel::Info);
  EXPECT_EQ(good("--quiet --structured-logs p:r:i").config.log.format, conf::LogFormat::Json)
      << "the Auth Proxy logs plain text then";
}

TEST(Flags, OnesWithoutEffectSaySo) {
  const auto notes = [](const std::string& line) {
    std::string out;
    for (const Note& note : good(line).notes) out += note.text + "\n";
    return out;
  };
  EXPECT_EQ(notes("--debug --disable-metrics --disable-traces --telemetry-prefix x --telemetry-sample-rate 5 "
                  "--fuse-tmp-dir /t --sql-data-endpoint x --resource-exhausted-cooldown-delay 1s p:r:i"),
            "Ignoring --telementry-prefix because --telemetry-project was not set\n"
            "Ignoring --disable-metrics because --telemetry-project was not set\n"
            "Ignoring --disable-traces because --telemetry-project was not set\n"
            "Ignoring --telemetry-sample-rate because --telemetry-project was not set\n"
            "Ignoring --debug because sidepool has no Go profiles to serve\n"
            "Ignoring --fuse-tmp-dir because --fuse was not set\n"
            "Ignoring --sqldata-api-endpoint because --sql-data was not set\n"
            "Ignoring --resource-exhausted-cooldown-delay because --sql-data was not set\n");
  EXPECT_EQ(
      notes("--telemetry-project p --disable-metrics --disable-traces p:r:i"),
      "Ignoring --telemetry-project because --disable-metrics and --disable-traces leave nothing of it\n");
  EXPECT_EQ(notes("--debug=false --sql-data=false p:r:i"), "");
}

TEST(Flags, SecretsAreNotRepeatedInErrors) {
  for (const char* line :
       {"-j{\"private_key\":\"SECRET\"} --port=x p:r:i", "--json-credentials={SECRET} -g p:r:i",
        "-J{SECRET} p:r:i", "--josn-credentials={SECRET} p:r:i", "--token=SECRET --port=x p:r:i",
        "--token=SECRET --credentials-file=x p:r:i"}) {
    for (const std::string& error : errors(line)) EXPECT_THAT(error, Not(HasSubstr("SECRET"))) << line;
    EXPECT_THAT(errors(line), testing::SizeIs(1)) << line;
  }
}

struct Rule {
  const char* line;
  const char* error;
};
class AuthProxyRule : public testing::TestWithParam<Rule> {};
TEST_P(AuthProxyRule, IsKeptInItsWords) {
  EXPECT_THAT(errors(GetParam().line), ElementsAre(GetParam().error));
}
constexpr Rule kRules[] = {
    {"", "missing instance_connection_name (e.g., project:region:instance)"},
    {"--unix-socket /x --address 127.0.0.1 p:r:i", "cannot specify --unix-socket and --address together"},
    {"--unix-socket /x --port 0 p:r:i", "cannot specify --unix-socket and --port together"},
    {"--address x p:r:i", "not a valid IP address: \"x\""},
    {"--address= p:r:i", "not a valid IP address: \"\""},
    {"--address localhost p:r:i", "not a valid IP address: \"localhost\"; write 127.0.0.1"},
    {"--token x --credentials-file y p:r:i",
     "cannot specify --token and --credentials-file flags at the same time"},
    {"--token x --gcloud-auth p:r:i", "cannot specify --token and --gcloud-auth flags at the same time"},
    {"--credentials-file x --gcloud-auth p:r:i",
     "cannot specify --credentials-file and --gcloud-auth flags at the same time"},
    {"--json-credentials x --token y p:r:i",
     "cannot specify --json-credentials and --token flags at the same time"},
    {"--json-credentials x --credentials-file y p:r:i",
     "cannot specify --json-credentials and --credentials-file flags at the same time"},
    {"--json-credentials x --gcloud-auth p:r:i",
     "cannot specify --json-credentials and --gcloud-auth flags at the same time"},
    {"--private-ip=false --auto-ip=false p:r:i", "cannot specify --private-ip and --auto-ip together"},
    {"--private-ip --psc p:r:i", "cannot specify --private-ip, --psc, and --sql-data flags at the same time"},
    {"--gcloud-auth --auto-iam-authn p:r:i",
     "cannot use --auto-iam-authn with --gcloud-auth.\n"
     "Instead use Application Default Credentials (enabled with: gcloud auth application-default login)\n"
     "and re-try with just --auto-iam-authn"},
    {"--sqladmin-api-endpoint http://x --universe-domain y.z p:r:i",
     "cannot specify --sqladmin-api-endpoint and --universe-domain at the same time"},
    {"--fuse /x",
     "--fuse is not supported by sidepool: name the instances as arguments, with --unix-socket for sockets "
     "in "
     "a directory"},
    {"--sql-data p:r:i",
     "--sql-data is not supported by sidepool: remove it, sidepool connects to the instance itself"},
    {"--telemetry-project p --disable-traces p:r:i",
     "--telemetry-project is not supported by sidepool, which sends nothing to Cloud Monitoring or Cloud "
     "Trace: "
     "remove it; --prometheus serves metrics"},
    {"--token x --auto-iam-authn p:r:i", "cannot specify --auto-iam-authn and --token without --login-token"},
    {"--login-token x p:r:i", "cannot specify --login-token without --token and --auto-iam-authn"},
    {"--token x --login-token y p:r:i", "cannot specify --login-token without --token and --auto-iam-authn"},
    {"--sqladmin-api-endpoint ftp://x p:r:i",
     "the SQL Admin API endpoint (--sqladmin-api-endpoint) \"ftp://x/\" is not a URL such as "
     "https://sqladmin.googleapis.com/"},
    {"--token x p:r:i?auto-iam-authn",
     "upstream \"p:r:i\": auto_iam_authn needs a token for logging in beside the one for the API: set "
     "login_token "
     "(--login-token), or use credentials_file"},
};
INSTANTIATE_TEST_SUITE_P(All, AuthProxyRule, testing::ValuesIn(kRules));

TEST(Environment, EachFlagHasItsVariable) {
  const RunConfig run = good("", {{"CSQL_PROXY_INSTANCE_CONNECTION_NAME", "p:r:i"},
                                  {"CSQL_PROXY_PORT", "6000"},
                                  {"CSQL_PROXY_ADDRESS", "0.0.0.0"},
                                  {"CSQL_PROXY_AUTO_IAM_AUTHN", "T"},
                                  {"CSQL_PROXY_PRIVATE_IP", "true"},
                                  {"CSQL_PROXY_CREDENTIALS_FILE", "/key"},
                                  {"CSQL_PROXY_SQLADMIN_API_ENDPOINT", "https://x/"},
                                  {"CSQL_PROXY_HEALTH_CHECK", "true"},
                                  {"CSQL_PROXY_HTTP_PORT", "9801"},
                                  {"CSQL_PROXY_HTTP_ADDRESS", "0.0.0.0"},
                                  {"CSQL_PROXY_QUITQUITQUIT", "true"},
                                  {"CSQL_PROXY_ADMIN_PORT", "9092"},
                                  {"CSQL_PROXY_STRUCTURED_LOGS", "true"},
                                  {"CSQL_PROXY_EXIT_ZERO_ON_SIGTERM", "true"},
                                  {"CSQL_PROXY_MAX_SIGTERM_DELAY", "5s"}});
  const conf::Config& c = run.config;
  EXPECT_EQ(listeners(c), "0.0.0.0:6000");
  EXPECT_EQ(c.upstreams[0].listeners[0].remote_opt_in, conf::RemoteOptIn::FlagOrEnv);
  EXPECT_TRUE(c.upstreams[0].auto_iam_authn);
  EXPECT_EQ(c.upstreams[0].ip_type, conf::IpType::Private);
  EXPECT_EQ(c.cloudsql.credentials_file, "/key");
  EXPECT_EQ(c.http.health, (conf::Address{"0.0.0.0", 9801, {}}));
  EXPECT_EQ(c.http.metrics, std::nullopt);
  EXPECT_EQ(c.http.admin_port, 9092);
  EXPECT_EQ(c.log.format, conf::LogFormat::Json);
  EXPECT_EQ(c.shutdown.max_sigterm_delay, 5s);
  EXPECT_TRUE(c.shutdown.exit_zero_on_sigterm);
  EXPECT_THAT(run.notes, IsEmpty());
}

TEST(Environment, NamesOfVariables) {
  std::set<std::string> names;
  for (const Flag& flag : flags()) {
    if (flag.variable) names.insert(variable_of(flag.name));
  }
  EXPECT_EQ(names.size(), 48U);
  EXPECT_TRUE(names.count("CSQL_PROXY_SQLADMIN_API_ENDPOINT"));
}

TEST(Flags, AUselessHttpPortIsIgnoredAloud) {
  const auto run = good("--http-port 1 p:r:i");
  ASSERT_EQ(run.notes.size(), 1U);
  EXPECT_FALSE(run.notes[0].warning);
  EXPECT_EQ(run.notes[0].text, "Ignoring --http-port because --prometheus or --health-check was not set");
}

TEST(Environment, FlagsWinAndEmptyIsNotSet) {
  EXPECT_EQ(listeners(good("--port 7000", {{"CSQL_PROXY_PORT", "6000"}, *kKey.begin()}).config),
            "127.0.0.1:7000");
  EXPECT_EQ(listeners(good("", {{"CSQL_PROXY_PORT", ""}, *kKey.begin()}).config), "127.0.0.1:5432");
  EXPECT_FALSE(good("-i=false", {{"CSQL_PROXY_AUTO_IAM_AUTHN", "true"}, *kKey.begin()})
                   .config.upstreams[0]
                   .auto_iam_authn);
}

TEST(Environment, BadValuesAreErrorsThatNameTheVariable) {
  EXPECT_THAT(errors("", {{"CSQL_PROXY_PORT", "abc"}, *kKey.begin()}),
              ElementsAre("invalid value \"abc\" for CSQL_PROXY_PORT: write a port number from 0 to 65535"));
  EXPECT_THAT(errors("--unix-socket /x", {{"CSQL_PROXY_ADDRESS", "127.0.0.1"}, *kKey.begin()}),
              ElementsAre("cannot specify --unix-socket and --address together"));
}

TEST(Environment, InstancesAreNumbered) {
  const std::string name = "CSQL_PROXY_INSTANCE_CONNECTION_NAME";
  const auto instances = [](const RunConfig& run) {
    std::vector<std::string> out;
    for (const auto& up : run.config.upstreams) out.push_back(up.instance);
    return out;
  };
  EXPECT_THAT(instances(good("", {{name, "p:r:a"}, {name + "_0", "p:r:x"}, {name + "_1", "p:r:b"}})),
              ElementsAre("p:r:a", "p:r:b"));
  EXPECT_THAT(
      instances(good("", {{name + "_0", "p:r:a"}, {name + "_1", "p:r:b?port=1"}, {name + "_3", "p:r:d"}})),
      ElementsAre("p:r:a", "p:r:b"));
  EXPECT_THAT(instances(good("p:r:z", {{name, "p:r:a"}})), ElementsAre("p:r:z"));
}

TEST(Help, NamesEveryFlagAndFitsAScreen) {
  const Outcome outcome = run("--help --port=1");
  const auto& help = std::get<PrintAndExit>(outcome);
  EXPECT_EQ(help.code, 0);
  for (const Flag& flag : flags()) EXPECT_THAT(help.text, HasSubstr("--" + std::string(flag.name)));
  std::size_t start = 0;
  for (std::size_t end; (end = help.text.find('\n', start)) != std::string::npos; start = end + 1) {
    EXPECT_LE(end - start, 130U) << help.text.substr(start, end - start);
  }
  EXPECT_THAT(errors("--help --port=nonsense"), testing::SizeIs(1)) << "flags are read first, as pflag does";
  EXPECT_EQ(std::get<PrintAndExit>(run("--help", {{"CSQL_PROXY_PORT", "nonsense"}})).code, 0);
  EXPECT_THAT(std::get<PrintAndExit>(run("-v")).text, testing::StartsWith("sidepool version "));
}

TEST(Failure, PrintsOneLineEach) {
  const Outcome outcome = run("--port=x --http-port=x p:r:i");
  EXPECT_EQ(std::get<Failure>(outcome).text(),
            "Error: invalid argument \"x\" for \"-p, --port\" flag: write a port number from 0 to 65535\n"
            "Error: invalid argument \"x\" for \"--http-port\" flag: write a port number from 0 to 65535\n"
            "Usage:\n"
            "  sidepool [flags] INSTANCE_CONNECTION_NAME[?params]...\n"
            "  sidepool --config sidepool.toml [flags]\n"
            "  sidepool check [flags] [INSTANCE_CONNECTION_NAME[?params]...]\n"
            "  sidepool wait | shutdown | completion | help [COMMAND]\n"
            "Run 'sidepool --help' for all flags.\n");
  EXPECT_EQ(std::get<Failure>(outcome).code, 1);
}

}  // namespace
}  // namespace sidepool::cli::test
