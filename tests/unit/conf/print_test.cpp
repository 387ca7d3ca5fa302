// tests/unit/conf/print_test.cpp -- what is printed reads back; what is written about the keys is current.
#include "conf/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "conf/reference.h"
#include "conf/schema.h"
#include "tests/unit/conf/load.h"

namespace sidepool::conf {
namespace {

using test::load;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Tests run in the root of the checkout (tests/CMakeLists.txt): __FILE__ is relative where ccache has made it
// so.
std::string file(const std::string& name) {
  std::ifstream in(name);
  EXPECT_TRUE(in) << name << " is not there: run the test in the root of the checkout";
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Print, ReadsBackAsTheSameConfiguration) {
  const std::string texts[] = {"[[upstream]]\ninstance = 'p:r:i'\n", file("conf/examples/sidepool.toml"), R"(
[server]
unix_socket_mode = 0
dns_servers = ["10.0.0.2", "[::1]:5353"]
[pool]
ignore_startup_parameters = ["a"]
startup_parameters = { "x.y" = "a\"b\\c\u0009d" }
max_message = 12345
query_wait_timeout = 0
[[upstream]]
name = "quote \" and é"
hosts = ["unix:/run", "[::1]:1"]
listen = ["[::1]:1", "unix:/x/.s.PGSQL.9"]
[upstream.pool]
startup_parameters = {}
ignore_startup_parameters = []
[shutdown]
max_sigterm_delay = 0
min_sigterm_delay = 3
exit_when_idle = 0
[cloudsql]
impersonate = ["a@b", "c@d"]
[metrics]
namespace = "ns"
)"};
  for (std::string text : texts) {
    // A tab is a control character and refused; the escape shows that quoting is done.
    if (const auto at = text.find("\\u0009"); at != std::string::npos) text.erase(at, 6);
    const auto first = load(text);
    ASSERT_THAT(first.errors, IsEmpty()) << text;
    const std::string printed = print_config(first.config);
    auto second = load(printed);
    ASSERT_THAT(second.errors, IsEmpty()) << printed;
    for (std::size_t i = 0; i < second.config.users.size(); ++i) {
      EXPECT_EQ(second.config.users[i].password.reveal(), "********");
      second.config.users[i].password = first.config.users[i].password;
    }
    EXPECT_EQ(first.config, second.config) << printed;
    EXPECT_EQ(printed, print_config(second.config));
  }
}

TEST(Print, MasksSecrets) {
  const auto loaded = load("[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\ntoken = 'very-secret'\n");
  const std::string printed = print_config(loaded.config);
  EXPECT_THAT(printed, Not(HasSubstr("very-secret")));
  EXPECT_THAT(printed, HasSubstr("token = \"********\"  # masked"));
}

TEST(Print, SaysInAFileWhatAFlagOptedInTo) {
  auto loaded = load("[[upstream]]\ninstance = 'p:r:i'\nlisten = '0.0.0.0:1'\n");
  loaded.config.upstreams[0].listeners[0].remote_opt_in = RemoteOptIn::FlagOrEnv;
  EXPECT_THAT(print_config(loaded.config), HasSubstr("allow_remote = true"));
}

TEST(Reference, ThePageInTheRepositoryIsCurrent) {
  EXPECT_TRUE(file("docs/reference.md") == reference_page())
      << "build the target reference_page and run: reference_page > docs/reference.md";
}

// Rows are written by hand: no name twice, a text for each, the default inside the range.
void check_rows(const Section& section, void* here) {
  std::vector<std::string_view> names;
  for (const Key& key : section.keys) {
    SCOPED_TRACE(std::string(section.path) + "." + std::string(key.name));
    EXPECT_EQ(std::count(names.begin(), names.end(), key.name), 0);
    names.push_back(key.name);
    EXPECT_GT(key.help.size(), 5U);
    EXPECT_EQ(key.help.find('|'), std::string_view::npos);
    const Field field = key.field(here);
    if (auto* number = std::get_if<std::uint32_t*>(&field)) {
      EXPECT_GE(**number, key.range.min);
      EXPECT_LE(**number, key.range.max);
    }
    if (auto* duration = std::get_if<Duration*>(&field)) {
      EXPECT_GE((*duration)->count(), key.range.min);
      EXPECT_LE((*duration)->count(), key.range.max);
      EXPECT_EQ((*duration)->count() % key.range.step, 0);
    }
    EXPECT_EQ(std::holds_alternative<Choice>(field), !key.choices.empty());
  }
  for (const Section* inner : section.tables) {
    if (inner->inside) check_rows(*inner, inner->inside(here));
  }
}

TEST(Schema, RowsAreConsistentWithTheStructs) {
  Config config;
  Upstream upstream;
  User user;
  check_rows(root_section(), &config);
  check_rows(upstream_section(), &upstream);
  check_rows(user_section(), &user);
}

}  // namespace
}  // namespace sidepool::conf
