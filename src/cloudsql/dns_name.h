// cloudsql/dns_name.h -- DNS names that stand for an instance. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace sidepool::cloudsql {

// What the Auth Proxy takes for a domain name: lower case, at least one dot, the last label begins with a
// letter and may be empty (a trailing dot); RFC 1035 and 1123, with underscores as RFC 2181 allows them.
bool is_domain_name(std::string_view text) noexcept;

// Google's own name of an instance, INSTANCE.PROJECT.REGION.sql.goog (or sql-psa.goog, sql-psc.goog): the API
// knows its instance for ever, DNS does not. nullopt for all other names, and for the global write endpoints
// (*.global.sql-psc.goog), which are aliases.
struct GoogleName {
  std::string name;  // with one trailing dot, as the API wants it
  std::string region;
};
std::optional<GoogleName> google_name(std::string_view text);

}  // namespace sidepool::cloudsql
