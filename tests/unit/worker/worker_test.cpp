// tests/unit/worker/worker_test.cpp -- workers with real sockets: logins, hand-overs, ends, cancels.
#include "tests/unit/worker/farm.h"

namespace sidepool::test {
namespace {

conf::PoolConfig of_size(std::uint32_t size) {
  conf::PoolConfig p;
  p.size = size;
  return p;
}

TEST(Worker, ServesAClient) {
  FakeDatabase db;
  Farm farm(db);
  auto c = farm.client();
  ASSERT_EQ(c.login(), "");
  EXPECT_EQ(c.query("hello"), "");
  EXPECT_EQ(c.rows, std::vector<std::string>{"hello@1"});
}

TEST(Worker, StopsWithNothingToDo) {
  FakeDatabase db;
  Farm farm(db, 2);
}

TEST(Worker, LoginsLeftHalfWayGiveTheirSlotsBack) {
  FakeDatabase db;
  Farm farm(db, 1, of_size(1));
  for (int i = 0; i < 8; ++i) {
    auto c = farm.client();
    c.start();
    EXPECT_EQ(c.read().type, 'R');
    c.close();
  }
  farm.wait([&] { return farm.counts().slots == 0; });
  db.wait_open(0);
  for (int i = 0; i < 3; ++i) {
    auto c = farm.client();
    EXPECT_EQ(c.login("wrong"), "28P01");
  }
  auto rude = farm.client();
  rude.start();
  EXPECT_EQ(rude.read().type, 'R');
  rude.ask("no password at all");
  EXPECT_EQ(rude.until_ready(), "08P01");
  auto c = farm.client();
  EXPECT_EQ(c.login(), "");
  EXPECT_EQ(c.query("x"), "");
}

TEST(Worker, WrongPasswordsBesideAPoolTakeNoServer) {
  FakeDatabase db;
  Farm farm(db, 2, of_size(2));
  auto good = farm.client();
  ASSERT_EQ(good.login(), "");
  for (std::size_t i = 0; i < 6; ++i) {
    auto bad = farm.client(i % 2);
    EXPECT_EQ(bad.login("wrong"), "28P01");
    EXPECT_EQ(good.query("x"), "");
  }
  farm.wait([&] { return farm.counts().slots <= 2 && farm.counts().opening == 0; });
}

TEST(Worker, OneServerServesClientsOfAllWorkers) {
  FakeDatabase db;
  Farm farm(db, 3, of_size(1));
  std::vector<FakeClient> clients;
  for (std::size_t i = 0; i < 6; ++i) {
    clients.push_back(farm.client(i % 3));
    ASSERT_EQ(clients.back().login(), "");
  }
  for (int round = 0; round < 60; ++round) {
    for (auto& c : clients) c.ask("r" + std::to_string(round) + "c" + std::to_string(c.pid));
    for (auto& c : clients) {
      ASSERT_EQ(c.until_ready(), "");
      ASSERT_EQ(c.rows.size(), 1U);
      EXPECT_EQ(c.rows[0].rfind("r" + std::to_string(round) + "c" + std::to_string(c.pid) + "@", 0), 0U);
    }
  }
  EXPECT_EQ(db.most_open.load(), 1);
}

TEST(Worker, EverybodyWhoMeetsAColdPoolIsWelcomedInFull) {
  for (int round = 0; round < 5; ++round) {
    FakeDatabase db;
    Farm farm(db, 3, of_size(2));
    std::vector<FakeClient> clients;
    for (std::size_t i = 0; i < 30; ++i) {
      clients.push_back(farm.client(i % 3));
      clients.back().start();
    }
    protocol::Buffer secret;
    protocol::password_message(secret, "secret");
    std::vector<std::thread> threads;
    for (auto& c : clients) {
      threads.emplace_back([&c, &secret] {
        EXPECT_EQ(c.read().type, 'R');
        c.send(secret);
        EXPECT_EQ(c.until_ready(), "");
        EXPECT_EQ(c.parameters, 3U);
      });
    }
    for (auto& t : threads) t.join();
    EXPECT_LE(db.most_open.load(), 3);  // one may still be closing, which the pool counts
  }
}

TEST(Worker, ClientsThatVanishAnywhereLeaveNothingBehind) {
  FakeDatabase db;
  Farm farm(db, 2, of_size(2));
  for (std::size_t i = 0; i < 60; ++i) {
    auto c = farm.client(i % 2);
    switch (i % 6) {
      case 0:
        break;  // before it says anything
      case 1:
        c.start();
        break;
      case 2:
        ASSERT_EQ(c.login(), "");
        break;
      case 3:
        ASSERT_EQ(c.login(), "");
        c.ask("unread");
        break;
      case 4:
        ASSERT_EQ(c.login(), "");
        ASSERT_EQ(c.query("begin"), "");
        break;
      default: {
        ASSERT_EQ(c.login(), "");
        protocol::Buffer half;
        protocol::query(half, std::string(3000, 'x'));
        half.resize(2000);
        c.send(half);
      }
    }
  }
  farm.wait([&] { return farm.shared.clients.load() == 0; });
  auto c = farm.client();
  ASSERT_EQ(c.login(), "");
  EXPECT_EQ(c.query("alive"), "");
  EXPECT_LE(db.most_open.load(), 3);
}

TEST(Worker, ServersThatDieIdleAreReplaced) {
  FakeDatabase db;
  Farm farm(db, 2, of_size(2));
  auto a = farm.client(0), b = farm.client(1);
  ASSERT_EQ(a.login(), "");
  ASSERT_EQ(b.login(), "");
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(a.query("a"), "");
    ASSERT_EQ(b.query("b"), "");
    farm.wait([&] {
      db.kill_all();  // one that was still being opened is there a moment later
      return farm.counts().slots == 0;
    });
  }
}

TEST(Worker, CancelReachesTheQueryAndNothingElse) {
  FakeDatabase db;
  Farm farm(db, 2, of_size(1));
  auto c = farm.client(0), other = farm.client(1);
  ASSERT_EQ(c.login(), "");
  ASSERT_EQ(other.login(), "");
  c.ask("sleep");
  db.wait_sleeping();
  other.ask("next");
  const auto cancel = [&](std::string key) {
    auto k = farm.client(1);  // the worker of the target is in the pid
    protocol::Buffer b;
    protocol::cancel_request(b, c.pid, protocol::as_bytes(key));
    k.send(b);
    EXPECT_EQ(k.read().type, 0);
  };
  for (int i = 0; i < 20; ++i) cancel("abcd");
  EXPECT_EQ(db.cancels.load(), 0);
  cancel(c.key);
  EXPECT_EQ(c.until_ready(), "57014");
  EXPECT_EQ(other.until_ready(), "");
  EXPECT_EQ(db.cancels.load(), 1);
}

TEST(Worker, DrainSendsClientsAwayAsTheyBecomeIdle) {
  FakeDatabase db;
  Farm farm(db, 2, of_size(3));
  auto idle = farm.client(0), busy = farm.client(1), asked = farm.client(0);
  ASSERT_EQ(idle.login(), "");
  ASSERT_EQ(busy.login(), "");
  ASSERT_EQ(busy.query("begin"), "");
  asked.start();
  EXPECT_EQ(asked.read().type, 'R');
  farm.post(worker::StopStep::Drain);
  EXPECT_EQ(idle.until_ready(), "57P01");
  EXPECT_EQ(asked.until_ready(), "57P03");
  EXPECT_EQ(busy.query("still"), "");
  EXPECT_EQ(busy.query("commit"), "");
  EXPECT_EQ(busy.until_ready(), "57P01");
  farm.wait([&] { return farm.shared.clients.load() == 0; });
}

TEST(Worker, CutCancelsWhatRuns) {
  FakeDatabase db;
  Farm farm(db, 1, of_size(2));
  auto c = farm.client();
  ASSERT_EQ(c.login(), "");
  c.ask("sleep");
  db.wait_sleeping();
  farm.stop();
  EXPECT_EQ(db.cancels.load(), 1);
  EXPECT_EQ(c.until_ready(), "57P01");
}

TEST(Worker, WaitsInVainForAnswersOfADatabaseThatIsGone) {
  auto pool = of_size(1);
  pool.query_wait_timeout = std::chrono::milliseconds(300);
  auto db = std::make_unique<FakeDatabase>();
  Farm farm(*db, 1, pool);
  auto c = farm.client();
  ASSERT_EQ(c.login(), "");
  db.reset();
  farm.wait([&] { return farm.counts().slots == 0; });
  EXPECT_EQ(c.query("x"), "08001");
  EXPECT_EQ(c.query("x"), "08001") << "and the connection stays";
}

}  // namespace
}  // namespace sidepool::test
