// tests/e2e/differential/script.h -- what one client says in one connection, made from a seed.
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "protocol/bytes.h"

namespace sidepool::differential {

// One message (or what poses as one).
struct Op {
  protocol::Buffer bytes;
  std::string text;      // for people
  bool copy_in = false;  // the server may read COPY data from here on
  bool ends = false;     // the server ends the connection over it
  bool leaves = false;   // Terminate
};

// Ops that are sent without waiting in between. What ends an exchange is added by the runner.
struct Exchange {
  std::vector<Op> ops;
  std::vector<std::uint32_t> cuts;  // where the bytes are cut, as fractions of 2^32
};

struct Script {
  std::vector<std::pair<std::string, std::string>> startup;
  std::vector<Exchange> exchanges;
};

Script make_script(std::uint64_t seed);
// The same bytes as readable text, zero bytes and the like escaped.
std::string printable(std::string_view bytes);

}  // namespace sidepool::differential
