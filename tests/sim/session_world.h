// tests/sim/session_world.h -- clients, sessions and model servers; every client has a private model server
// that is fed the same bytes and says what the client has to see.
#pragma once
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/support/session_rig.h"

namespace sidepool::test {

class SessionWorld {
 public:
  explicit SessionWorld(std::uint64_t seed);
  // Empty, or what did not hold.
  std::string run(int steps);

 private:
  struct Client {
    std::unique_ptr<SessionRig> rig;
    std::unique_ptr<FakePostgres> oracle;
    int number = 0;
    Buffer script;             // generated, not sent
    std::string seen, wanted;  // since its last visit to check()
    std::string story;         // what was generated, for a failing seed
    bool diverged = false;     // a fault has hit it: only isolation is checked
    bool touchy = false;       // has changed settings in a way that is not answered to the end
    bool left = false;
  };

  void add_client();
  void model_pinning(FakePostgres& oracle) const;
  void step();
  void send_some(Client& c);
  void generate(Client& c);
  void simple(Client& c);
  void cycle(Client& c);
  void extended(Client& c, int kind);
  void copy(Client& c);
  void say(Client& c, const Buffer& b, const std::string& story);
  void grant_one();
  void fault();
  void quiesce();
  void check(Client& c);
  bool quiet(Client& c);
  std::string text(Client& c);
  std::string name();
  int pick(int n) { return static_cast<int>(random_() % static_cast<std::uint64_t>(n)); }
  void fail(const Client* c, const std::string& what);

  std::mt19937_64 random_;
  pool::SessionOptions options_;
  std::unique_ptr<pool::StatementStore> store_;
  std::deque<FakeServer> servers_;
  std::vector<Client> clients_;
  int made_ = 0;
  int faults_ = 0;  // of 1000 steps
  bool ending_ = false;
  std::string failure_;
};

}  // namespace sidepool::test
