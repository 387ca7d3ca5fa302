// cloudsql/mdx.h -- the metadata exchange that an instance may ask for in front of the first PostgreSQL byte.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace sidepool::cloudsql {

// How the client reached us. The values are the protobuf enum's.
enum class ClientProtocol : std::uint8_t { Tcp = 1, UnixSocket = 3 };

// Goes in front of the first bytes to the server, in the same write, when the instance lists
// CLIENT_PROTOCOL_TYPE.
using MdxFrame = std::array<std::uint8_t, 14>;
MdxFrame mdx_frame(ClientProtocol how) noexcept;

// Takes the server's optional answer off the front of what a connection receives first. The first byte
// decides: no PostgreSQL server begins with 'C', so 'C' is an answer and anything else is none. Owned by one
// connection.
class MdxReply {
 public:
  enum class State : std::uint8_t {
    More,     // all of `in` was taken, feed the next bytes
    None,     // no answer: `in` is untouched and is PostgreSQL's
    Ok,       // answered; what is left in `in` is PostgreSQL's
    Refused,  // answered with an error: worth a warning with message(), the connection goes on
    Bad,      // not a metadata exchange frame: close the connection
  };

  // Once the state is not More the connection's bytes are no longer shown to it.
  State feed(std::span<const std::uint8_t>& in);
  State state() const noexcept { return state_; }
  // Why it is Bad, or the server's text when Refused; printable and bounded.
  const std::string& message() const noexcept { return message_; }

 private:
  void start_frame(std::span<const std::uint8_t>& in);
  State bad(std::string why);
  State decode();

  State state_ = State::More;
  std::array<std::uint8_t, 12> head_{};
  std::uint32_t have_ = 0;  // bytes of head_
  std::uint32_t left_ = 0;  // bytes of the payload still to come
  std::string payload_;     // at most kMaxMdxReply bytes
  std::string message_;
};

inline constexpr std::uint32_t kMaxMdxReply = 16384;

}  // namespace sidepool::cloudsql
