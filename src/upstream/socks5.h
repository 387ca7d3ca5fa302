// src/upstream/socks5.h -- the client's side of a SOCKS 5 CONNECT (RFC 1928, RFC 1929). No I/O.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/bytes.h"
#include "protocol/secret_bytes.h"

namespace sidepool::upstream {

// Send output(), read wants() bytes and feed() them, until it is Done: then the connection is the target's,
// and not a byte of it has been taken, because never more is read than the machine asks for.
class Socks5 {
 public:
  enum class State : std::uint8_t { Talking, Done, Failed };

  // `host`: an IP literal is sent as such, everything else as a name that the proxy resolves. With an empty
  // user nothing but "no authentication" is offered.
  Socks5(std::string_view host, std::uint16_t port, std::string_view user, std::string_view password);
  ~Socks5() {
    protocol::wipe(credentials_);
    protocol::wipe(output_);
  }
  Socks5(const Socks5&) = delete;
  Socks5& operator=(const Socks5&) = delete;

  State state() const noexcept { return state_; }
  protocol::Bytes output() const noexcept { return protocol::Bytes(output_).subspan(sent_); }
  void wrote(std::size_t n) noexcept { sent_ += n; }
  // 0 unless it is Talking and all output is written.
  std::size_t wants() const noexcept;
  // REQUIRES: at most wants() bytes.
  void feed(protocol::Bytes in);
  // One sentence, once it has Failed.
  const std::string& failure() const noexcept { return failure_; }

 private:
  enum class Step : std::uint8_t { Method, Authentication, Reply, NameLength, BoundAddress };

  void expect(Step step, std::size_t bytes);
  void take();
  void on_reply();
  void ask_to_connect();
  void fail(std::string why);

  const std::string host_;
  const std::uint16_t port_;
  protocol::Buffer credentials_;  // RFC 1929's message, ready to be sent; empty: none
  protocol::Buffer output_;
  std::size_t sent_ = 0;
  protocol::Buffer input_;  // of the message that is being read
  std::size_t expected_ = 0;
  Step step_ = Step::Method;
  State state_ = State::Talking;
  std::string failure_;
};

}  // namespace sidepool::upstream
