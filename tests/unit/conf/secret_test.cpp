// tests/unit/conf/secret_test.cpp -- secrets compare, copy and move as values; messages quote strangers
// safely.
#include "conf/secret.h"

#include <gtest/gtest.h>

#include <ostream>
#include <type_traits>

#include "conf/diagnostic.h"

namespace sidepool::conf {
namespace {

template <class T, class = void>
struct Printable : std::false_type {};
template <class T>
struct Printable<T, std::void_t<decltype(std::declval<std::ostream&>() << std::declval<const T&>())>>
    : std::true_type {};

TEST(Secret, IsAValueThatDoesNotPrint) {
  static_assert(!Printable<Secret>::value);
  static_assert(!std::is_convertible_v<Secret, std::string_view>);
  Secret a("hunter2");
  Secret b = a;
  EXPECT_EQ(a, b);
  EXPECT_EQ(b.reveal(), "hunter2");
  const Secret c = std::move(a);
  EXPECT_EQ(c, b);
  b = Secret("hunter3");
  EXPECT_FALSE(b == c);
  EXPECT_FALSE(Secret("a") == Secret("ab"));
  b = c;
  EXPECT_EQ(b, c);
  EXPECT_TRUE(Secret().empty());
  EXPECT_EQ(Secret(), Secret(""));
}

TEST(Secret, WipingOverwrites) {
  char bytes[] = "password";
  wipe(bytes, 8);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(bytes[i], 0);
}

TEST(Diagnostic, QuotesTextOfStrangers) {
  EXPECT_EQ(in_quotes("a\"b\\c\n\x1b"), "\"a\\\"b\\\\c\\x0a\\x1b\"");
  EXPECT_EQ(in_quotes(std::string(200, 'x')), "\"" + std::string(160, 'x') + "\"...");
}

TEST(Diagnostic, GuessesTheNearestName) {
  const std::vector<std::string_view> names = {"size", "min_size", "mode", "query_timeout",
                                               "query_wait_timeout"};
  EXPECT_EQ(nearest("sise", names), "size");
  EXPECT_EQ(nearest("szie", names), "size");
  EXPECT_EQ(nearest("minsize", names), "min_size");
  EXPECT_EQ(nearest("MODE", names), "mode");
  EXPECT_EQ(nearest("query-wait-timeout", names), "query_wait_timeout");
  EXPECT_EQ(nearest("qurey_timeuot", names), "query_timeout");
  EXPECT_EQ(nearest("zzzzzz", names), std::nullopt);
  EXPECT_EQ(nearest("query_wait", names), "query_wait_timeout");
  EXPECT_EQ(nearest("", names), std::nullopt);
  EXPECT_EQ(nearest(std::string(10000, 's'), names), std::nullopt);
}

TEST(Diagnostic, NamesItsPlace) {
  EXPECT_EQ(to_string(Diagnostic{"f.toml", {3, 7}, "bad"}), "f.toml:3:7: bad");
  EXPECT_EQ(to_string(Diagnostic{"f.toml", {}, "bad"}), "f.toml: bad");
  EXPECT_EQ(to_string(Diagnostic{{}, {}, "bad"}), "bad");
}

TEST(Places, FollowTheUpstreamsThatAreKept) {
  Places places("f");
  places.set("upstream[1].pool.size", {5, 1});
  places.set("upstream[10].name", {9, 1});
  places.set("pool.size", {2, 1});
  places.renumber_upstreams({std::nullopt, 1});
  EXPECT_EQ(places.find("upstream[1].pool.size"), (Position{5, 1}));
  EXPECT_FALSE(places.has("upstream[10].name"));
  EXPECT_TRUE(places.has("pool.size"));
  places.renumber_upstreams({1});
  EXPECT_TRUE(places.has("upstream[0].pool.size"));
}

}  // namespace
}  // namespace sidepool::conf
