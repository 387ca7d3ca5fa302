// tls/verify.cpp -- see the header.
#include "src/tls/verify.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <optional>
#include <utility>

namespace sidepool::tls {
namespace {

// Real bundles hold one to four certificates; more than this is not a bundle of one instance.
constexpr std::size_t kMaxAnchors = 64;

struct InstanceRule {
  Anchors anchors;
  InstanceIdentity who;
};

int rule_index() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr,
      [](void*, void* rule, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<InstanceRule*>(rule); });
  return index;
}

int failure_index() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr, nullptr,
      [](void*, void* text, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<std::string*>(text); });
  return index;
}

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_text(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

// Names come from a hostile certificate: a NUL or a byte outside printable ASCII never belongs to a DNS name.
bool plausible_name(std::string_view s) noexcept {
  if (s.empty() || s.size() > 253) return false;
  for (const char c : s)
    if (c <= ' ' || c > '~') return false;
  return true;
}

bool has_dns_name(X509* leaf, std::string_view host) {
  const GeneralNamesPtr names{
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr))};
  if (!names) return false;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    const ASN1_IA5STRING* text = name->d.dNSName;
    const std::string_view pattern{reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                                   static_cast<std::size_t>(ASN1_STRING_length(text))};
    if (host_matches(pattern, host)) return true;
  }
  return false;
}

// The common name; nullopt when there is none or more than one, where "the" name would be a matter of taste.
std::optional<std::string> common_name(X509* leaf) {
  const X509_NAME* subject = X509_get_subject_name(leaf);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return std::nullopt;
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
  unsigned char* utf8 = nullptr;
  const int n = ASN1_STRING_to_UTF8(&utf8, value);
  if (n < 0) return std::nullopt;
  std::string text{reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(n)};
  OPENSSL_free(utf8);
  return text;
}

// A name from a certificate goes into logs and client errors: bounded, and nothing but printable ASCII.
std::string printable(std::string_view s) {
  std::string out{s.substr(0, 128)};
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return out;
}

// X509_V_OK or why not.
int check_against(X509* leaf, X509_STORE* anchor) {
  const StoreCtxPtr ctx{X509_STORE_CTX_new()};
  if (!ctx || X509_STORE_CTX_init(ctx.get(), anchor, leaf, nullptr) != 1) return X509_V_ERR_OUT_OF_MEM;
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
  X509_VERIFY_PARAM_set_auth_level(param, 1);  // no MD5, no SHA-1, no RSA below 1024 bits
  const bool ok = X509_verify_cert(ctx.get()) == 1;
  const int error = X509_STORE_CTX_get_error(ctx.get());
  ERR_clear_error();
  if (ok) return X509_V_OK;
  return error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
}

// Nothing but "this anchor is not the one".
bool is_stranger(int error) noexcept {
  return error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
         error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
}

Status check_chain(X509* leaf, const Anchors& anchors) {
  int error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
  for (const StorePtr& anchor : anchors) {
    const int found = check_against(leaf, anchor.get());
    if (found == X509_V_OK) return {};
    if (is_stranger(error)) error = found;
  }
  return fail(Errc::Tls, std::string{"failed to verify certificate: "} + X509_verify_cert_error_string(error),
              error, "certificate_chain");
}

Status check_identity(X509* leaf, const InstanceIdentity& who) {
  if (!who.server_name.empty() && has_dns_name(leaf, who.server_name)) return {};
  const std::optional<std::string> name = common_name(leaf);
  if (name && !who.common_name.empty() && *name == who.common_name) return {};
  if (!who.server_name.empty())
    return fail(Errc::Tls, "certificate is not valid for \"" + who.server_name + "\"",
                X509_V_ERR_HOSTNAME_MISMATCH, "certificate_name");
  if (!name || name->empty())
    return fail(Errc::Tls, "certificate CN was empty, expected \"" + who.common_name + "\"",
                X509_V_ERR_HOSTNAME_MISMATCH, "certificate_name");
  return fail(Errc::Tls,
              "certificate had CN \"" + printable(*name) + "\", expected \"" + who.common_name + "\"",
              X509_V_ERR_HOSTNAME_MISMATCH, "certificate_name");
}

// Replaces OpenSSL's own verification. Anything but a clean accept fails the handshake.
int verify_callback(X509_STORE_CTX* handshake, void*) noexcept {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(handshake, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const auto* rule =
      ssl ? static_cast<const InstanceRule*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), rule_index()))
          : nullptr;
  X509* leaf = X509_STORE_CTX_get0_cert(handshake);
  if (!rule || !leaf) {
    X509_STORE_CTX_set_error(handshake, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  auto verdict = verify_instance_certificate(leaf, rule->anchors, rule->who);
  if (verdict) {
    X509_STORE_CTX_set_error(handshake, X509_V_OK);
    return 1;
  }
  X509_STORE_CTX_set_error(
      handshake, verdict.error().sys != 0 ? verdict.error().sys : X509_V_ERR_APPLICATION_VERIFICATION);
  delete static_cast<std::string*>(SSL_get_ex_data(ssl, failure_index()));
  auto text = std::make_unique<std::string>(std::move(verdict.error().what));
  if (SSL_set_ex_data(ssl, failure_index(), text.get()) == 1) static_cast<void>(text.release());
  return 0;
}

}  // namespace

bool host_matches(std::string_view pattern, std::string_view host) noexcept {
  if (pattern.ends_with('.')) pattern.remove_suffix(1);
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!plausible_name(pattern) || !plausible_name(host)) return false;
  if (host.find('*') != std::string_view::npos) return false;
  if (same_text(pattern, host)) return true;
  if (!pattern.starts_with("*.")) return false;
  const std::size_t dot = host.find('.');
  const std::string_view suffix = pattern.substr(1);
  if (dot == 0 || dot == std::string_view::npos) return false;
  if (suffix.find('.', 1) == std::string_view::npos || suffix.find('*') != std::string_view::npos)
    return false;
  return same_text(suffix, host.substr(dot));
}

Result<Anchors> read_anchors(std::string_view pem_bundle) {
  ERR_clear_error();
  const BioPtr bio = memory_bio(pem_bundle);
  if (!bio) return fail(Errc::Tls, "out of memory for the server CA bundle", 0, "tls_setup");
  Anchors anchors;
  while (CertPtr cert{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (anchors.size() == kMaxAnchors)
      return fail(Errc::Tls, "the server CA bundle holds too many certificates", 0, "ca_bundle");
    StorePtr store{X509_STORE_new()};
    if (!store || X509_STORE_add_cert(store.get(), cert.get()) != 1)
      return fail(Errc::Tls, "a server CA certificate was refused: " + openssl_error(), 0, "ca_bundle");
    anchors.push_back(std::move(store));
  }
  const unsigned long end = ERR_peek_last_error();
  const bool clean_end = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  if (!clean_end)
    return fail(Errc::Tls, "a server CA certificate cannot be read: " + openssl_error(), 0, "ca_bundle");
  ERR_clear_error();
  if (anchors.empty()) return fail(Errc::Tls, "the server CA bundle holds no certificate", 0, "ca_bundle");
  return anchors;
}

Status verify_instance_certificate(X509* leaf, const Anchors& anchors, const InstanceIdentity& who) {
  if (auto chain = check_chain(leaf, anchors); !chain) return chain;
  return check_identity(leaf, who);
}

Status require_instance_certificate(SSL_CTX* ctx, std::string_view pem_bundle, InstanceIdentity who) {
  if (who.common_name.empty())
    return fail(Errc::Tls, "an instance identity needs a common name", 0, "tls_setup");
  auto anchors = read_anchors(pem_bundle);
  if (!anchors) return tl::unexpected(std::move(anchors.error()));
  auto rule = std::make_unique<InstanceRule>(InstanceRule{std::move(*anchors), std::move(who)});
  if (SSL_CTX_set_ex_data(ctx, rule_index(), rule.get()) != 1)
    return fail(Errc::Tls, "out of memory for the certificate rule", 0, "tls_setup");
  static_cast<void>(rule.release());  // freed with the context
  SSL_CTX_set_cert_verify_callback(ctx, verify_callback, nullptr);
  // The callback alone would be advisory: a client fails the handshake only when it verifies its peer.
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  return {};
}

std::optional<std::string> peer_common_name(const SSL* ssl) {
  X509* leaf = SSL_get0_peer_certificate(ssl);
  auto name = leaf ? common_name(leaf) : std::nullopt;
  if (name && name->find('\0') != std::string::npos) return std::nullopt;
  return name;
}

bool same_certificate(const SSL* ours, const SSL* theirs) {
  const X509* shown = SSL_get_certificate(ours);
  const X509* seen = SSL_get0_peer_certificate(theirs);
  return shown && seen && X509_cmp(shown, seen) == 0;
}

std::string verify_failure(const SSL* ssl) {
  if (const auto* text = static_cast<const std::string*>(SSL_get_ex_data(ssl, failure_index()))) return *text;
  const long code = SSL_get_verify_result(ssl);
  return code == X509_V_OK ? std::string{} : X509_verify_cert_error_string(code);
}

}  // namespace sidepool::tls
