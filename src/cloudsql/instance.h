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

  // Exactly PROJECT:REGION:INSTANCE, where PROJECT may hold one colon (a domain-scoped project).
  static Result<InstanceName> parse(std::string_view text);

  std::string canonical() const { return project + ':' + region + ':' + instance; }
  // What the certificate of an instance without a DNS name carries: the region is not part of it.
  std::string common_name() const { return project + ':' + instance; }
  auto operator<=>(const InstanceName&) const = default;
};

// What is configured. With and without IAM are two certificates that live side by side; one never turns into
// the other.
struct InstanceKey {
  InstanceName instance;  // empty if there is a DNS name: what that stands for may change
  bool iam = false;
  std::string dns_name{};

  // An instance connection name, or a DNS name (is_domain_name(), or google_name() in any case).
  static Result<InstanceKey> parse(std::string_view text, bool iam);

  std::string name() const { return dns_name.empty() ? instance.canonical() : dns_name; }
  auto operator<=>(const InstanceKey&) const = default;
};

// An instance and how it was found.
struct ReachedInstance {
  InstanceName instance;
  // Not empty: it was reached by DNS, this name has addresses of its own perhaps, and the server's
  // certificate has to bear it.
  std::string dns_name{};

  // As the Auth Proxy writes it in errors and labels: "NAME -> PROJECT:REGION:INSTANCE".
  std::string text() const {
    return (dns_name.empty() ? std::string{} : dns_name + " -> ") + instance.canonical();
  }
};

}  // namespace sidepool::cloudsql
