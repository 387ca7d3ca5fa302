// tests/e2e/isolation/client.h -- one application: everything it says carries its marker, and every byte that
// it reads is searched for the markers of others.
#pragma once
#include <atomic>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/e2e/isolation/tally.h"
#include "tests/e2e/load_client/raw_client.h"

namespace sidepool::isolation {

struct World {
  load_client::Address pooled, direct;
  std::vector<std::string> databases, users;
  std::uint64_t seed = 1;
  std::atomic<bool> stop{false};
};

// What became of one write to the journal.
enum class Fate : std::uint8_t { Committed, Absent, Uncertain };

// Lives on a thread of its own.
class Client {
 public:
  Client(World& world, Tally& tally, unsigned number);
  void live();  // until the world stops

  const std::string& marker() const noexcept { return marker_; }
  const std::string& database() const noexcept { return database_; }
  const std::map<std::uint64_t, Fate>& journal() const noexcept { return journal_; }

 private:
  using Message = load_client::Message;
  // The replies to one cycle.
  struct Answer {
    bool complete = false;  // ReadyForQuery has come
    char status = '?';
    std::vector<std::string> values;  // the first column of each row
    std::string tag, code, message;   // of the last command, of the last error
    bool fatal = false;
  };

  bool connect();
  void turn();
  Answer ask(std::string_view query);
  Answer ask_prepared(const std::string& name, const std::string& text,
                      const std::vector<std::string>& values);
  Answer answer();
  bool take(Answer& a, const Message& m);
  void search(const Message& m);
  void drop(bool reset);
  // True when the answer is as it has to be; otherwise the connection is given up, and unless that has a
  // reason, it is a finding.
  bool expect(const Answer& a, const std::vector<std::string>& values, std::string_view doing);
  bool excused(const Answer& a) const;

  void plain();
  void parameters();
  void named();
  void same_name();
  void settings();
  void custom_setting();
  void temp_table();
  void advisory_lock();
  void error_text();
  void journal_write();
  void copy_out();
  void copy_in();
  void large();
  void cancel_self();
  void late_reset();
  void half_message();
  void walk_away();

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  std::string fresh() { return marker_ + "-" + std::to_string(++sequence_); }
  load_client::Clock::time_point patience() const;

  World& world_;
  Tally& tally_;
  unsigned number_;
  std::string marker_, database_, user_;
  std::mt19937_64 random_;
  std::uint64_t sequence_ = 0;
  load_client::RawClient wire_;
  std::uint32_t pid_ = 0;
  std::string key_;
  bool cancel_out_ = false;                         // a cancel of ours may still arrive
  std::string application_, time_zone_, prepared_;  // of this connection
  std::map<std::uint64_t, Fate> journal_;
};

}  // namespace sidepool::isolation
