// cloudsql/name_lookup.cpp -- see the header. The errors' texts are the Auth Proxy's.
#include "src/cloudsql/name_lookup.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "src/cloudsql/encode.h"

namespace sidepool::cloudsql {
namespace {

constexpr int kMostAliases = 10;
// Of an alias to one of Google's names, where no TXT record says it.
constexpr std::chrono::seconds kAliasTtl{30};

std::string quoted(std::string_view text) { return '"' + one_line(text, 256) + '"'; }

std::string_view trimmed(std::string_view text) {
  const std::size_t from = text.find_first_not_of(" \t\r\n");
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1);
}

Result<NameAnswer> by_txt(const std::string& name, const DnsLookups& dns) {
  auto texts = dns.txt(name);
  if (!texts) {
    Error e = std::move(texts.error());
    e.what = "unable to resolve TXT record for " + quoted(name) + ": " + e.what;
    if (e.reason == "no_record") e.reason = "name";
    return tl::unexpected(std::move(e));
  }
  std::sort(texts->values.begin(), texts->values.end());
  Error last{Errc::Config, 0, "no valid TXT records found for " + quoted(name), "name"};
  for (const std::string& value : texts->values) {
    auto instance = InstanceName::parse(trimmed(value));
    if (instance) return NameAnswer{std::move(*instance), name, texts->ttl};
    last.what =
        "unable to parse TXT for " + quoted(name) + " -> " + quoted(value) + " : " + instance.error().what;
  }
  return tl::unexpected(std::move(last));
}

}  // namespace

DnsLookups system_lookups(dns::Client client) {
  const auto shared = std::make_shared<const dns::Client>(std::move(client));
  return {[shared](const std::string& name) { return shared->txt(name); },
          [shared](const std::string& name) { return shared->cname(name); }};
}

std::string NameAnswer::text() const {
  if (const auto* instance = std::get_if<InstanceName>(&target)) return instance->canonical();
  return std::get<GoogleName>(target).name;
}

Result<NameAnswer> look_up(const std::string& name, const DnsLookups& dns) {
  std::string current = name;
  for (int i = 0; i < kMostAliases; ++i) {
    if (auto google = google_name(current)) return NameAnswer{std::move(*google), name, kAliasTtl};
    auto answer = by_txt(current, dns);
    if (answer) return answer;
    const std::string where = "no DNS record found for " + quoted(name) + ", lookup of " + quoted(current) +
                              ". Lookup TXT error: " + answer.error().what + " Lookup CNAME ";
    const auto alias = dns.cname(current);
    if (!alias) {
      const bool absent = alias.error().reason == "no_record";
      // One of the two that is only unanswered may be there after all.
      const bool known = absent && answer.error().reason == "name";
      return fail(known ? Errc::Config : answer.error().code,
                  where + (absent ? "record not found" : "error: " + alias.error().what), 0,
                  known    ? "name"
                  : absent ? answer.error().reason
                           : alias.error().reason);
    }
    std::string next = *alias;
    if (next.ends_with('.')) next.pop_back();
    std::transform(next.begin(), next.end(), next.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (next == current) return fail(Errc::Config, where + "record not found", 0, "name");
    if (!is_domain_name(next))
      return fail(Errc::Config,
                  "invalid format for CNAME record for " + quoted(name) + ", lookup of " + quoted(current), 0,
                  "name");
    current = std::move(next);
  }
  return fail(Errc::Config, "config error: cname lookup limit exceeded (max 10) for " + quoted(name), 0,
              "name");
}

}  // namespace sidepool::cloudsql
