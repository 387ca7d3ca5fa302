// tests/e2e/isolation/main.cpp -- hundreds of clients, each with its own marker, disturbed in every way; none
// may read another's byte, and no statement may be lost or carried out twice.
//
//   isolation --pooled HOST:PORT --direct HOST:PORT --clients N --seconds N --size N [--seed N] [--least N]
//
// Databases, users and tables: tests/e2e/lib/isolation.py. Server connections are killed here, by a direct
// connection; who restarts PostgreSQL meanwhile does so from outside. Exit code 0: no finding, and at least
// `--least` transactions.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "tests/e2e/isolation/client.h"

namespace sidepool::isolation {
namespace {

using load_client::Clock;
using load_client::Message;
using load_client::RawClient;

struct Arguments {
  unsigned clients = 300, size = 5;
  std::uint64_t seconds = 60, least = 1000;
  std::string superuser = "postgres";
};

Clock::time_point soon() { return Clock::now() + std::chrono::seconds(60); }

// Rows of text over a direct connection; nullopt when that is lost.
class Direct {
 public:
  Direct(const World& world, std::string user, std::string database)
      : world_(world), user_(std::move(user)), database_(std::move(database)) {}
  std::optional<std::vector<std::vector<std::string>>> ask(const std::string& query) {
    if (!c_.connected() &&
        (!c_.connect(world_.direct) || !login(c_, {{"user", user_}, {"database", database_}}, soon()).in)) {
      c_.close();
      return std::nullopt;
    }
    protocol::Buffer out;
    protocol::query(out, query);
    c_.send(out, soon());
    std::vector<std::vector<std::string>> rows;
    Message m;
    while (c_.read(m, soon()) == RawClient::Got::Message) {
      if (m.type == 'Z') return rows;
      if (m.type == 'E') std::printf("control: %s\n", load_client::error_text(m.body).message.c_str());
      if (m.type != 'D') continue;
      protocol::Reader r(protocol::as_bytes(m.body));
      auto& row = rows.emplace_back(r.u16());
      for (auto& value : row) {
        const auto size = r.u32();
        if (size != 0xFFFFFFFF) value = protocol::as_text(r.bytes(size));
      }
    }
    c_.close();
    return std::nullopt;
  }

 private:
  const World& world_;
  std::string user_, database_;
  RawClient c_;
};

// Kills servers at random, and counts them: never more than the pool's size.
void disturb(World& world, Tally& tally, const Arguments& a) {
  std::mt19937_64 random(world.seed);
  Direct control(world, a.superuser, "postgres");
  while (!world.stop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50 + random() % 300));
    const auto servers = control.ask(
        "select datname, usename, count(*) from pg_stat_activity where backend_type = 'client backend' and "
        "usename <> '" +
        a.superuser + "' group by 1, 2");
    if (!servers) continue;
    ++tally.sweeps;
    for (const auto& s : *servers) {
      if (std::stoul(s[2]) > a.size) tally.find("BOUND: " + s[2] + " servers of " + s[0] + "/" + s[1]);
    }
    if (random() % 3 != 0) continue;
    const auto killed = control.ask(
        "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where backend_type = "
        "'client backend' and "
        "usename <> '" +
        a.superuser + "' order by random() limit " + std::to_string(1 + random() % 2) + ") s");
    if (killed) tally.killed += killed->size();
  }
}

// Every write once or not at all, as its client was told.
void check_journal(const World& world, Tally& tally, const Arguments& a,
                   const std::vector<std::unique_ptr<Client>>& clients) {
  for (const auto& database : world.databases) {
    Direct control(world, a.superuser, database);
    const auto rows = control.ask("select marker, n, count(*) from journal group by 1, 2");
    if (!rows) return tally.find("the journal of " + database + " cannot be read");
    std::map<std::pair<std::string, std::uint64_t>, unsigned long> found;
    for (const auto& r : *rows) found[{r[0], std::stoull(r[1])}] = std::stoul(r[2]);
    for (const auto& c : clients) {
      if (c->database() != database) continue;
      for (const auto& [n, fate] : c->journal()) {
        const auto at = found.find({c->marker(), n});
        const auto times = at == found.end() ? 0UL : at->second;
        const auto what = c->marker() + " number " + std::to_string(n);
        if (times > 1) tally.find("REPEATED: " + what + ", " + std::to_string(times) + " times");
        if (times == 0 && fate == Fate::Committed) tally.find("LOST: " + what);
        if (times > 0 && fate == Fate::Absent) tally.find("UNWANTED: " + what);
      }
    }
  }
}

void print(const Tally& t) {
  const auto line = [](const char* what, const Tally::Count& n) {
    std::printf("  %-26s %llu\n", what, static_cast<unsigned long long>(n));
  };
  line("transactions as expected", t.transactions);
  line("errors as expected", t.errors_expected);
  line("messages searched", t.checks);
  line("rows", t.rows);
  line("journal writes", t.writes);
  line("  of unknown outcome", t.uncertain);
  line("named statements", t.prepared);
  line("settings", t.settings);
  line("temporary tables", t.temp_tables);
  line("advisory locks", t.locks);
  line("COPY", t.copies);
  line("large results", t.large);
  line("logins", t.logins);
  line("logins refused", t.refused_logins);
  line("cancel requests", t.cancels);
  line("  that cancelled", t.cancelled);
  line("RST in a result", t.resets);
  line("half messages", t.half_messages);
  line("left in a transaction", t.abandoned);
  line("servers killed", t.killed);
  line("connections lost", t.lost_connections);
  line("counts of the bound", t.sweeps);
  for (const auto& f : t.findings()) std::printf("FINDING %s\n", f.c_str());
  std::printf("%llu findings\n", static_cast<unsigned long long>(t.found()));
}

int run(World& world, const Arguments& a) {
  Tally tally;
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < a.clients; ++i) {
    clients.push_back(std::make_unique<Client>(world, tally, i + 1));
    threads.emplace_back([c = clients.back().get()] { c->live(); });
  }
  std::thread disturber([&] { disturb(world, tally, a); });
  const auto end = Clock::now() + std::chrono::seconds(a.seconds);
  auto report = Clock::now() + std::chrono::minutes(5);
  while (Clock::now() < end && tally.found() < 20) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (Clock::now() < report) continue;
    report = Clock::now() + std::chrono::minutes(5);
    std::printf("so far: %llu transactions, %llu findings\n",
                static_cast<unsigned long long>(tally.transactions),
                static_cast<unsigned long long>(tally.found()));
    std::fflush(stdout);
  }
  world.stop = true;
  disturber.join();
  for (auto& t : threads) t.join();
  check_journal(world, tally, a, clients);
  print(tally);
  const bool useful =
      tally.transactions >= a.least && tally.writes > 0 && tally.killed > 0 && tally.cancelled > 0;
  if (!useful)
    std::printf("too little has happened to mean anything (--least %llu)\n",
                static_cast<unsigned long long>(a.least));
  return tally.found() > 0 || !useful ? 1 : 0;
}

}  // namespace
}  // namespace sidepool::isolation

int main(int argc, char** argv) {
  sidepool::isolation::World world;
  sidepool::isolation::Arguments a;
  world.databases = {"iso_a", "iso_b"};
  world.users = {"iso_one", "iso_two"};
  bool pooled = false, direct = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const char* value = argv[i + 1];
    const auto number = std::strtoull(value, nullptr, 10);
    const auto address = sidepool::load_client::parse_address(value);
    if (name == "--pooled" && address) world.pooled = *address, pooled = true;
    if (name == "--direct" && address) world.direct = *address, direct = true;
    if (name == "--clients") a.clients = static_cast<unsigned>(number);
    if (name == "--seconds") a.seconds = number;
    if (name == "--size") a.size = static_cast<unsigned>(number);
    if (name == "--seed") world.seed = number;
    if (name == "--least") a.least = number;
  }
  if (!pooled || !direct) {
    std::fprintf(
        stderr,
        "usage: isolation --pooled HOST:PORT --direct HOST:PORT [--clients N] [--seconds N] [--size N] "
        "[--seed N] [--least N]\n");
    return 2;
  }
  return sidepool::isolation::run(world, a);
}
