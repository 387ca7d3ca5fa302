// src/base/ip_network.h -- an IP address or a network in CIDR form, as NO_PROXY lists them.
#pragma once
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace sidepool {

class IpNetwork {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or an address for itself alone; nullopt for everything else.
  static std::optional<IpNetwork> parse(std::string_view text);
  // False for what is not an IP literal without brackets, and for one of the other family.
  bool contains(std::string_view address) const;

 private:
  IpNetwork(std::vector<unsigned char> address, unsigned bits) : address_(std::move(address)), bits_(bits) {}
  std::vector<unsigned char> address_;  // 4 or 16 bytes
  unsigned bits_;
};

bool is_ip_literal(std::string_view text);

}  // namespace sidepool
