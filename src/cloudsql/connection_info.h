// cloudsql/connection_info.h -- what a dial to an instance needs: one immutable value a certificate epoch.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/instance.h"
#include "src/cloudsql/json_text.h"
#include "src/cloudsql/refresh.h"
#include "src/tls/context.h"

namespace sidepool::cloudsql {

inline constexpr std::uint16_t kServerPort = 3307;

// Auto: the public address if there is one, else the private one.
enum class IpType : std::uint8_t { Public, Private, Psc, Auto };

struct ConnectionInfo {
  InstanceKey key;
  ReachedInstance reached;
  std::uint64_t epoch = 0;  // grows with every certificate of the process
  std::string public_ip, private_ip;
  std::vector<std::string> psc_names;
  std::string sni;        // for the handshake; empty: none is sent
  std::string ca_bundle;  // PEM
  tls::Context context;   // holds the client certificate and the verification rule
  WallTime expires;       // the earlier end of certificate and login token
  bool mdx = false;       // send mdx_frame() in front of the first byte
  std::string database_version;

  bool valid(WallTime now) const noexcept { return now < expires; }
};
using InfoPtr = std::shared_ptr<const ConnectionInfo>;

// The hosts to dial at kServerPort, in order; an error that says which types the instance has. Addresses of
// the DNS name by which the instance was reached come before them.
Result<std::vector<std::string>> targets(const ConnectionInfo& info, IpType type);

// Puts settings and certificate together; the context is ready for handshakes. `login_expires`: nullptr
// without IAM or when the token's end is not known.
Result<InfoPtr> make_connection_info(const InstanceKey& key, ReachedInstance&& reached, std::uint64_t epoch,
                                     ConnectSettings&& settings, std::string_view certificate_pem,
                                     EVP_PKEY* private_key, const WallTime* login_expires);

}  // namespace sidepool::cloudsql
