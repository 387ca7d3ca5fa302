// cloudsql/name_lookup.h -- from a DNS name to the instance it stands for, by TXT records and aliases.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <variant>

#include "src/base/result.h"
#include "src/cloudsql/dns_name.h"
#include "src/cloudsql/instance.h"
#include "src/dns/client.h"

namespace sidepool::cloudsql {

// Blocking; see dns::Client for the errors. Tests pass their own.
struct DnsLookups {
  std::function<Result<dns::Texts>(const std::string& name)> txt;
  std::function<Result<std::string>(const std::string& name)> cname;
};
DnsLookups system_lookups(dns::Client client);

struct NameAnswer {
  std::variant<InstanceName, GoogleName> target;  // the API tells which instance a GoogleName is
  // The name that the server's certificate has to bear: the one whose TXT record it was (behind aliases the
  // last of them), or the one that was asked for when it leads to a GoogleName.
  std::string host;
  std::chrono::seconds ttl{0};

  std::string text() const;  // of the target
  bool same(const NameAnswer& other) const { return text() == other.text() && host == other.host; }
};

// Google's own names are known without a question. For all others: the first TXT value, in byte order, that
// is an instance connection name and nothing else (spaces around it do not count); failing that, the name's
// alias is tried in its place, ten names in all. An error's reason is "name" when the records say so (it
// stays until somebody changes them), else that of the failed lookup.
Result<NameAnswer> look_up(const std::string& name, const DnsLookups& dns);

}  // namespace sidepool::cloudsql
