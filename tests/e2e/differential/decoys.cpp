// tests/e2e/differential/decoys.cpp -- see decoys.h
#include "tests/e2e/differential/decoys.h"

#include <array>
#include <random>
#include <string_view>

namespace sidepool::differential {

using load_client::Clock;
using load_client::Message;
using load_client::RawClient;
using protocol::Buffer;

namespace {

constexpr auto kTexts = std::to_array<std::string_view>({
    "select 'decoy'",
    "begin; select pg_sleep(0.002); commit",
    "select pg_sleep(0.001)",
    "set timezone to 'Antarctica/Troll'",
    "set application_name to 'decoy'",
    "set datestyle to 'Postgres, DMY'",
    "set client_encoding to 'LATIN2'",
    "set standard_conforming_strings to off; set standard_conforming_strings to on",
    "begin; set local timezone to 'Arctic/Longyearbyen'; select 1; rollback",
    "select 1/0",
    "begin; select 1/0; rollback",
    "reset all",
    "discard all",
    "begin; set local app.decoy to 'decoy'; select pg_advisory_xact_lock(1234); commit",
    "set work_mem to '777kB'",
    "set search_path to nowhere",
    "prepare q1 as select 'decoy'",
    "create temp table tmp (decoy text); insert into tmp values ('decoy')",
    "select pg_try_advisory_lock(1234)",
    "set app.decoy to 'decoy'",
    "set role decoy_role",
    "listen c1",
    "copy (select 'decoy') to stdout",
});

bool to_ready(RawClient& c) {
  Message m;
  const auto until = Clock::now() + std::chrono::seconds(20);
  while (c.read(m, until) == RawClient::Got::Message) {
    if (m.type == 'Z') return true;
  }
  return false;
}

}  // namespace

Decoys::Decoys(const Target& target, int count, std::uint64_t seed) {
  for (int i = 0; i < count; ++i) {
    threads_.emplace_back(
        [this, target, seed, i] { live(target, seed * 100 + static_cast<std::uint64_t>(i)); });
  }
}

Decoys::~Decoys() {
  stop_ = true;
  for (auto& t : threads_) t.join();
}

void Decoys::live(const Target& target, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  RawClient c;
  while (!stop_) {
    const auto until = Clock::now() + std::chrono::seconds(20);
    if (!c.connected()) {
      if (!c.connect(target.address)) return;
      if (!load_client::login(c, {{"user", target.user}, {"database", target.database}}, until).in) {
        c.close();
        continue;
      }
    }
    Buffer out;
    if (random() % 3 == 0) {  // names and texts of statements that the scripts use as well
      const std::string name = random() % 2 == 0 ? "" : "s" + std::to_string(1 + random() % 3);
      const bool other = random() % 2 == 0;
      protocol::close(out, 'S', name);
      protocol::parse(out, name, other ? "select 'decoy'" : "select 1", {});
      protocol::bind_text(out, "", name, {});
      protocol::execute(out, "", 0);
      protocol::sync(out);
    } else {
      const auto text = kTexts[random() % kTexts.size()];
      protocol::query(out, text);
      c.send(out, until);
      if (!to_ready(c)) c.close();
      out.clear();
      protocol::query(out, "discard all");  // so that nobody keeps a server for long
    }
    c.send(out, until);
    if (random() % 40 == 0) {
      c.reset();
    } else if (!to_ready(c)) {
      c.close();
    }
    ++turns_;
  }
}

}  // namespace sidepool::differential
