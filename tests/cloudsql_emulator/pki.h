// tests/cloudsql_emulator/pki.h -- the certificates of one instance: server side and client signing CA.
//
// Shapes follow cloudsql.md §8.1: RSA-2048 throughout, "C=US, O=Google\, Inc", a root, an intermediate for
// the CAS mode, and a separate hierarchy for clients.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cloudsql_emulator/openssl_types.h"

namespace sidepool::emulator {

struct LeafSpec {
  std::string common_name;             // empty in CAS mode
  std::vector<std::string> dns_names;  // SANs
  bool cas = false;                    // signed by the intermediate
  bool expired = false;
};

struct Authority {
  Key key;
  Cert cert;
};

// One hierarchy that signs server certificates. Thread-safe.
class ServerAuthority {
 public:
  ServerAuthority();
  const Authority& root() const { return root_; }
  // Made when first wanted: only the CAS mode has one, and keys are slow to make.
  const Authority& intermediate() const;

 private:
  Authority root_;
  mutable std::once_flag once_;
  mutable Authority intermediate_;
};

struct ServerIdentity {
  Key key;
  Cert leaf;
  std::vector<Cert> chain;  // sent after the leaf
};

// `project_instance` ends the subject's CN: "Google Cloud SQL Signing CA p:i".
std::shared_ptr<const Authority> make_client_authority(const std::string& project_instance);
ServerIdentity make_server_identity(const ServerAuthority& authority, const LeafSpec& spec);

// The ephemeral certificate for a client's key. An empty principal leaves the private extension out.
Cert sign_client(const Authority& authority, EVP_PKEY* client_key, std::string_view principal,
                 std::int64_t not_before, std::int64_t not_after);
// The principal sign_client() put there, empty if none.
std::string principal_of(X509* client_cert);

}  // namespace sidepool::emulator
