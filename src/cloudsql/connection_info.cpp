// cloudsql/connection_info.cpp -- see the header.
#include "src/cloudsql/connection_info.h"

#include <openssl/pem.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

namespace sidepool::cloudsql {
namespace {

std::optional<WallTime> not_after(const X509* cert) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &parts) != 1) return std::nullopt;
  return WallTime{std::chrono::seconds{timegm(&parts)}};
}

std::string listed_types(const ConnectionInfo& info) {
  std::string out;
  const auto add = [&out](bool present, std::string_view type) {
    if (!present) return;
    if (!out.empty()) out += ", ";
    out += type;
  };
  add(!info.public_ip.empty(), "PUBLIC");
  add(!info.private_ip.empty(), "PRIVATE");
  add(!info.psc_names.empty(), "PSC");
  return out;
}

tl::unexpected<Error> no_address(const ConnectionInfo& info, std::string_view type) {
  return fail(Errc::Config,
              "config error: instance does not have IP of type \"" + std::string{type} +
                  "\" (connection name = \"" + info.reached.text() + "\"), it has " + listed_types(info),
              0, "no_address");
}

}  // namespace

Result<std::vector<std::string>> targets(const ConnectionInfo& info, IpType type) {
  const auto one = [&](const std::string& address,
                       std::string_view name) -> Result<std::vector<std::string>> {
    if (address.empty()) return no_address(info, name);
    return std::vector<std::string>{address};
  };
  switch (type) {
    case IpType::Public:
      return one(info.public_ip, "PUBLIC");
    case IpType::Private:
      return one(info.private_ip, "PRIVATE");
    case IpType::Auto:
      return one(info.public_ip.empty() ? info.private_ip : info.public_ip, "AutoIP");
    case IpType::Psc:
      break;
  }
  if (info.psc_names.empty()) return no_address(info, "PSC");
  return info.psc_names;
}

Result<InfoPtr> make_connection_info(const InstanceKey& key, ReachedInstance&& reached, std::uint64_t epoch,
                                     ConnectSettings&& settings, std::string_view certificate_pem,
                                     EVP_PKEY* private_key, const WallTime* login_expires) {
  const auto bio = tls::memory_bio(certificate_pem);
  const tls::CertPtr cert{bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr};
  if (!cert) {
    static_cast<void>(tls::openssl_error());
    return fail(Errc::Api, "refresh error: failed to decode valid PEM cert", 0, "malformed");
  }
  const auto end = not_after(cert.get());
  if (!end) return fail(Errc::Api, "the client certificate has no end of validity", 0, "malformed");
  // The name by which it was found, else what its settings say (cloudsql.md §1.10).
  const std::string& server_name = reached.dns_name.empty() ? settings.server_name : reached.dns_name;
  auto context = tls::instance_context(
      {cert.get(), private_key, settings.ca_bundle, {server_name, reached.instance.common_name()}});
  if (!context) return tl::unexpected(std::move(context.error()));
  ConnectionInfo info;
  info.key = key;
  info.epoch = epoch;
  info.public_ip = std::move(settings.public_ip);
  info.private_ip = std::move(settings.private_ip);
  info.psc_names = std::move(settings.psc_names);
  info.sni = tls::sni_name(server_name);
  info.reached = std::move(reached);
  info.ca_bundle = std::move(settings.ca_bundle);
  info.context = std::move(*context);
  info.expires = login_expires ? std::min(*end, *login_expires) : *end;
  info.mdx = settings.mdx;
  info.database_version = std::move(settings.database_version);
  return std::make_shared<const ConnectionInfo>(std::move(info));
}

}  // namespace sidepool::cloudsql
