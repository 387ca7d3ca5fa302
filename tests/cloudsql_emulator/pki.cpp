// tests/cloudsql_emulator/pki.cpp -- keys and certificates.
#include "tests/cloudsql_emulator/pki.h"

#include <openssl/rsa.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace sidepool::emulator {
namespace {

constexpr std::int64_t kYear = 365 * 24 * 3600;
constexpr std::int64_t kSkew = 60;
// The literal backslash is what Google's subjects carry.
constexpr char kServerOrganisation[] = "Google\\, Inc";
constexpr char kClientOrganisation[] = "Google, Inc";
// Ours: how Google carries the principal is not public. 2.25.x is the arc that needs no registration (X.667);
// Go refuses to read an arc beyond 31 bits.
constexpr char kPrincipalOid[] = "2.25.207513829";

void require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "cloudsql-emulator: OpenSSL failed at %s\n", what);
  std::abort();
}

Key make_key() {
  Key key(EVP_RSA_gen(2048));
  require(key != nullptr, "key generation");
  return key;
}

// Leaf keys say nothing about trust, so all instances share one: key generation is the slow part of a start.
EVP_PKEY* shared_leaf_key() {
  static const Key kKey = make_key();
  return kKey.get();
}

void add_name(X509_NAME* name, const char* field, const std::string& value) {
  require(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(value.data()),
                                     static_cast<int>(value.size()), -1, 0) == 1,
          "a subject name");
}

void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  require(extension != nullptr && X509_add_ext(cert, extension, -1) == 1, "an extension");
  X509_EXTENSION_free(extension);
}

struct Subject {
  std::string organisation;
  std::string common_name;
};

Cert new_cert(EVP_PKEY* key, const Subject& subject, X509* issuer, std::int64_t from, std::int64_t to) {
  Cert cert(X509_new());
  require(cert != nullptr && X509_set_version(cert.get(), 2) == 1, "a certificate");
  std::int64_t serial = 0;
  for (char c : random_hex(7)) serial = serial * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(cert.get()), serial);
  ASN1_TIME_set(X509_getm_notBefore(cert.get()), from);
  ASN1_TIME_set(X509_getm_notAfter(cert.get()), to);
  X509_NAME* name = X509_get_subject_name(cert.get());
  add_name(name, "C", "US");
  add_name(name, "O", subject.organisation);
  if (!subject.common_name.empty()) add_name(name, "CN", subject.common_name);
  X509_set_issuer_name(cert.get(), issuer != nullptr ? X509_get_subject_name(issuer) : name);
  require(X509_set_pubkey(cert.get(), key) == 1, "a public key");
  return cert;
}

void sign(X509* cert, EVP_PKEY* key) { require(X509_sign(cert, key, EVP_sha256()) > 0, "a signature"); }

Authority make_authority(const std::string& common_name, const Authority* issuer) {
  Authority out;
  out.key = make_key();
  std::int64_t now = std::time(nullptr);
  X509* issuer_cert = issuer != nullptr ? issuer->cert.get() : nullptr;
  out.cert =
      new_cert(out.key.get(), {kServerOrganisation, common_name}, issuer_cert, now - kSkew, now + kYear);
  X509* signer = issuer_cert != nullptr ? issuer_cert : out.cert.get();
  add_extension(out.cert.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(out.cert.get(), signer, NID_key_usage, "critical,digitalSignature,keyCertSign");
  add_extension(out.cert.get(), signer, NID_ext_key_usage, "clientAuth,serverAuth");
  add_extension(out.cert.get(), signer, NID_subject_key_identifier, "hash");
  if (issuer != nullptr) add_extension(out.cert.get(), signer, NID_authority_key_identifier, "keyid:always");
  sign(out.cert.get(), issuer != nullptr ? issuer->key.get() : out.key.get());
  return out;
}

Cert copy(X509* cert) {
  X509_up_ref(cert);
  return Cert(cert);
}

}  // namespace

ServerAuthority::ServerAuthority() : root_(make_authority("Google Cloud SQL Root CA", nullptr)) {}

const Authority& ServerAuthority::intermediate() const {
  std::call_once(once_,
                 [this] { intermediate_ = make_authority("Google Cloud SQL Intermediate CA", &root_); });
  return intermediate_;
}

std::shared_ptr<const Authority> make_client_authority(const std::string& project_instance) {
  // X.520 bounds a CN to 64 characters; the end names the instance, so the end is kept.
  std::string common_name = "Google Cloud SQL Signing CA " + project_instance;
  if (common_name.size() > 64) common_name = common_name.substr(common_name.size() - 64);
  return std::make_shared<const Authority>(make_authority(common_name, nullptr));
}

ServerIdentity make_server_identity(const ServerAuthority& authority, const LeafSpec& spec) {
  const Authority& issuer = spec.cas ? authority.intermediate() : authority.root();
  ServerIdentity out;
  EVP_PKEY_up_ref(shared_leaf_key());
  out.key.reset(shared_leaf_key());
  std::int64_t now = std::time(nullptr);
  std::int64_t from = spec.expired ? now - kYear : now - kSkew;
  std::int64_t to = spec.expired ? now - kSkew : now + kYear;
  out.leaf = new_cert(out.key.get(), {kServerOrganisation, spec.common_name}, issuer.cert.get(), from, to);
  add_extension(out.leaf.get(), issuer.cert.get(), NID_basic_constraints, "critical,CA:FALSE");
  add_extension(out.leaf.get(), issuer.cert.get(), NID_key_usage,
                "critical,digitalSignature,keyEncipherment");
  add_extension(out.leaf.get(), issuer.cert.get(), NID_ext_key_usage, "clientAuth,serverAuth");
  // Rotated authorities share their name: only the key identifier tells a verifier which one signed.
  add_extension(out.leaf.get(), issuer.cert.get(), NID_authority_key_identifier, "keyid:always");
  std::string names;
  for (const std::string& name : spec.dns_names) names += (names.empty() ? "DNS:" : ",DNS:") + name;
  if (!names.empty()) add_extension(out.leaf.get(), issuer.cert.get(), NID_subject_alt_name, names);
  sign(out.leaf.get(), issuer.key.get());
  if (spec.cas) out.chain.push_back(copy(authority.intermediate().cert.get()));
  out.chain.push_back(copy(authority.root().cert.get()));
  return out;
}

Cert sign_client(const Authority& authority, EVP_PKEY* client_key, std::string_view principal,
                 std::int64_t not_before, std::int64_t not_after) {
  Subject subject{kClientOrganisation, "Google Cloud SQL Client"};
  Cert cert = new_cert(client_key, subject, authority.cert.get(), not_before, not_after);
  add_extension(cert.get(), authority.cert.get(), NID_ext_key_usage, "clientAuth,serverAuth");
  add_extension(cert.get(), authority.cert.get(), NID_authority_key_identifier, "keyid:always");
  if (!principal.empty()) {
    ASN1_OBJECT* oid = OBJ_txt2obj(kPrincipalOid, 1);
    ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(value, reinterpret_cast<const unsigned char*>(principal.data()),
                          static_cast<int>(principal.size()));
    X509_EXTENSION* extension = X509_EXTENSION_create_by_OBJ(nullptr, oid, 0, value);
    require(extension != nullptr && X509_add_ext(cert.get(), extension, -1) == 1, "the principal");
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
  }
  sign(cert.get(), authority.key.get());
  return cert;
}

std::string principal_of(X509* client_cert) {
  ASN1_OBJECT* oid = OBJ_txt2obj(kPrincipalOid, 1);
  int at = X509_get_ext_by_OBJ(client_cert, oid, -1);
  ASN1_OBJECT_free(oid);
  if (at < 0) return {};
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(X509_get_ext(client_cert, at));
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

}  // namespace sidepool::emulator
