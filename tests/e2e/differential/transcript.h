// tests/e2e/differential/transcript.h -- what one server answered to a script, in a form that can be
// compared.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/differential/script.h"
#include "tests/e2e/load_client/raw_client.h"

namespace sidepool::differential {

// Replies to one exchange, one line a message. The last is "end" when the connection has ended, "no reply"
// when nothing came in time.
using Replies = std::vector<std::string>;

struct Transcript {
  Replies login;
  std::vector<Replies> exchanges;  // as many as were begun
};

// Turns messages into lines. Masked: pids, keys, notices, OIDs of tables. ParameterStatus messages become
// part of the next ReadyForQuery: the values that differ from those at the last one.
class Describer {
 public:
  // nullopt: nothing to compare.
  std::optional<std::string> line(const load_client::Message& m);
  void set_pid(std::uint32_t pid) noexcept { pid_ = pid; }

 private:
  std::map<std::string, std::string> told_, before_;
  std::uint32_t pid_ = 0;
};

struct Target {
  load_client::Address address;
  std::string database, user;
  std::chrono::seconds patience{15};  // how long one exchange may take
};

Transcript run(const Script& script, const Target& target);

}  // namespace sidepool::differential
