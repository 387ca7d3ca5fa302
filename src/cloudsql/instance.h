// cloudsql/instance.h -- instance connection names, and what connection information is kept under.
#pragma once
#include <compare>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace sidepool::cloudsql {

struct InstanceName {
  std::string project;  // "google.com:proj" for a domain-scoped project
  std::string region;
  std::string instance;

  // Exactly PROJECT:REGION:INSTANCE, where PROJECT may hold one colon. DNS names are refused with a text of
  // their own.
  static Result<InstanceName> parse(std::string_view text);

  std::string canonical() const { return project + ':' + region + ':' + instance; }
  // What the certificate of an instance without a DNS name carries: the region is not part of it.
  std::string common_name() const { return project + ':' + instance; }
  auto operator<=>(const InstanceName&) const = default;
};

// With and without IAM are two certificates that live side by side; one never turns into the other.
struct InstanceKey {
  InstanceName instance;
  bool iam = false;
  auto operator<=>(const InstanceKey&) const = default;
};

}  // namespace sidepool::cloudsql
