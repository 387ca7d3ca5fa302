// protocol/startup.h -- the packets without a type byte that open a connection, and the `options` parameter
// in them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/types.h"

namespace sidepool::protocol {

using OwnedParameter = std::pair<std::string, std::string>;

// How a client asked for replication: physical has no database, logical ("replication=database") has one.
enum class Replication : std::uint8_t { None, Physical, Logical };

struct StartupMessage {
  std::uint32_t asked = 0;        // the version word of the packet, major 3
  std::uint32_t protocol = 0;     // what we will speak: kProtocol30 or kProtocol32, never newer than asked
  std::string user;               // at most 63 bytes, like PostgreSQL, which cuts user and database there
  std::string database;           // defaults to the user; empty for physical replication
  std::string options;            // raw; see parse_options()
  std::string replication_value;  // raw, empty when not given
  Replication replication = Replication::None;
  std::vector<OwnedParameter> parameters;     // all others in the order of the packet, duplicates included
  std::vector<std::string> protocol_options;  // names beginning with "_pq_.", none of which we know

  // The client must be told with NegotiateProtocolVersion what it gets instead.
  bool negotiate() const noexcept { return asked != protocol || !protocol_options.empty(); }
};

struct NeedMore {};
struct SslRequest {};
struct GssEncRequest {};
// The first byte is that of a TLS record (22, handshake): the client begins TLS without asking (PostgreSQL
// 17).
struct DirectTls {};
struct CancelRequest {
  std::uint32_t pid;
  Buffer key;  // 4 to kMaxCancelKey bytes
};
struct Malformed {
  std::string_view sqlstate;
  std::string reason;
  // PostgreSQL logs this one and closes without a word: what sent it hardly speaks the protocol.
  bool silent = false;
};

struct FirstPacket {
  std::variant<NeedMore, SslRequest, GssEncRequest, DirectTls, CancelRequest, StartupMessage, Malformed>
      packet;
  std::size_t size = 0;  // bytes the packet takes; 0 for NeedMore, DirectTls and Malformed
};

// Decodes the packet at the front of `seen`, all the bytes since the connection (or the answer to the last
// such packet). The announced length is judged as soon as its four bytes are there, so a caller that stops at
// anything but NeedMore never holds more than kMaxStartupPacket + 4 bytes. The result borrows nothing.
FirstPacket decode_first_packet(Bytes seen);

struct OptionsError {
  std::string text;  // the first word that is no setting, shortened to 64 bytes
  bool no_value;  // `-c name` or `--name` without "=value": PostgreSQL's 42601; else unsupported: ours, 22023
};

// Splits the `options` startup parameter as PostgreSQL does (pg_split_opts: words at white space, a backslash
// keeps the next character) and reads `-c name=value`, `-cname=value` and `--name=value`, in which a dash of
// the name means an underscore. Other switches of the server's command line are not supported.
std::variant<std::vector<OwnedParameter>, OptionsError> parse_options(std::string_view options);

}  // namespace sidepool::protocol
