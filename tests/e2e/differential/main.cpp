// tests/e2e/differential/main.cpp -- replays random scripts on PostgreSQL and through sidepool, and compares.
//
//   differential --direct 127.0.0.1:5432 --pooled 127.0.0.1:6432 [--seed N [--count N]] [--seconds N]
//                [--decoys N] [--keep-going] [--show]
//
// The databases "direct" and "pooled" and the superuser "script" must exist and let everybody in; see
// tests/e2e/test_differential.py. Exit code 1 after a difference, which is made as small as it gets and
// printed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "tests/e2e/differential/decoys.h"
#include "tests/e2e/differential/transcript.h"

namespace sidepool::differential {
namespace {

using load_client::Clock;
using load_client::Message;
using load_client::RawClient;

struct Arguments {
  load_client::Address direct, pooled;
  std::uint64_t seed = 1, count = ~std::uint64_t{0};
  int seconds = 0, decoys = 4;
  bool keep_going = false, show = false;
};

constexpr std::string_view kFresh =
    "set client_min_messages = error; set lock_timeout = '15s';"
    "drop view if exists vw; drop table if exists t, u; drop sequence if exists sq;"
    "create table t (id int, v text); create table u (id int primary key); create sequence sq;"
    "insert into t select g, 'row ' || g from generate_series(1, 5) g; insert into u values (1);"
    "grant all on t, u, sq to public";

// A session that has said goodbye ends in its own time, and what it holds with it.
constexpr std::string_view kFreeLocks =
    "set lock_timeout = '15s';"
    "select pg_advisory_lock(7), pg_advisory_lock(8), pg_advisory_lock(9); select pg_advisory_unlock_all()";

// Both databases as new, by a direct connection.
class Workshop {
 public:
  Workshop(const Arguments& a, std::string database) : address_(a.direct), database_(std::move(database)) {}

  bool renew() { return connected() && ask(kFreeLocks) == Outcome::Done && ask(kFresh) == Outcome::Done; }
  // False: PostgreSQL has lost its memory meanwhile, and all connections with it.
  bool same_server() { return c_.connected() && ask("") == Outcome::Done; }

 private:
  enum class Outcome { Done, Refused, Lost };
  static Clock::time_point patience() { return Clock::now() + std::chrono::seconds(30); }

  bool connected() {
    const auto until = patience();
    while (!c_.connected()) {
      if (c_.connect(address_) && login(c_, {{"user", "script"}, {"database", database_}}, until).in)
        return true;
      c_.close();
      if (Clock::now() >= until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // it recovers from a crash
    }
    return true;
  }
  Outcome ask(std::string_view text) {
    protocol::Buffer out;
    protocol::query(out, text);
    c_.send(out, patience());
    Message m;
    auto outcome = Outcome::Done;
    while (c_.read(m, patience()) == RawClient::Got::Message) {
      if (m.type == 'Z') return outcome;
      if (m.type != 'E') continue;
      outcome = Outcome::Refused;
      std::printf("control: %s\n", load_client::error_text(m.body).message.c_str());
    }
    c_.close();
    return Outcome::Lost;
  }

  load_client::Address address_;
  std::string database_;
  RawClient c_;
};

enum class Verdict { Same, GivenUp, Known, Crashed, Different };

// PostgreSQL closes without a word over some framing errors where sidepool gives a reason.
bool only_a_reason(const Replies& direct, const Replies& pooled) {
  return direct.size() + 1 == pooled.size() && direct.back() == "end" && pooled.back() == "end" &&
         std::equal(direct.begin(), direct.end() - 1, pooled.begin()) &&
         pooled[pooled.size() - 2].starts_with("Error FATAL 08");
}

// The documented way out where the order of replies cannot be known: the connection ends, never wrongly
// answered.
bool given_up(const Replies& direct, const Replies& pooled) {
  if (pooled.size() < 2 || pooled.back() != "end") return false;
  if (pooled[pooled.size() - 2].find("replies could not be followed") == std::string::npos) return false;
  const auto n = pooled.size() - 2;
  return n <= direct.size() &&
         std::equal(pooled.begin(), pooled.begin() + static_cast<std::ptrdiff_t>(n), direct.begin());
}

// The client has said Terminate: who is gone need not be answered.
bool has_left(const Exchange& e, const Replies& direct, const Replies& pooled) {
  if (e.ops.empty() || pooled.empty() || pooled.back() != "end") return false;
  const bool left = std::any_of(e.ops.begin(), e.ops.end(), [](const Op& op) { return op.leaves; });
  return left && pooled.size() <= direct.size() &&
         std::equal(pooled.begin(), pooled.end() - 1, direct.begin());
}

// A Parse of the unnamed statement that was skipped after an error leaves PostgreSQL the one before it, and
// sidepool none: the client has to parse again, as drivers do after an error. And in a failed transaction a
// statement that this server has not seen cannot be parsed, so the error is always the one about the
// transaction, also where it is only described. A custom setting that was only set locally, or reset, is
// empty on PostgreSQL from then on, and through the pool unknown on another server. A text that would run
// under the database's value of a setting where the session has a startup value is refused.
bool known_difference(const Replies& direct, const Replies& pooled) {
  static const std::string kEmptyValue = "D \\x00\\x01\\x00\\x00\\x00\\x00";
  static const std::string kStartupValue =
      "Error ERROR 0A000 SET LOCAL ... TO DEFAULT, or a statement behind a RESET";
  static const std::string kNull = "D \\x00\\x01\\xff\\xff\\xff\\xff";
  const auto [d, p] = std::mismatch(direct.begin(), direct.end(), pooled.begin(), pooled.end());
  if (d == direct.end() || p == pooled.end()) return false;
  return *p == "Error ERROR 26000 unnamed prepared statement does not exist" ||
         (*d == kEmptyValue && *p == kNull) || p->starts_with(kStartupValue) ||
         ((d->starts_with("Error ERROR") || d->starts_with("t ")) && p->starts_with("Error ERROR 25P02"));
}

Verdict compare(const Script& script, const Transcript& direct, const Transcript& pooled) {
  bool copies = false;
  if (direct.login != pooled.login) return Verdict::Different;
  for (std::size_t i = 0; i < std::max(direct.exchanges.size(), pooled.exchanges.size()); ++i) {
    if (i >= direct.exchanges.size() || i >= pooled.exchanges.size()) return Verdict::Different;
    const auto &d = direct.exchanges[i], &p = pooled.exchanges[i];
    for (const auto& op : script.exchanges[i].ops) copies |= op.copy_in;
    if (d == p || only_a_reason(d, p) || has_left(script.exchanges[i], d, p)) continue;
    if (known_difference(d, p)) return Verdict::Known;
    return copies && given_up(d, p) ? Verdict::GivenUp : Verdict::Different;
  }
  return Verdict::Same;
}

class Comparison {
 public:
  explicit Comparison(const Arguments& a)
      : direct_{a.direct, "direct", "script"},
        pooled_{a.pooled, "pooled", "script"},
        direct_shop_(a, "direct"),
        pooled_shop_(a, "pooled") {}

  Verdict operator()(const Script& s) {
    if (!(direct_shop_.renew() || direct_shop_.renew()) || !(pooled_shop_.renew() || pooled_shop_.renew())) {
      broken_ = true;
      return Verdict::Different;
    }
    at_direct_ = run(s, direct_);
    at_pooled_ = run(s, pooled_);
    const auto verdict = compare(s, at_direct_, at_pooled_);
    // PostgreSQL 15 itself does not survive some of this, for example Execute of a portal that has failed.
    return verdict == Verdict::Different && !direct_shop_.same_server() ? Verdict::Crashed : verdict;
  }
  const Transcript& at_direct() const noexcept { return at_direct_; }
  const Transcript& at_pooled() const noexcept { return at_pooled_; }
  void set_patience(std::chrono::seconds s) noexcept { direct_.patience = pooled_.patience = s; }
  const Target& pooled() const noexcept { return pooled_; }
  bool broken() const noexcept { return broken_; }

 private:
  Target direct_, pooled_;
  Workshop direct_shop_, pooled_shop_;
  Transcript at_direct_, at_pooled_;
  bool broken_ = false;
};

// Leaves out whatever the difference does not need. What differs only sometimes is tried a few times.
Script shrink(Comparison& compare_both, Script s) {
  const auto differs = [&](const Script& candidate) {
    for (int i = 0; i < 3; ++i) {
      if (compare_both(candidate) == Verdict::Different) return true;
    }
    return false;
  };
  const auto try_it = [&](Script candidate) {
    if (!differs(candidate)) return false;
    s = std::move(candidate);
    return true;
  };
  for (std::size_t e = s.exchanges.size(); e-- > 0;) {
    Script c = s;
    c.exchanges.erase(c.exchanges.begin() + static_cast<std::ptrdiff_t>(e));
    if (try_it(std::move(c))) continue;
    for (std::size_t o = s.exchanges[e].ops.size(); o-- > 0;) {
      Script fewer = s;
      auto& ops = fewer.exchanges[e].ops;
      ops.erase(ops.begin() + static_cast<std::ptrdiff_t>(o));
      try_it(std::move(fewer));
    }
    Script whole = s;
    whole.exchanges[e].cuts.clear();
    try_it(std::move(whole));
  }
  for (std::size_t p = s.startup.size(); p-- > 0;) {
    Script c = s;
    c.startup.erase(c.startup.begin() + static_cast<std::ptrdiff_t>(p));
    try_it(std::move(c));
  }
  return s;
}

void print_replies(const Replies& d, const Replies& p) {
  for (std::size_t i = 0; i < std::max(d.size(), p.size()); ++i) {
    const auto l = i < d.size() ? d[i] : "", r = i < p.size() ? p[i] : "";
    if (l == r) {
      std::printf("      %s\n", l.c_str());
    } else {
      std::printf("  ≠   PostgreSQL: %s\n      sidepool:   %s\n", l.c_str(), r.c_str());
    }
  }
}

void print(const Script& s, const Transcript& d, const Transcript& p) {
  std::printf("startup:");
  for (const auto& [name, value] : s.startup) std::printf(" %s='%s'", name.c_str(), value.c_str());
  std::printf("\n");
  if (d.login != p.login) print_replies(d.login, p.login);
  for (std::size_t i = 0; i < s.exchanges.size(); ++i) {
    std::printf("exchange %zu (%zu cuts):\n", i + 1, s.exchanges[i].cuts.size());
    for (const auto& op : s.exchanges[i].ops) std::printf("  > %s\n", op.text.c_str());
    static const Replies kNone;
    print_replies(i < d.exchanges.size() ? d.exchanges[i] : kNone,
                  i < p.exchanges.size() ? p.exchanges[i] : kNone);
  }
}

int compare_all(const Arguments& a) {
  Comparison both(a);
  const auto until = Clock::now() + std::chrono::seconds(a.seconds);
  std::uint64_t done = 0, given_up_count = 0, known = 0, crashes = 0, differences = 0, exchanges = 0,
                turns = 0;
  {
    Decoys decoys(both.pooled(), a.decoys, a.seed);
    for (std::uint64_t seed = a.seed; done < a.count; ++seed, ++done) {
      if (a.seconds > 0 && Clock::now() >= until) break;
      const auto script = make_script(seed);
      if (a.show) print(script, {}, {});
      const auto verdict = both(script);
      exchanges += both.at_direct().exchanges.size();
      if (verdict == Verdict::GivenUp) ++given_up_count;
      if (verdict == Verdict::Known) ++known;
      if (verdict == Verdict::Crashed) ++crashes;
      if (verdict != Verdict::Different) continue;
      if (both.broken()) {
        std::printf("seed %llu: the databases cannot be prepared\n", static_cast<unsigned long long>(seed));
        return 1;
      }
      ++differences;
      const auto first_direct = both.at_direct(), first_pooled = both.at_pooled();
      both.set_patience(std::chrono::seconds(3));
      const auto small = shrink(both, script);
      std::printf("DIFFERENT; replay: differential --direct %s:%u --pooled %s:%u --count 1 --seed %llu\n",
                  a.direct.host.c_str(), a.direct.port, a.pooled.host.c_str(), a.pooled.port,
                  static_cast<unsigned long long>(seed));
      if (both(small) == Verdict::Different) {
        print(small, both.at_direct(), both.at_pooled());
      } else {
        print(script, first_direct, first_pooled);
      }
      std::fflush(stdout);
      both.set_patience(std::chrono::seconds(15));
      if (!a.keep_going) break;
    }
    turns = decoys.turns();
  }
  std::printf(
      "%llu scripts, %llu exchanges, %llu turns of decoys, given up %llu, known differences %llu, crashes of "
      "PostgreSQL %llu, different "
      "%llu\n",
      static_cast<unsigned long long>(done), static_cast<unsigned long long>(exchanges),
      static_cast<unsigned long long>(turns), static_cast<unsigned long long>(given_up_count),
      static_cast<unsigned long long>(known), static_cast<unsigned long long>(crashes),
      static_cast<unsigned long long>(differences));
  // Giving up is for what is ambiguous; where it becomes usual something is wrong.
  const bool too_often = (given_up_count + known + crashes) * 10 > done + 50;
  return differences > 0 || too_often ? 1 : 0;
}

}  // namespace
}  // namespace sidepool::differential

int main(int argc, char** argv) {
  sidepool::differential::Arguments a;
  bool direct = false, pooled = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--keep-going" || name == "--show") {
      (name == "--show" ? a.show : a.keep_going) = true;
      continue;
    }
    if (++i == argc) break;
    const char* value = argv[i];
    const auto address = sidepool::load_client::parse_address(value);
    if (name == "--direct" && address) a.direct = *address, direct = true;
    if (name == "--pooled" && address) a.pooled = *address, pooled = true;
    if (name == "--seed") a.seed = std::strtoull(value, nullptr, 10);
    if (name == "--count") a.count = std::strtoull(value, nullptr, 10);
    if (name == "--seconds") a.seconds = std::atoi(value);
    if (name == "--decoys") a.decoys = std::atoi(value);
  }
  if (!direct || !pooled) {
    std::fprintf(
        stderr,
        "usage: differential --direct HOST:PORT --pooled HOST:PORT [--seed N] [--count N] [--seconds N] "
        "[--decoys N] [--keep-going] [--show]\n");
    return 2;
  }
  return sidepool::differential::compare_all(a);
}
