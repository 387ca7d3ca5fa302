// tests/unit/upstream/resolver_test.cpp -- lookups that work, fail, hang and are given up.
#include "src/upstream/resolver.h"

#include <gtest/gtest.h>
#include <netdb.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/support/loops.h"
#include "tests/support/name_server.h"

namespace sidepool::upstream {
namespace {

using test::make_loop;
using test::run_until;

// A name server that answers when the test says so.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0, served = 0;
  bool open = true;
  void close() {
    std::lock_guard lock(mutex);
    open = false;
    waiting = served = 0;
  }
  void release() {
    std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
  void await_waiting(int n) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting >= n; });
  }
  void await_served(int n) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return served >= n; });
  }
} g_gate;

int lookup(const std::string& host, std::uint16_t port, Addresses& found) {
  {
    std::unique_lock lock(g_gate.mutex);
    ++g_gate.waiting;
    g_gate.changed.notify_all();
    g_gate.changed.wait(lock, [] { return g_gate.open; });
    ++g_gate.served;
    g_gate.changed.notify_all();
  }
  if (host == "unknown.example") return EAI_NONAME;
  if (host == "empty.example") return 0;
  found.push_back(*io::SocketAddress::from_ip("192.0.2.1", port));
  found.push_back(*io::SocketAddress::from_ip("2001:db8::1", port));
  return 0;
}

struct Asker {
  Resolution resolution;
  std::optional<Result<Addresses>> answer;
  Status ask(Resolver& r, io::Loop& loop, const char* host) {
    return resolution.start(r, loop, {host, 5432}, this, [](void* self, Result<Addresses> a) noexcept {
      static_cast<Asker*>(self)->answer = std::move(a);
    });
  }
};

TEST(Resolution, LiteralsAndUnixSocketsNeedNoLookup) {
  EXPECT_EQ((**Resolution::without_lookup({"10.0.0.5", 6432})).front().text(), "10.0.0.5:6432");
  EXPECT_EQ((**Resolution::without_lookup({"::1", 6432})).front().text(), "[::1]:6432");
  EXPECT_EQ((**Resolution::without_lookup({"/run/pg", 5433})).front().text(), "/run/pg/.s.PGSQL.5433");
  EXPECT_EQ((**Resolution::without_lookup({"db.example", 5432, "10.0.0.9"})).front().text(), "10.0.0.9:5432");
  EXPECT_FALSE(Resolution::without_lookup({"db.example", 5432}));
  const auto too_long = Resolution::without_lookup({"/" + std::string(200, 'x'), 5432});
  ASSERT_TRUE(too_long);
  EXPECT_FALSE(*too_long);
}

TEST(Resolver, AnswersAreDeliveredOnTheLoop) {
  auto loop = make_loop();
  Resolver resolver(2, &lookup);
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 50; ++i) {
    askers.push_back(std::make_unique<Asker>());
    ASSERT_TRUE(askers.back()->ask(resolver, *loop, "db.example"));
    EXPECT_FALSE(askers.back()->answer);
  }
  for (auto& a : askers) {
    run_until(*loop, [&] { return a->answer.has_value(); });
    ASSERT_TRUE(*a->answer);
    EXPECT_EQ((**a->answer)[1].text(), "[2001:db8::1]:5432");
  }
}

TEST(Resolver, FailuresSayTheNameAndWhy) {
  auto loop = make_loop();
  Resolver resolver(1, &lookup);
  for (const char* host : {"unknown.example", "empty.example"}) {
    Asker a;
    ASSERT_TRUE(a.ask(resolver, *loop, host));
    run_until(*loop, [&] { return a.answer.has_value(); });
    ASSERT_FALSE(*a.answer);
    EXPECT_EQ(a.answer->error().reason, "dns");
    EXPECT_NE(a.answer->error().what.find(host), std::string::npos);
  }
}

TEST(Resolver, ALookupThatHangsHoldsNeitherTheLoopNorTheResolver) {
  g_gate.close();
  {
    auto loop = make_loop();
    Resolver resolver(1, &lookup);
    auto hangs = std::make_unique<Asker>(), queued = std::make_unique<Asker>(),
         kept = std::make_unique<Asker>();
    ASSERT_TRUE(hangs->ask(resolver, *loop, "db.example"));
    g_gate.await_waiting(1);
    ASSERT_TRUE(queued->ask(resolver, *loop, "db.example"));
    hangs.reset();   // inside getaddrinfo
    queued.reset();  // not begun
    ASSERT_TRUE(kept->ask(resolver, *loop, "db.example"));
  }  // the loop closes and the resolver goes while the thread still hangs
  g_gate.release();
  g_gate.await_served(1);
}

TEST(Resolver, MoreThreadsCarryOnWhileOneHangs) {
  auto loop = make_loop();
  Resolver resolver(3, &lookup);
  g_gate.close();
  Asker a, b, c, d;
  for (Asker* x : {&a, &b, &c, &d}) ASSERT_TRUE(x->ask(resolver, *loop, "db.example"));
  g_gate.await_waiting(3);
  g_gate.release();
  for (Asker* x : {&a, &b, &c, &d}) run_until(*loop, [&] { return x->answer.has_value(); });
}

// Lookups that reached the name server for asking twice, with `between` done in the middle.
int lookups_of_two(Resolver& resolver, const char* host, const std::function<void()>& between) {
  auto loop = make_loop();
  int before = 0;
  {
    std::lock_guard lock(g_gate.mutex);
    before = g_gate.served;
  }
  for (int i = 0; i < 2; ++i) {
    Asker a;
    EXPECT_TRUE(a.ask(resolver, *loop, host));
    EXPECT_FALSE(a.answer) << "never from inside start()";
    run_until(*loop, [&] { return a.answer.has_value(); });
    if (*a.answer) {
      EXPECT_EQ((**a.answer).front().text(), "192.0.2.1:5432");
    }
    if (i == 0) between();
  }
  std::lock_guard lock(g_gate.mutex);
  return g_gate.served - before;
}

TEST(Resolver, AnAnswerIsUsedForItsTimeToLive) {
  const auto nothing = [] {};
  Resolver r(1, &lookup);
  EXPECT_EQ(lookups_of_two(r, "a.example", nothing), 2) << "none is set";
  r.set_ttl(std::chrono::hours(1));
  EXPECT_EQ(lookups_of_two(r, "b.example", nothing), 1);
  EXPECT_EQ(lookups_of_two(r, "b.example", nothing), 0);
  EXPECT_EQ(lookups_of_two(r, "c.example", [&r] { r.forget({"c.example", 5432}); }), 2);
  EXPECT_EQ(lookups_of_two(r, "d.example", [&r] { r.forget({"d.example", 1}); }), 1) << "another endpoint";
  EXPECT_EQ(lookups_of_two(r, "unknown.example", nothing), 2) << "failures are not kept";
  EXPECT_EQ(lookups_of_two(r, "empty.example", nothing), 2);
  EXPECT_EQ(lookups_of_two(r, "e.example", [&r] { r.set_ttl(std::chrono::nanoseconds(1)); }), 2)
      << "an answer grows old";
  r.set_ttl(Duration::zero());
  EXPECT_EQ(lookups_of_two(r, "b.example", nothing), 2) << "also what was kept before";
}

TEST(Resolver, NameServersOfTheConfigurationAreAsked) {
  test::NameServer server;
  server.set("db.example.com", test::kA, {{test::kA, {127, 0, 0, 9}}});
  server.set("db.example.com", test::kAaaa, {});
  const auto loop = make_loop();
  const auto resolver = Resolver::create(1, {server.address()});
  Asker asker;
  ASSERT_TRUE(asker.ask(*resolver, *loop, "db.example.com"));
  run_until(*loop, [&] { return asker.answer.has_value(); });
  ASSERT_TRUE(*asker.answer) << asker.answer->error().what;
  EXPECT_EQ((**asker.answer)[0].host(), "127.0.0.9");
  asker.answer.reset();
  ASSERT_TRUE(asker.ask(*resolver, *loop, "other.example.com"));
  run_until(*loop, [&] { return asker.answer.has_value(); });
  EXPECT_EQ(asker.answer->error().reason, "dns");
}

TEST(Resolver, TheSystemKnowsLocalhost) {
  auto loop = make_loop();
  Resolver resolver;
  Asker a;
  ASSERT_TRUE(a.ask(resolver, *loop, "localhost"));
  run_until(*loop, [&] { return a.answer.has_value(); });
  ASSERT_TRUE(*a.answer) << a.answer->error().what;
  EXPECT_TRUE((**a.answer).front().is_loopback());
  EXPECT_EQ((**a.answer).front().port(), 5432);
}

}  // namespace
}  // namespace sidepool::upstream
