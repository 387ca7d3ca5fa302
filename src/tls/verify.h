// tls/verify.h -- which server certificates count as a given Cloud SQL instance.
#pragma once
#include <openssl/ssl.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/tls/openssl_ptr.h"

namespace sidepool::tls {

// Whom the certificate must name. `common_name` is PROJECT:INSTANCE (the region is not part of it). An empty
// `server_name` means that the instance has no DNS name: then only the common name counts.
struct InstanceIdentity {
  std::string server_name;
  std::string common_name;
};

// One store for each certificate of a PEM bundle, every one of them an anchor, self-signed or not, CA or
// leaf. One each, because the roots of a rotation may bear the same name, and OpenSSL tries only the first
// issuer of a name.
using Anchors = std::vector<StorePtr>;
// A bundle without a certificate, or with one that cannot be read, is an error.
Result<Anchors> read_anchors(std::string_view pem_bundle);

// The leaf must be an anchor or be signed by one (certificates that the server sends along are not used), be
// valid now by the wall clock, be meant for TLS servers, and carry the identity: a DNS name among its subject
// alternative names or, failing that, the common name.
Status verify_instance_certificate(X509* leaf, const Anchors& anchors, const InstanceIdentity& who);

// DNS name comparison without case and without one trailing dot on either side (Cloud SQL's names carry it,
// which X509_check_host refuses); `*` only as the whole first label, for exactly one label, above at least
// two others.
bool host_matches(std::string_view pattern, std::string_view host) noexcept;

// Makes every handshake of this context succeed only with a certificate that verify_instance_certificate()
// accepts.
Status require_instance_certificate(SSL_CTX* ctx, std::string_view pem_bundle, InstanceIdentity who);

// The common name in the peer's certificate. Nothing if it showed none, or if the certificate has several, or
// one with a zero byte (somebody's name could be hidden behind it).
std::optional<std::string> peer_common_name(const SSL* ssl);

// The certificate that we show on one connection is the one that the peer shows on the other.
bool same_certificate(const SSL* ours, const SSL* theirs);

// Why the peer's certificate was refused in this connection's handshake; empty if it was not.
std::string verify_failure(const SSL* ssl);

}  // namespace sidepool::tls
