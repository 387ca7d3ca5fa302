// tests/unit/worker/worker_test.cpp -- workers with real sockets: logins, hand-overs, ends, cancels.
#include <poll.h>

#include <filesystem>

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

TEST(Worker, AClientThatNeverTypesItsPasswordHoldsUpNobody) {
  for (const std::uint16_t workers : {std::uint16_t{1}, std::uint16_t{2}}) {
    FakeDatabase database;
    conf::PoolConfig pool;
    pool.max_server_connections = 1;
    Farm farm(database, workers, pool);
    auto silent = farm.client(0);
    silent.start();
    EXPECT_EQ(silent.read().type, 'R');
    database.wait_open(1);
    auto other = farm.client(workers - 1);
    EXPECT_EQ(other.login(), "");
    EXPECT_EQ(other.query("select 1"), "");
    // It may take its time, and is let in on what the other one's login has taught.
    protocol::Buffer b;
    protocol::password_message(b, "secret");
    silent.send(b);
    EXPECT_EQ(silent.until_ready(), "");
    EXPECT_EQ(silent.query("select 2"), "");
    EXPECT_EQ(database.most_open, 1);
  }
}

TEST(Worker, AnAnswerThatComesTooLateIsTriedNevertheless) {
  FakeDatabase database;
  conf::PoolConfig pool;
  pool.max_server_connections = 1;
  Farm farm(database, 1, pool);
  std::vector<FakeClient> silent;
  for (int i = 0; i < 3; ++i) {
    silent.push_back(farm.client());
    silent.back().start();
    EXPECT_EQ(silent.back().read().type, 'R');
  }
  for (auto& c : silent) {
    protocol::Buffer b;
    protocol::password_message(b, &c == &silent[1] ? "wrong" : "secret");
    c.send(b);
  }
  EXPECT_EQ(silent[0].until_ready(), "");
  EXPECT_EQ(silent[1].until_ready(), "28P01");
  EXPECT_EQ(silent[2].until_ready(), "");
  EXPECT_EQ(database.most_open, 1);
}

TEST(Worker, AServerThatLosesPatienceIsNoErrorOfTheClient) {
  FakeDatabase database;
  Farm farm(database);
  auto slow = farm.client();
  slow.start();
  EXPECT_EQ(slow.read().type, 'R');
  database.wait_open(1);
  database.kill_all();
  database.wait_open(0);
  farm.wait([&] { return farm.counts().slots == 0; });
  protocol::Buffer b;
  protocol::password_message(b, "secret");
  slow.send(b);
  EXPECT_EQ(slow.until_ready(), "");
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

TEST(Worker, APasswordThatWasRightGoesAheadOfThoseOfStrangers) {
  FakeDatabase db;
  auto pool = of_size(3);
  pool.auth_ttl = Duration(1);  // every login is tried
  Farm farm(db, 1, pool);
  auto first = farm.client();
  ASSERT_EQ(first.login(), "");
  db.hold_wrong(true);
  std::vector<FakeClient> clients;
  const auto ask = [&](const char* password) {
    clients.push_back(farm.client());
    clients.back().start();
    EXPECT_EQ(clients.back().read().type, 'R');
    protocol::Buffer b;
    protocol::password_message(b, password);
    clients.back().send(b);
  };
  ask("wrong 1");
  farm.wait([&] { return db.passwords().size() == 2; });
  const auto id = farm.shared.upstreams[0]->find("db", "app")->id;
  const auto waiting = [&] {
    return farm.shared.upstreams[0]->broker.counts(id, steady_now()).waiting_logins;
  };
  for (const char* password : {"wrong 2", "wrong 3", "secret"}) {
    const auto before = waiting();
    ask(password);
    farm.wait([&] { return waiting() == before + 1; });
  }
  db.hold_wrong(false);
  for (auto& c : clients) EXPECT_EQ(c.until_ready(), &c == &clients.back() ? "" : "28P01");
  EXPECT_EQ(db.passwords(), (std::vector<std::string>{"secret", "wrong 1", "secret", "wrong 2", "wrong 3"}));
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

// The limit is a worker's, over all connections: one guess a connection buys nothing, and the connections
// that are held are few.
TEST(Worker, WrongCancelKeysAreLimitedOverAllConnections) {
  FakeDatabase database;
  Farm farm(database);
  auto client = farm.client();
  ASSERT_EQ(client.login(), "");
  const auto rate = farm.config->server.cancel_mismatch_rate;
  std::vector<FakeClient> guesses;
  std::vector<pollfd> open;
  const auto began = steady_now();
  for (std::uint32_t n = 0; n < rate + 50; ++n) {
    guesses.push_back(farm.client());
    const std::array<std::uint8_t, 4> key{0xff, 0xff, 0xff, static_cast<std::uint8_t>(n)};
    protocol::Buffer b;
    protocol::cancel_request(b, client.pid, key);
    guesses.back().send(b);
    open.push_back({guesses.back().fd(), POLLIN, 0});
  }
  std::size_t at_once = 0;
  while (!open.empty()) {
    ASSERT_GT(::poll(open.data(), open.size(), 20'000), 0);
    const bool early = steady_now() - began < std::chrono::seconds(1);
    const auto ended = std::erase_if(open, [](const pollfd& p) { return p.revents != 0; });
    if (early) at_once += ended;
  }
  EXPECT_LE(at_once, rate);
  EXPECT_EQ(database.cancels, 0);
  // A flood takes no more descriptors than the limit of connections that are held.
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                         std::filesystem::directory_iterator());
  };
  guesses.clear();
  const auto before = descriptors();
  for (std::uint32_t n = 0; n < 300; ++n) {
    auto guess = farm.client();
    protocol::Buffer b;
    protocol::cancel_request(b, client.pid, std::array<std::uint8_t, 4>{0xff, 0xff, 0xff, 0});
    guess.send(b);
    guess.close();
  }
  farm.wait([&] { return farm.shared.clients == 1; });
  EXPECT_LE(descriptors() - before, 64);
  EXPECT_EQ(client.query("select 1"), "");
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
