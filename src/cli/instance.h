// src/cli/instance.h -- an instance as the command line names it:
// INSTANCE_CONNECTION_NAME?port=6000&private-ip
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace sidepool::cli {

struct InstanceArgument {
  std::string instance{};  // syntax checked
  std::optional<std::string> address{};
  std::optional<std::uint16_t> port{};  // never 0
  std::optional<std::string> unix_socket{};
  std::optional<std::string> unix_socket_path{};
  std::optional<bool> auto_iam_authn{};
  std::optional<bool> private_ip{};
  std::optional<bool> psc{};
  std::vector<std::string> ignored{};  // parameters that nobody knows, which the Auth Proxy ignores too
};

// The instance, or why not, in the Auth Proxy's words where it has the check.
std::variant<InstanceArgument, std::string> parse_instance(std::string_view text);

}  // namespace sidepool::cli
