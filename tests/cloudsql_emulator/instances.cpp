// tests/cloudsql_emulator/instances.cpp -- the registry of instances and their certificates.
#include "tests/cloudsql_emulator/instances.h"

#include <algorithm>
#include <ctime>

namespace sidepool::emulator {
namespace {

std::string_view without_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

LeafSpec leaf_spec(const InstanceSettings& s) {
  LeafSpec spec;
  spec.cas = s.cas;
  spec.expired = s.server_cert == "expired";
  spec.dns_names = s.sans;
  if (s.sans.empty()) {
    if (!s.dns_name.empty()) spec.dns_names.push_back(s.dns_name);
    for (const DnsName& name : s.dns_names) spec.dns_names.push_back(name.name);
  }
  if (!s.cas) spec.common_name = s.common_name();
  if (s.server_cert == "wrong_name") {
    if (!s.cas) spec.common_name = "another-project:another-instance";
    spec.dns_names = {"another.example.com"};
  }
  return spec;
}

Result<SharedContext> make_context(const ServerIdentity& identity, const std::vector<X509*>& client_roots,
                                   const std::string& tls) {
  SharedContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  int version = tls == "1.2" ? TLS1_2_VERSION : TLS1_3_VERSION;
  bool ok = SSL_CTX_set_min_proto_version(context.get(), version) == 1 &&
            SSL_CTX_set_max_proto_version(context.get(), version) == 1 &&
            SSL_CTX_use_certificate(context.get(), identity.leaf.get()) == 1 &&
            SSL_CTX_use_PrivateKey(context.get(), identity.key.get()) == 1;
  for (const Cert& cert : identity.chain) ok = ok && SSL_CTX_add1_chain_cert(context.get(), cert.get()) == 1;
  for (X509* root : client_roots)
    ok = ok && X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), root) == 1;
  if (!ok) return fail(Errc::Tls, "OpenSSL refuses the server certificate");
  // No list of CA names is sent: a Go client withholds a certificate whose issuer is not in the list (§1.9).
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  // Otherwise OpenSSL answers a client that just leaves with a decode_error alert.
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

}  // namespace

Status Instances::rebuild(Instance& instance) {
  const InstanceSettings& s = instance.settings;
  if (s.server_cert == "wrong_ca" && !instance.wrong_authority)
    instance.wrong_authority = std::make_shared<ServerAuthority>();
  const ServerAuthority& signer =
      s.server_cert == "wrong_ca" ? *instance.wrong_authority : *instance.server_authority;
  instance.identity = make_server_identity(signer, leaf_spec(s));
  std::vector<X509*> roots = {instance.client_authority->cert.get()};
  for (const auto& old : instance.old_client_authorities) roots.push_back(old->cert.get());
  auto context = make_context(instance.identity, roots, s.tls);
  if (!context) return tl::unexpected<Error>(context.error());
  instance.tls = *context;
  return {};
}

Status Instances::check_addresses(const InstanceSettings& wanted) const {
  for (const auto& [name, instance] : instances_) {
    if (name == wanted.name) continue;
    for (const std::string& address : instance.settings.addresses()) {
      std::vector<std::string> mine = wanted.addresses();
      if (std::find(mine.begin(), mine.end(), address) != mine.end()) {
        return fail(Errc::Config,
                    address + " already belongs to " + name + ": 3307 tells instances by address");
      }
    }
  }
  return {};
}

Status Instances::put(const std::string& name, const Json& patch) {
  Instance fresh;
  fresh.settings.name = name;
  if (!settings(name)) {
    if (Status status = apply_patch(fresh.settings, patch); !status) return status;
    fresh.server_authority = std::make_shared<ServerAuthority>();
    fresh.client_authority = make_client_authority(fresh.settings.common_name());
  }
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  Instance& instance = it == instances_.end() ? fresh : it->second;
  InstanceSettings changed = instance.settings;
  if (Status status = apply_patch(changed, patch); !status) return status;
  if (Status status = check_addresses(changed); !status) return status;
  instance.settings = changed;
  if (Status status = rebuild(instance); !status) return status;
  if (it == instances_.end()) instances_[name] = std::move(fresh);
  return {};
}

std::optional<InstanceSettings> Instances::settings(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  if (it == instances_.end()) return std::nullopt;
  return it->second.settings;
}

std::vector<std::string> Instances::names() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, instance] : instances_) out.push_back(name);
  return out;
}

std::string Instances::by_project(std::string_view project, std::string_view instance) const {
  std::lock_guard lock(mutex_);
  for (const auto& [name, known] : instances_) {
    if (known.settings.project() == project && known.settings.instance() == instance) return name;
  }
  return {};
}

std::optional<std::string> Instances::by_dns_name(std::string_view name) const {
  std::lock_guard lock(mutex_);
  for (const auto& [id, instance] : instances_) {
    const InstanceSettings& s = instance.settings;
    bool found = !s.dns_name.empty() && without_dot(s.dns_name) == without_dot(name);
    for (const DnsName& one : s.dns_names) found = found || without_dot(one.name) == without_dot(name);
    if (found) return id;
  }
  return std::nullopt;
}

std::string Instances::bundle(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  if (it == instances_.end()) return {};
  const Instance& instance = it->second;
  std::vector<std::string> parts = instance.settings.bundle;
  if (parts.empty()) {
    parts = instance.settings.cas ? std::vector<std::string>{"intermediate", "root"}
                                  : std::vector<std::string>{"root"};
  }
  std::vector<std::shared_ptr<const ServerAuthority>> authorities = instance.old_server_authorities;
  authorities.push_back(instance.server_authority);
  std::string out;
  for (const auto& authority : authorities) {
    for (const std::string& part : parts) {
      if (part == "root") out += to_pem(authority->root().cert.get());
      if (part == "intermediate") out += to_pem(authority->intermediate().cert.get());
    }
  }
  if (std::find(parts.begin(), parts.end(), "leaf") != parts.end())
    out += to_pem(instance.identity.leaf.get());
  return out;
}

Cert Instances::sign(const std::string& name, EVP_PKEY* client_key, std::string_view principal) const {
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  if (it == instances_.end()) return nullptr;
  const InstanceSettings& s = it->second.settings;
  std::int64_t now = std::time(nullptr);
  return sign_client(*it->second.client_authority, client_key, principal, now - s.cert_skew_s,
                     now + s.cert_lifetime_s);
}

Status Instances::rotate(const std::string& name, const std::string& what, bool keep_old) {
  auto known = settings(name);
  if (!known) return fail(Errc::Config, "there is no instance " + name);
  auto server = what == "server_ca" ? std::make_shared<ServerAuthority>() : nullptr;
  auto client = what == "client_ca" ? make_client_authority(known->common_name()) : nullptr;
  if (!server && !client && what != "server_cert") {
    return fail(Errc::Config, "what to rotate is one of server_ca, server_cert, client_ca");
  }
  std::lock_guard lock(mutex_);
  Instance& instance = instances_[name];
  if (server) {
    if (!keep_old) instance.old_server_authorities.clear();
    if (keep_old) instance.old_server_authorities.push_back(instance.server_authority);
    instance.server_authority = server;
  }
  if (client) {
    if (!keep_old) instance.old_client_authorities.clear();
    if (keep_old) instance.old_client_authorities.push_back(instance.client_authority);
    instance.client_authority = client;
  }
  return rebuild(instance);
}

Status Instances::set_fault(const std::string& name, const Json& patch) {
  std::lock_guard lock(mutex_);
  bool found = false;
  for (auto& [id, instance] : instances_) {
    if (!name.empty() && id != name) continue;
    SideFault changed = instance.fault;
    if (Status status = apply_patch(changed, patch); !status) return status;
    instance.fault = changed;
    found = true;
  }
  if (!found) return fail(Errc::Config, "there is no instance " + name);
  return {};
}

void Instances::clear_faults() {
  std::lock_guard lock(mutex_);
  for (auto& [id, instance] : instances_) instance.fault = {};
}

SideFault Instances::fault(const std::string& name) const {
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  return it == instances_.end() ? SideFault{} : it->second.fault;
}

std::optional<Endpoint> Instances::accept(const std::string& name) {
  std::lock_guard lock(mutex_);
  auto it = instances_.find(name);
  if (it == instances_.end()) return std::nullopt;
  Instance& instance = it->second;
  Endpoint out{name, instance.tls, instance.settings.iam, instance.settings.mdx_reply, instance.fault};
  if (instance.fault.times == 0) out.fault.mode = "none";
  if (instance.fault.times > 0 && --instance.fault.times == 0) {
    instance.fault.mode = "none";
    instance.fault.times = -1;
  }
  return out;
}

std::map<std::string, std::string> Instances::listeners() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, std::string> out;
  for (const auto& [name, instance] : instances_) {
    if (instance.fault.mode == "refuse") continue;
    for (const std::string& address : instance.settings.addresses()) out[address] = name;
  }
  return out;
}

}  // namespace sidepool::emulator
