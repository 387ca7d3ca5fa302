// src/upstream/socks5.cpp -- see the header.
#include "src/upstream/socks5.h"

#include <array>
#include <cassert>
#include <utility>

#include "src/io/socket.h"

namespace sidepool::upstream {
namespace {

constexpr std::uint8_t kVersion = 5, kConnect = 1, kIpv4 = 1, kName = 3, kIpv6 = 4;
constexpr std::uint8_t kNoAuthentication = 0, kUserPassword = 2, kPasswordVersion = 1;
constexpr std::size_t kMost = 255;  // of a length byte

const char* reply_text(std::uint8_t code) noexcept {  // RFC 1928 §6
  static constexpr std::array<const char*, 9> kTexts{"",
                                                     "general SOCKS server failure",
                                                     "connection not allowed by ruleset",
                                                     "network unreachable",
                                                     "host unreachable",
                                                     "connection refused",
                                                     "TTL expired",
                                                     "command not supported",
                                                     "address type not supported"};
  return code < kTexts.size() ? kTexts[code] : "unknown code";
}

void append(protocol::Buffer& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }

}  // namespace

Socks5::Socks5(std::string_view host, std::uint16_t port, std::string_view user, std::string_view password)
    : host_(host), port_(port) {
  if (host_.empty() || host_.size() > kMost || user.size() > kMost || password.size() > kMost) {
    fail("a SOCKS proxy takes no host, user or password of more than 255 bytes");
    return;
  }
  output_ = {kVersion, 1, kNoAuthentication};
  if (!user.empty()) {
    output_ = {kVersion, 2, kNoAuthentication, kUserPassword};
    credentials_ = {kPasswordVersion, static_cast<std::uint8_t>(user.size())};
    credentials_.reserve(3 + user.size() + password.size());
    append(credentials_, user);
    credentials_.push_back(static_cast<std::uint8_t>(password.size()));
    append(credentials_, password);
  }
  expect(Step::Method, 2);
}

std::size_t Socks5::wants() const noexcept {
  return state_ == State::Talking && sent_ == output_.size() ? expected_ - input_.size() : 0;
}

void Socks5::feed(protocol::Bytes in) {
  assert(in.size() <= wants());
  if (state_ != State::Talking) return;
  input_.insert(input_.end(), in.begin(), in.end());
  if (input_.size() >= expected_) take();
}

void Socks5::expect(Step step, std::size_t bytes) {
  step_ = step;
  input_.clear();
  expected_ = bytes;
}

void Socks5::take() {
  switch (step_) {
    case Step::Method:
      if (input_[0] != kVersion) return fail("the proxy does not speak SOCKS 5");
      if (input_[1] == kNoAuthentication) return ask_to_connect();
      if (input_[1] != kUserPassword || credentials_.empty())
        return fail("the proxy accepts no authentication that was offered");
      protocol::wipe(output_);
      output_ = std::exchange(credentials_, {});
      sent_ = 0;
      return expect(Step::Authentication, 2);
    case Step::Authentication:
      if (input_[0] != kPasswordVersion) return fail("the proxy answered the password with nonsense");
      if (input_[1] != 0) return fail("the proxy refused the user or the password");
      return ask_to_connect();
    case Step::Reply:
      return on_reply();
    case Step::NameLength:
      return expect(Step::BoundAddress, input_[0] + std::size_t{2});
    case Step::BoundAddress:
      state_ = State::Done;
  }
}

void Socks5::ask_to_connect() {
  protocol::wipe(output_);
  output_ = {kVersion, kConnect, 0};
  sent_ = 0;
  if (const auto ip = io::SocketAddress::from_ip(host_, port_); ip && ip->family() == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in*>(ip->raw())->sin_addr;
    output_.push_back(kIpv4);
    append(output_, {reinterpret_cast<const char*>(&a), sizeof a});
  } else if (ip) {
    const auto& a = reinterpret_cast<const sockaddr_in6*>(ip->raw())->sin6_addr;
    output_.push_back(kIpv6);
    append(output_, {reinterpret_cast<const char*>(&a), sizeof a});
  } else {
    output_.push_back(kName);
    output_.push_back(static_cast<std::uint8_t>(host_.size()));
    append(output_, host_);
  }
  output_.push_back(static_cast<std::uint8_t>(port_ >> 8));
  output_.push_back(static_cast<std::uint8_t>(port_ & 0xff));
  expect(Step::Reply, 4);
}

void Socks5::on_reply() {
  if (input_[0] != kVersion || input_[2] != 0) return fail("the proxy answered with nonsense");
  if (input_[1] != 0) return fail(std::string{"the proxy says: "} + reply_text(input_[1]));
  switch (input_[3]) {  // where it connects from: of no use, but it has to be read
    case kIpv4:
      return expect(Step::BoundAddress, 4 + 2);
    case kIpv6:
      return expect(Step::BoundAddress, 16 + 2);
    case kName:
      return expect(Step::NameLength, 1);
    default:
      return fail("the proxy answered with an unknown kind of address");
  }
}

void Socks5::fail(std::string why) {
  state_ = State::Failed;
  failure_ = std::move(why);
}

}  // namespace sidepool::upstream
