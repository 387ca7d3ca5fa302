// tests/cloudsql_emulator/instance_settings.cpp -- settings from and to JSON.
#include <algorithm>

#include "tests/cloudsql_emulator/instances.h"

namespace sidepool::emulator {
namespace {

bool one_of(const std::string& value, std::initializer_list<std::string_view> allowed) {
  return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
}

Status expect_text(const Json& value, const std::string& key, std::string& out) {
  if (value.string() == nullptr) return fail(Errc::Config, key + " must be a string");
  out = *value.string();
  return {};
}

Status expect_texts(const Json& value, const std::string& key, std::vector<std::string>& out) {
  if (value.array() == nullptr) return fail(Errc::Config, key + " must be an array of strings");
  out.clear();
  for (const Json& item : *value.array()) {
    if (item.string() == nullptr) return fail(Errc::Config, key + " must be an array of strings");
    out.push_back(*item.string());
  }
  return {};
}

Status expect_flag(const Json& value, const std::string& key, bool& out) {
  if (value.boolean() == nullptr) return fail(Errc::Config, key + " must be true or false");
  out = *value.boolean();
  return {};
}

template <class Number>
Status expect_number(const Json& value, const std::string& key, Number& out) {
  if (value.number() == nullptr) return fail(Errc::Config, key + " must be a number");
  out = static_cast<Number>(*value.number());
  return {};
}

// Names go into a SAN in OpenSSL's configuration syntax, so nothing but host name characters may pass.
bool is_host_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == '*';
  });
}

Status expect_dns_names(const Json& value, std::vector<DnsName>& out) {
  if (value.array() == nullptr) return fail(Errc::Config, "dns_names must be an array of objects");
  out.clear();
  for (const Json& item : *value.array()) {
    DnsName name{item.text("name"), item.text("connectionType", "PRIVATE_SERVICE_CONNECT"),
                 item.text("dnsScope", "INSTANCE")};
    out.push_back(name);
  }
  return {};
}

Status apply_member(InstanceSettings& s, const std::string& key, const Json& value) {
  const std::map<std::string_view, std::string*> texts = {
      {"address", &s.address},           {"private_address", &s.private_address},
      {"dns_name", &s.dns_name},         {"server_ca_mode", &s.server_ca_mode},
      {"server_cert", &s.server_cert},   {"region", &s.region},
      {"backend_type", &s.backend_type}, {"database_version", &s.database_version},
      {"mdx_reply", &s.mdx_reply},       {"tls", &s.tls}};
  const std::map<std::string_view, std::vector<std::string>*> lists = {
      {"listen", &s.listen}, {"sans", &s.sans}, {"bundle", &s.bundle}, {"mdx", &s.mdx}};
  const std::map<std::string_view, bool*> flags = {
      {"psc_enabled", &s.psc_enabled}, {"cas", &s.cas}, {"iam", &s.iam}};
  const std::map<std::string_view, std::int64_t*> numbers = {{"cert_lifetime_s", &s.cert_lifetime_s},
                                                             {"cert_skew_s", &s.cert_skew_s}};
  if (key == "name") return {};
  if (key == "dns_names") return expect_dns_names(value, s.dns_names);
  if (auto it = texts.find(key); it != texts.end()) return expect_text(value, key, *it->second);
  if (auto it = lists.find(key); it != lists.end()) return expect_texts(value, key, *it->second);
  if (auto it = flags.find(key); it != flags.end()) return expect_flag(value, key, *it->second);
  if (auto it = numbers.find(key); it != numbers.end()) return expect_number(value, key, *it->second);
  return fail(Errc::Config, "unknown instance setting \"" + key + "\"");
}

Status check(const InstanceSettings& s) {
  if (s.instance().empty()) return fail(Errc::Config, "an instance is named project:region:instance");
  if (s.common_name().size() > 64)
    return fail(Errc::Config, "project:instance is longer than a certificate's CN may be");
  if (!one_of(s.server_cert, {"normal", "wrong_name", "wrong_ca", "expired"})) {
    return fail(Errc::Config, "server_cert is one of normal, wrong_name, wrong_ca, expired");
  }
  if (!one_of(s.mdx_reply, {"none", "ok", "error"})) {
    return fail(Errc::Config, "mdx_reply is one of none, ok, error");
  }
  if (!one_of(s.tls, {"1.3", "1.2"})) return fail(Errc::Config, "tls is 1.3 or 1.2");
  for (const std::string& part : s.bundle) {
    if (!one_of(part, {"root", "intermediate", "leaf"})) {
      return fail(Errc::Config, "bundle holds root, intermediate or leaf");
    }
  }
  std::vector<std::string> names = s.sans;
  if (!s.dns_name.empty()) names.push_back(s.dns_name);
  for (const DnsName& name : s.dns_names) names.push_back(name.name);
  for (const std::string& name : names) {
    if (!is_host_name(name)) return fail(Errc::Config, "\"" + name + "\" is no DNS name");
  }
  return {};
}

// The last two colons separate region and instance; the project may hold one ("google.com:p").
std::size_t last_colon(std::string_view name) { return name.rfind(':'); }

}  // namespace

std::string InstanceSettings::instance() const {
  std::size_t last = last_colon(name);
  if (last == std::string::npos || last == 0 || name.rfind(':', last - 1) == std::string::npos) return {};
  return name.substr(last + 1);
}

std::string InstanceSettings::region_of_name() const {
  std::size_t last = last_colon(name);
  std::size_t first = name.rfind(':', last - 1);
  return name.substr(first + 1, last - first - 1);
}

std::string InstanceSettings::project() const {
  return name.substr(0, name.rfind(':', last_colon(name) - 1));
}

std::vector<std::string> InstanceSettings::addresses() const {
  std::vector<std::string> out;
  auto add = [&](const std::string& one) {
    if (!one.empty() && std::find(out.begin(), out.end(), one) == out.end()) out.push_back(one);
  };
  add(address);
  add(private_address);
  for (const std::string& one : listen) add(one);
  return out;
}

Status apply_patch(InstanceSettings& settings, const Json& patch) {
  if (patch.object() == nullptr) return fail(Errc::Config, "instance settings must be an object");
  for (const auto& [key, value] : *patch.object()) {
    if (Status status = apply_member(settings, key, value); !status) return status;
  }
  return check(settings);
}

Status apply_patch(SideFault& fault, const Json& patch) {
  if (patch.object() == nullptr) return fail(Errc::Config, "a side fault must be an object");
  for (const auto& [key, value] : *patch.object()) {
    Status status;
    if (key == "mode") {
      status = expect_text(value, key, fault.mode);
    } else if (key == "times") {
      status = expect_number(value, key, fault.times);
    } else if (key == "connect_delay_ms") {
      status = expect_number(value, key, fault.connect_delay_ms);
    } else if (key == "relay_delay_ms") {
      status = expect_number(value, key, fault.relay_delay_ms);
    } else if (key == "stall") {
      status = expect_flag(value, key, fault.stall);
    } else if (key != "instance") {
      status = fail(Errc::Config, "unknown side fault member \"" + key + "\"");
    }
    if (!status) return status;
  }
  if (!one_of(fault.mode, {"none", "refuse", "hang", "reset_before_handshake", "reset_after_handshake",
                           "close_after_handshake", "hang_after_handshake", "alert_bad_certificate",
                           "alert_certificate_expired", "alert_certificate_revoked", "alert_unknown_ca"})) {
    return fail(Errc::Config, "unknown side fault mode \"" + fault.mode + "\"");
  }
  return {};
}

Json to_json(const InstanceSettings& s) {
  Json out;
  out["name"] = s.name;
  out["address"] = s.address;
  out["private_address"] = s.private_address;
  out["listen"] = s.listen;
  out["psc_enabled"] = s.psc_enabled;
  out["dns_name"] = s.dns_name;
  out["dns_names"] = Json::Array{};
  for (const DnsName& name : s.dns_names) {
    out["dns_names"].push(Json::Object{
        {"name", name.name}, {"connectionType", name.connection_type}, {"dnsScope", name.scope}});
  }
  out["sans"] = s.sans;
  out["cas"] = s.cas;
  out["server_ca_mode"] = s.server_ca_mode;
  out["bundle"] = s.bundle;
  out["server_cert"] = s.server_cert;
  out["region"] = s.region;
  out["backend_type"] = s.backend_type;
  out["database_version"] = s.database_version;
  out["mdx"] = s.mdx;
  out["mdx_reply"] = s.mdx_reply;
  out["tls"] = s.tls;
  out["iam"] = s.iam;
  out["cert_lifetime_s"] = static_cast<long>(s.cert_lifetime_s);
  out["cert_skew_s"] = static_cast<long>(s.cert_skew_s);
  return out;
}

}  // namespace sidepool::emulator
