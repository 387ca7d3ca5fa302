// tests/unit/cli/instance_test.cpp -- instances with their parameters, and the listeners they get.
#include "src/cli/instance.h"

#include <gmock/gmock.h>

#include "tests/unit/cli/run.h"

namespace sidepool::cli::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Case {
  const char* line;
  const char* expected;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.line; }

class Listeners : public testing::TestWithParam<Case> {};
TEST_P(Listeners, FollowTheAuthProxy) {
  EXPECT_EQ(listeners(good(GetParam().line).config), GetParam().expected);
}
constexpr Case kListeners[] = {
    {"p:r:a p:r:b", "127.0.0.1:5432 127.0.0.1:5433"},
    {"--port 6000 p:r:a p:r:b", "127.0.0.1:6000 127.0.0.1:6001"},
    {"--port 6000 p:r:a?port=7000 p:r:b", "127.0.0.1:7000 127.0.0.1:6000"},
    {"p:r:a?port=7000 p:r:b", "127.0.0.1:7000 127.0.0.1:5432"},
    {"p:r:a?port=0", "127.0.0.1:5432"},
    {"--address ::1 p:r:a p:r:b?address=127.0.0.3", "[::1]:5432 127.0.0.3:5433"},
    {"--unix-socket /cloudsql p:r:a p:r:b",
     "unix:/cloudsql/p:r:a/.s.PGSQL.5432 unix:/cloudsql/p:r:b/.s.PGSQL.5432"},
    {"--unix-socket /cloudsql p:r:a?port=1 p:r:b?address=::1", "127.0.0.1:1 [::1]:5432"},
    {"p:r:a?unix-socket=/x p:r:b", "unix:/x/p:r:a/.s.PGSQL.5432 127.0.0.1:5432"},
    {"p:r:a?unix-socket-path=/x/sock", "unix:/x/sock/.s.PGSQL.5432"},
    {"p:r:a?unix-socket-path=/x/sock/.s.PGSQL.5432", "unix:/x/sock/.s.PGSQL.5432"},
    {"--unix-socket /u p:r:a?unix-socket=/x p:r:b",
     "unix:/x/p:r:a/.s.PGSQL.5432 unix:/u/p:r:b/.s.PGSQL.5432"},
    {"--unix-socket /u db.example.com", "unix:/u/db.example.com/.s.PGSQL.5432"},
    {"p:r:a?unix-socket=%2fx%20y", "unix:/x y/p:r:a/.s.PGSQL.5432"},
    {"p:r:a?port=1 p:r:a?port=2", "127.0.0.1:1 127.0.0.1:2"},
    {"example.com:p:r:a", "127.0.0.1:5432"},
};
INSTANTIATE_TEST_SUITE_P(All, Listeners, testing::ValuesIn(kListeners));

class BadInstance : public testing::TestWithParam<Case> {};
TEST_P(BadInstance, IsOneClearLine) {
  EXPECT_THAT(errors(GetParam().line), ElementsAre(GetParam().expected));
}
constexpr Case kBad[] = {
    {"p:r",
     "\"p:r\" is not an instance connection name: write PROJECT:REGION:INSTANCE, for example "
     "my-project:us-central1:my-postgres (gcloud sql instances describe NAME shows it as connectionName)"},
    {"DB.example.com",
     "\"DB.example.com\" is neither an instance connection name, PROJECT:REGION:INSTANCE, nor a DNS name in "
     "lower case that leads to one, such as db.example.com"},
    {"a:b:c:d:e",
     "\"a:b:c:d:e\" is not an instance connection name: write PROJECT:REGION:INSTANCE, for example "
     "my-project:us-central1:my-postgres (gcloud sql instances describe NAME shows it as connectionName)"},
    {"p:r:i?a=%zz", "could not parse query: \"a=%zz\""},
    {"p:r:i?a=%4", "could not parse query: \"a=%4\""},
    {"p:r:i?a=1;b=2", "could not parse query: \"a=1;b=2\""},
    {"p:r:i?address=1.1.1.1&unix-socket=/x",
     "cannot specify both address and unix-socket query params"
     " (p:r:i)"},
    {"p:r:i?port=1&unix-socket=/x",
     "cannot specify both port and unix-socket query params"
     " (p:r:i)"},
    {"p:r:i?address=1.1.1.1&unix-socket-path=/x",
     "cannot specify both address and unix-socket-path query params"
     " (p:r:i)"},
    {"p:r:i?port=1&unix-socket-path=/x",
     "cannot specify both port and unix-socket-path query params"
     " (p:r:i)"},
    {"p:r:i?unix-socket=/y&unix-socket-path=/x",
     "cannot specify both unix-socket-path and unix-socket query params"
     " (p:r:i)"},
    {"p:r:i?address=localhost",
     "address query param is not a valid IP address: \"localhost\""
     " (p:r:i)"},
    {"p:r:i?port=x",
     "port query param is not a valid integer: \"x\" (0 to 65535)"
     " (p:r:i)"},
    {"p:r:i?port=1&port=2",
     "port query param should be only one value: [\"1\" \"2\"]"
     " (p:r:i)"},
    {"p:r:i?auto-iam-authn=yes",
     "auto-iam-authn query param should be true or false, got: \"yes\""
     " (p:r:i)"},
    {"p:r:i?private-ip&psc=false",
     "cannot specify both private-ip and psc query params"
     " (p:r:i)"},
    {"p:r:i?psc=2",
     "psc query param should be true or false, got: \"2\""
     " (p:r:i)"},
    {"p:r:i?sql-data=true",
     "query param sql-data is not supported by sidepool: remove it, sidepool connects to the instance "
     "itself"
     " (p:r:i)"},
    {"--auto-ip p:r:i?private-ip",
     "cannot use --auto-ip with private-ip"
     " (p:r:i)"},
};
INSTANTIATE_TEST_SUITE_P(All, BadInstance, testing::ValuesIn(kBad));

TEST(Instance, ParametersOverrideFlags) {
  const auto run = good(
      "--auto-iam-authn --private-ip p:r:a p:r:b?auto-iam-authn=false&private-ip=F p:r:c?auto-iam-authn");
  EXPECT_TRUE(run.config.upstreams[0].auto_iam_authn);
  EXPECT_FALSE(run.config.upstreams[1].auto_iam_authn);
  EXPECT_EQ(run.config.upstreams[1].ip_type, conf::IpType::Public);
  EXPECT_TRUE(run.config.upstreams[2].auto_iam_authn);
}

TEST(Instance, AddressesAreChosenInTheAuthProxysOrder) {
  const auto type = [](const char* line) { return good(line).config.upstreams[0].ip_type; };
  using conf::IpType;
  EXPECT_EQ(type("p:r:i"), IpType::Public);
  EXPECT_EQ(type("--psc p:r:i"), IpType::Psc);
  EXPECT_EQ(type("--auto-ip p:r:i"), IpType::Auto);
  EXPECT_EQ(type("--psc --auto-ip p:r:i"), IpType::Psc);
  EXPECT_EQ(type("p:r:i?psc"), IpType::Psc);
  EXPECT_EQ(type("--psc p:r:i?psc=false"), IpType::Public);
  EXPECT_EQ(type("--psc p:r:i?private-ip"), IpType::Private);
  EXPECT_EQ(type("--private-ip p:r:i?psc"), IpType::Psc) << "what is said about the instance wins";
  EXPECT_EQ(type("--auto-ip p:r:i?private-ip=false"), IpType::Auto);
}

TEST(Instance, NamedTwiceSharesItsPoolsUnlessItDiffers) {
  const auto same = good("p:r:i p:r:i?port=1");
  ASSERT_EQ(same.config.upstreams.size(), 1U);
  EXPECT_EQ(listeners(same.config), "127.0.0.1:5432 127.0.0.1:1");
  const auto differs = good("p:r:i p:r:i?auto-iam-authn");
  ASSERT_EQ(differs.config.upstreams.size(), 2U);
  EXPECT_EQ(differs.config.upstreams[0].name, "p:r:i");
  EXPECT_EQ(differs.config.upstreams[1].name, "p:r:i#2");
  EXPECT_THAT(
      errors("p:r:i?port=1 p:r:j?port=1"),
      ElementsAre(
          "127.0.0.1:1 is listened on twice, by upstream \"p:r:i\" and by upstream \"p:r:j\": change one of "
          "them"));
}

TEST(Instance, UnknownParametersAreIgnoredAloud) {
  const auto run = good("p:r:i?run-connection-test=true");
  ASSERT_EQ(run.notes.size(), 1U);
  EXPECT_TRUE(run.notes[0].warning);
  EXPECT_EQ(run.notes[0].text, "[p:r:i] ignoring the unknown query param \"run-connection-test\"");
}

TEST(Instance, AnAddressIsTheOptIn) {
  const auto run = good("p:r:a?address=10.0.0.1 p:r:b");
  EXPECT_EQ(run.config.upstreams[0].listeners[0].remote_opt_in, conf::RemoteOptIn::FlagOrEnv);
  EXPECT_EQ(run.config.upstreams[1].listeners[0].remote_opt_in, conf::RemoteOptIn::No);
}

TEST(Instance, TooLongSocketPathsAndPortsOutOfRangeAreFoundAtStart) {
  const std::string directory = "/" + std::string(90, 'd');
  EXPECT_THAT(errors("--unix-socket " + directory + " p:r:i"),
              ElementsAre(HasSubstr(directory + "/p:r:i/.s.PGSQL.5432")));
  EXPECT_THAT(errors("--port 65535 p:r:a p:r:b"),
              ElementsAre("[p:r:b] no port is left for it: choose a lower --port, or give it a ?port="));
}

}  // namespace
}  // namespace sidepool::cli::test
