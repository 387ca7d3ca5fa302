// tests/cloudsql_emulator/instances.h -- the emulated instances: what the API says of them and how 3307
// behaves.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/json.h"
#include "tests/cloudsql_emulator/openssl_types.h"
#include "tests/cloudsql_emulator/pki.h"

namespace sidepool::emulator {

struct DnsName {
  std::string name;
  std::string connection_type;  // PUBLIC, PRIVATE_SERVICES_ACCESS, PRIVATE_SERVICE_CONNECT
  std::string scope;            // INSTANCE, CLUSTER
};

struct InstanceSettings {
  std::string name;  // project:region:instance
  // Reported by connectSettings; each is also listened on. Empty: there is no address of that type.
  std::string address;              // PRIMARY
  std::string private_address;      // PRIVATE
  std::vector<std::string> listen;  // further addresses, where a DNS name points
  bool psc_enabled = false;
  std::vector<DnsName> dns_names;
  std::string dns_name;
  std::vector<std::string> sans;       // empty: every name above
  bool cas = false;                    // CAS hierarchy: empty CN, identity by SAN
  std::string server_ca_mode;          // empty: what fits `cas`
  std::vector<std::string> bundle;     // of root, intermediate, leaf; empty: what Google returns
  std::string server_cert = "normal";  // normal, wrong_name, wrong_ca, expired
  std::string region;                  // empty: the one of the name
  std::string backend_type = "SECOND_GEN";
  std::string database_version = "POSTGRES_15";
  std::vector<std::string> mdx = {"CLIENT_PROTOCOL_TYPE"};
  std::string mdx_reply = "none";  // none, ok, error
  std::string tls = "1.3";         // 1.3, 1.2: the highest offered
  bool iam = true;                 // database flag cloudsql.iam_authentication
  std::int64_t cert_lifetime_s = 3600;
  std::int64_t cert_skew_s = 60;  // how far in the past an ephemeral certificate begins

  std::string project() const;
  std::string region_of_name() const;
  std::string instance() const;
  std::string common_name() const { return project() + ":" + instance(); }
  std::vector<std::string> addresses() const;  // all to listen on, without repetition
};

// Changes `settings` by the members present in `patch`; the members have the names of the struct.
Status apply_patch(InstanceSettings& settings, const Json& patch);
Json to_json(const InstanceSettings& settings);

// What 3307 does to the connections that arrive next.
struct SideFault {
  // none, refuse, hang, reset_before_handshake, reset_after_handshake, close_after_handshake,
  // hang_after_handshake, alert_bad_certificate, alert_certificate_expired, alert_certificate_revoked,
  // alert_unknown_ca
  std::string mode = "none";
  long times = -1;           // -1: until changed; "refuse" has no count
  int connect_delay_ms = 0;  // before the handshake
  int relay_delay_ms = 0;    // each chunk waits this long, in both directions
  bool stall = false;        // established connections move no byte
};
Status apply_patch(SideFault& fault, const Json& patch);

// What one connection needs; stays valid whatever happens to the instance afterwards.
struct Endpoint {
  std::string instance;
  SharedContext tls;
  bool iam = true;
  std::string mdx_reply;
  SideFault fault;
};

// Thread-safe.
class Instances {
 public:
  // Creates the instance, or changes it. Keys are made before the lock is taken.
  Status put(const std::string& name, const Json& patch);
  std::optional<InstanceSettings> settings(const std::string& name) const;
  std::vector<std::string> names() const;
  // API paths carry no region. Empty: there is none.
  std::string by_project(std::string_view project, std::string_view instance) const;
  // The instance with this DNS name (trailing dot ignored).
  std::optional<std::string> by_dns_name(std::string_view name) const;
  // PEM of the certificates that `bundle` names, old roots included.
  std::string bundle(const std::string& name) const;
  // nullptr if there is no such instance.
  Cert sign(const std::string& name, EVP_PKEY* client_key, std::string_view principal) const;
  // what: server_ca, server_cert, client_ca. keep_old: the old authority stays trusted (and in the bundle).
  Status rotate(const std::string& name, const std::string& what, bool keep_old);

  Status set_fault(const std::string& name, const Json& patch);
  void clear_faults();
  SideFault fault(const std::string& name) const;
  // For one accepted connection: takes one of the fault's counted uses.
  std::optional<Endpoint> accept(const std::string& name);
  // Address -> instance, without the instances that refuse.
  std::map<std::string, std::string> listeners() const;

 private:
  struct Instance {
    InstanceSettings settings;
    std::shared_ptr<const ServerAuthority> server_authority;
    std::shared_ptr<const ServerAuthority> wrong_authority;  // never in the bundle; made when first wanted
    std::vector<std::shared_ptr<const ServerAuthority>> old_server_authorities;
    std::shared_ptr<const Authority> client_authority;
    std::vector<std::shared_ptr<const Authority>> old_client_authorities;
    ServerIdentity identity;
    SharedContext tls;
    SideFault fault;
  };

  static Status rebuild(Instance& instance);
  Status check_addresses(const InstanceSettings& wanted) const;

  mutable std::mutex mutex_;
  std::map<std::string, Instance, std::less<>> instances_;
};

}  // namespace sidepool::emulator
