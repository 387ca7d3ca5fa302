// tests/e2e/load_client/raw_client.h -- one PostgreSQL connection by hand: what is sent is up to the test.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/encode.h"
#include "protocol/frame.h"

namespace sidepool::load_client {

using Clock = std::chrono::steady_clock;
using protocol::Buffer;

struct Message {
  char type = 0;
  std::string body;
};

struct Address {
  std::string host;  // numeric
  std::uint16_t port = 0;
};
// "127.0.0.1:5432"
std::optional<Address> parse_address(std::string_view text);

// What the other side says first and keeps saying: S, C and M of an ErrorResponse.
struct ErrorText {
  std::string severity, code, message;
};
ErrorText error_text(std::string_view body);

// Owned by one thread.
class RawClient {
 public:
  enum class Got : std::uint8_t { Message, End, Late };

  RawClient() = default;
  ~RawClient() { close(); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connect(const Address& to);
  bool connected() const noexcept { return fd_ >= 0; }
  // All of it, unless the connection ends or `until` passes; takes in what arrives meanwhile.
  bool send(protocol::Bytes bytes, Clock::time_point until);
  // The next message. End: the peer has closed (or reset) and everything it sent has been given.
  Got read(Message& into, Clock::time_point until);
  // Takes in what has arrived, waiting at most `pause` for something.
  void look(std::chrono::milliseconds pause) { wait_and_receive(false, Clock::now() + pause); }
  // Bytes that have arrived and were not given by read().
  std::string_view pending() const noexcept { return std::string_view(in_).substr(at_); }
  // Waits for the peer's end without looking at what comes. False: `until` passed.
  bool wait_end(Clock::time_point until);
  void shut_write() noexcept;
  void close() noexcept;
  void reset() noexcept;  // RST

 private:
  // Returns whether the socket can be written to.
  bool wait_and_receive(bool write, Clock::time_point until);
  void receive();

  int fd_ = -1;
  bool ended_ = false;
  std::string in_;
  std::size_t at_ = 0;
};

// Login without a password. What was answered up to ReadyForQuery, or to the end.
struct Login {
  bool in = false;
  std::uint32_t pid = 0;
  std::string key;
  std::vector<Message> messages;
};
Login login(RawClient& client, const std::vector<protocol::Parameter>& parameters, Clock::time_point until,
            std::string_view password = {});

}  // namespace sidepool::load_client
