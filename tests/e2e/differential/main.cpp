// tests/e2e/differential/main.cpp -- replays random scripts on PostgreSQL and through sidepool, and compares.
//
//   differential --direct 127.0.0.1:5432 --pooled 127.0.0.1:6432 [--seed N [--count N]] [--seconds N]
//   [--decoys N]
//
// The databases "direct" and "pooled" and the superuser "script" must exist and let everybody in; see
// tests/e2e/test_differential.py. Exit code 1 after a difference, which is made as small as it gets and
// printed.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

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
  bool keep_going = false;
};

constexpr std::string_view kFresh =
    "set client_min_messages = error; set lock_timeout = '15s';"
    "drop view if exists vw; drop table if exists t, u; drop sequence if exists sq;"
    "create table t (id int, v text); create table u (id int primary key); create sequence sq;"
    "insert into t select g, 'row ' || g from generate_series(1, 5) g; insert into u values (1);"
    "grant all on t, u, sq to public";

// Both databases as new, by a direct connection.
class Workshop {
 public:
  Workshop(const Arguments& a, const std::string& database) {
    ready_ = c_.connect(a.direct) && login(c_, {{"user", "script"}, {"database", database}}, patience()).in;
  }
  bool renew() {
    if (!ready_) return false;
    protocol::Buffer out;
    protocol::query(out, kFresh);
    c_.send(out, patience());
    Message m;
    bool ok = true;
    while (c_.read(m, patience()) == RawClient::Got::Message) {
      if (m.type == 'E')
        std::printf("renewing: %s\n", load_client::error_text(m.body).message.c_str()), ok = false;
      if (m.type == 'Z') return ok;
    }
    return false;
  }

 private:
  static Clock::time_point patience() { return Clock::now() + std::chrono::seconds(30); }
  RawClient c_;
  bool ready_ = false;
};

enum class Verdict { Same, GivenUp, Different };

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

Verdict compare(const Transcript& direct, const Transcript& pooled, bool copies) {
  if (direct.login != pooled.login) return Verdict::Different;
  for (std::size_t i = 0; i < std::max(direct.exchanges.size(), pooled.exchanges.size()); ++i) {
    if (i >= direct.exchanges.size() || i >= pooled.exchanges.size()) return Verdict::Different;
    const auto &d = direct.exchanges[i], &p = pooled.exchanges[i];
    if (d == p || only_a_reason(d, p)) continue;
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
    if (!direct_shop_.renew() || !pooled_shop_.renew()) {
      broken_ = true;
      return Verdict::Different;
    }
    at_direct_ = run(s, direct_);
    at_pooled_ = run(s, pooled_);
    bool copies = false;
    for (const auto& e : s.exchanges) {
      for (const auto& op : e.ops) copies |= op.copy_in;
    }
    return compare(at_direct_, at_pooled_, copies);
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
  std::uint64_t done = 0, given_up_count = 0, differences = 0, exchanges = 0, turns = 0;
  {
    Decoys decoys(both.pooled(), a.decoys, a.seed);
    for (std::uint64_t seed = a.seed; done < a.count; ++seed, ++done) {
      if (a.seconds > 0 && Clock::now() >= until) break;
      const auto script = make_script(seed);
      const auto verdict = both(script);
      exchanges += both.at_direct().exchanges.size();
      if (verdict == Verdict::GivenUp) ++given_up_count;
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
  std::printf("%llu scripts, %llu exchanges, %llu turns of decoys, given up %llu, different %llu\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(exchanges),
              static_cast<unsigned long long>(turns), static_cast<unsigned long long>(given_up_count),
              static_cast<unsigned long long>(differences));
  // Giving up is for what is ambiguous; where it becomes usual something is wrong.
  const bool too_often = given_up_count * 50 > done + 50;
  return differences > 0 || too_often ? 1 : 0;
}

}  // namespace
}  // namespace sidepool::differential

int main(int argc, char** argv) {
  sidepool::differential::Arguments a;
  bool direct = false, pooled = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--keep-going") {
      a.keep_going = true;
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
        "[--decoys N] [--keep-going]\n");
    return 2;
  }
  return sidepool::differential::compare_all(a);
}
