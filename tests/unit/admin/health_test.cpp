// tests/unit/admin/health_test.cpp -- what the probes answer.
#include "src/admin/health.h"

#include <gtest/gtest.h>

namespace sidepool::admin {
namespace {

using std::chrono::milliseconds;

struct Process {
  Life life = Life::Serving;
  Clients clients;
  std::string trouble;
  std::vector<Heartbeat> beats{{"control", milliseconds{20}}, {"worker 0", milliseconds{900}}};
  std::vector<std::string> logged;
  int asked = 0;
  bool started = true;

  Health health() {
    return {[this] { return life; },
            [this] { return clients; },
            [this] { return trouble; },
            [this] {
              ++asked;
              return beats;
            },
            [this](const std::string& why) { logged.push_back(why); },
            [this] { return started; }};
  }
};

TEST(Health, Startup) {
  Process p;
  p.life = Life::Starting;
  EXPECT_EQ(startup(p.health()).status, 503);
  EXPECT_EQ(startup(p.health()).body, "error");
  for (const Life life : {Life::Serving, Life::Stopping}) {
    p.life = life;
    EXPECT_EQ(startup(p.health()).status, 200);
    EXPECT_EQ(startup(p.health()).body, "ok");
  }
}

TEST(Health, AProcessThatNeverReachedItsInstanceHasNotStarted) {
  Process p;
  p.started = false;
  EXPECT_EQ(startup(p.health()).status, 503);
  EXPECT_EQ(readiness(p.health()).body, "proxy is not started");
  EXPECT_FALSE(is_ready(p.health()));
  p.trouble = "no valid certificate";
  EXPECT_EQ(readiness(p.health()).body, p.trouble) << "why, if that is known";
  EXPECT_EQ(liveness(p.health()).status, 200) << "a restart would not help";
  p.trouble.clear();
  p.started = true;
  EXPECT_EQ(startup(p.health()).status, 200);
  EXPECT_TRUE(is_ready(p.health()));
}

TEST(Health, Readiness) {
  Process p;
  EXPECT_EQ(readiness(p.health()).status, 200);
  EXPECT_EQ(readiness(p.health()).body, "ok");
  EXPECT_TRUE(p.logged.empty());
  p.life = Life::Starting;
  EXPECT_EQ(readiness(p.health()).status, 503);
  EXPECT_EQ(readiness(p.health()).body, "proxy is not started");
  p.life = Life::Stopping;
  EXPECT_EQ(readiness(p.health()).body, "proxy has stopped");
  p.life = Life::Serving;
  p.trouble = "the client certificate has expired";
  EXPECT_EQ(readiness(p.health()).status, 503);
  EXPECT_EQ(readiness(p.health()).body, p.trouble);
  EXPECT_EQ(p.logged.size(), 5u);
}

TEST(Health, DeepReadinessLooksFurtherOnlyWhenAllElseIsWell) {
  Process p;
  int tests = 0;
  Health health = p.health();
  health.unreached = [&tests] {
    ++tests;
    return std::string{"i refuses connections"};
  };
  EXPECT_EQ(readiness(health).status, 200);
  EXPECT_EQ(tests, 0) << "nobody asked";
  EXPECT_EQ(readiness(health, true).status, 503);
  EXPECT_EQ(readiness(health, true).body, "i refuses connections");
  EXPECT_EQ(p.logged.size(), 2u);
  p.life = Life::Stopping;
  EXPECT_EQ(readiness(health, true).body, "proxy has stopped");
  EXPECT_EQ(tests, 2);
  EXPECT_EQ(readiness({}, true).status, 200);
}

TEST(Health, ReadinessKnowsTheLimitOfClients) {
  Process p;
  p.clients = {9, 10};
  EXPECT_EQ(readiness(p.health()).status, 200);
  for (const std::uint64_t open : {10u, 11u}) {
    p.clients.open = open;
    EXPECT_EQ(readiness(p.health()).status, 503);
    EXPECT_EQ(readiness(p.health()).body,
              "max connections reached (open = " + std::to_string(open) + ", max = 10)");
  }
  p.clients = {1000, 0};
  EXPECT_EQ(readiness(p.health()).status, 200) << "0 means no limit";
}

TEST(Health, LivenessNamesTheLoopThatHangs) {
  Process p;
  EXPECT_EQ(liveness(p.health()).status, 200);
  EXPECT_EQ(liveness(p.health()).body, "ok");
  p.beats[1].age = kHung;
  EXPECT_EQ(liveness(p.health()).status, 200);
  p.beats[1].age = milliseconds{7300};
  EXPECT_EQ(liveness(p.health()).status, 503);
  EXPECT_EQ(liveness(p.health()).body, "worker 0 has not moved for 7 s");
}

// A process that was frozen finds all its heartbeats old, and is given time to turn its loops once.
TEST(Health, LivenessWaitsForALoopThatWakesUp) {
  Process p;
  Health health = p.health();
  health.heartbeats = [&p] {
    return std::vector<Heartbeat>{{"control", milliseconds{++p.asked < 4 ? 60'000 : 3}}};
  };
  EXPECT_EQ(liveness(health).status, 200);
  EXPECT_EQ(p.asked, 4);
}

TEST(Health, NothingToTellIsHealthy) {
  EXPECT_EQ(startup({}).status, 200);
  EXPECT_EQ(readiness({}).status, 200);
  EXPECT_EQ(liveness({}).status, 200);
}

}  // namespace
}  // namespace sidepool::admin
