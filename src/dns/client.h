// src/dns/client.h -- questions to name servers that getaddrinfo(3) cannot ask, or not of these servers.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/io/socket.h"

namespace sidepool::dns {

struct Texts {
  std::vector<std::string> values;  // one a record, its parts joined; in the order of the answer
  std::chrono::seconds ttl{0};      // the smallest of the answer's
};

// Blocking calls, so never on a worker: each takes at most kPatience, and ends within a second when
// `stopping` is set. Any thread, several at a time: every call sets up the library anew, which is how a
// changed /etc/resolv.conf is noticed. Search domains and ndots hold.
//
// Errors: reason "no_record" when the servers say that there is no such name or record, "stopped", else "dns"
// (nobody answered, or not with sense): then nothing is known about the name.
class Client {
 public:
  // `servers`: each "IP", "IP:PORT" or "[IPv6]:PORT"; none: those of /etc/resolv.conf. `stopping` may be null
  // and must outlive the client.
  explicit Client(const std::vector<std::string>& servers, const std::atomic<bool>* stopping = nullptr);

  // Through aliases, if the name server follows them.
  Result<Texts> txt(const std::string& name) const;
  // What `name` is an alias of: one step, without a trailing dot.
  Result<std::string> cname(const std::string& name) const;
  // IPv4 and IPv6 in the order of RFC 6724, at most 64; /etc/hosts is looked at as well.
  Result<std::vector<io::SocketAddress>> addresses(const std::string& name, std::uint16_t port) const;

 private:
  std::string servers_;  // as the library wants them
  const std::atomic<bool>* stopping_;
};

inline constexpr std::chrono::seconds kPatience{8};

// The answer section of a DNS message (RFC 1035 §4.1), for tests of hostile ones.
Result<Texts> read_txt(const std::vector<std::uint8_t>& message);
Result<std::string> read_cname(const std::vector<std::uint8_t>& message);

}  // namespace sidepool::dns
