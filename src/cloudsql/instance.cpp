// cloudsql/instance.cpp -- see the header.
#include "src/cloudsql/instance.h"

#include <algorithm>
#include <vector>

#include "src/cloudsql/dns_name.h"

namespace sidepool::cloudsql {
namespace {

// Google's longest legal name of this kind is under 200 bytes.
constexpr std::size_t kMaxName = 512;

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0;;) {
    const std::size_t colon = text.find(':', from);
    parts.push_back(text.substr(from, colon == std::string_view::npos ? colon : colon - from));
    if (colon == std::string_view::npos) return parts;
    from = colon + 1;
  }
}

// The API decides what names exist; here only what could not be a name, or would be misread in a URL, a log
// or a socket path, is kept out.
bool plausible(std::string_view part) {
  if (part.empty() || part == "." || part == "..") return false;
  return std::all_of(part.begin(), part.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  });
}

std::string shown(std::string_view text) {
  std::string out{text.substr(0, 128)};
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

tl::unexpected<Error> refuse(std::string_view text, std::string_view why) {
  return fail(Errc::Config,
              "config error: " + std::string{why} + " (connection name = \"" + shown(text) + "\")", 0,
              "instance_name");
}

}  // namespace

Result<InstanceName> InstanceName::parse(std::string_view text) {
  constexpr std::string_view kExpected = "invalid instance connection name, expected PROJECT:REGION:INSTANCE";
  if (text.empty() || text.size() > kMaxName) return refuse(text, kExpected);
  const auto parts = split(text);
  if (parts.size() < 3 || parts.size() > 4 || !std::all_of(parts.begin(), parts.end(), plausible))
    return refuse(text, kExpected);
  if (parts.size() == 3)
    return InstanceName{std::string{parts[0]}, std::string{parts[1]}, std::string{parts[2]}};
  std::string project{parts[0]};
  project += ':';
  project += parts[1];
  return InstanceName{std::move(project), std::string{parts[2]}, std::string{parts[3]}};
}

Result<InstanceKey> InstanceKey::parse(std::string_view text, bool iam) {
  if (text.find(':') != std::string_view::npos) {
    auto name = InstanceName::parse(text);
    if (!name) return tl::unexpected(std::move(name.error()));
    return InstanceKey{std::move(*name), iam};
  }
  std::string name{text};
  // One of Google's own is known in any case; of all others only lower case is a name, as in the original.
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (!google_name(name) && !is_domain_name(text))
    return refuse(
        text, "invalid connection name, expected PROJECT:REGION:INSTANCE format or valid DNS domain name");
  return InstanceKey{{}, iam, std::move(name)};
}

}  // namespace sidepool::cloudsql
