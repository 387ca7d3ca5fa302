// cloudsql/certificate_subject.cpp -- see the header.
#include "src/cloudsql/certificate_subject.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <optional>
#include <utility>
#include <vector>

#include "src/cloudsql/credential_json.h"
#include "src/cloudsql/encode.h"

namespace sidepool::cloudsql {
namespace {

tl::unexpected<Error> unusable(const std::string& what) { return fail(Errc::Auth, what, 0, "credentials"); }

Result<SecretText> read(const char* what, const std::string& path) {
  auto file = read_secret_file(path, FileKind::Regular);
  if (!file) return unusable(std::string{"cannot read "} + what + ": " + file.error().what);
  return std::move(file->text);
}

// Every certificate of a PEM file, in order; nullopt if one of them is malformed.
std::optional<std::vector<tls::CertPtr>> read_certificates(std::string_view pem) {
  const auto bio = tls::memory_bio(pem);
  std::vector<tls::CertPtr> out;
  while (bio) {
    tls::CertPtr cert{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)};
    if (!cert) break;
    out.push_back(std::move(cert));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return at_end ? std::optional{std::move(out)} : std::nullopt;
}

std::string base64_der(X509* cert) {
  unsigned char* der = nullptr;
  const int n = i2d_X509(cert, &der);
  if (n <= 0) return {};
  std::string out = base64({reinterpret_cast<const char*>(der), static_cast<std::size_t>(n)});
  OPENSSL_free(der);
  return out;
}

// What the issuers' file adds: it may begin with the leaf itself, and nowhere else have it.
Status append_trust_chain(std::vector<std::string>& chain, const std::string& path) {
  const auto text = read("the trust chain", path);
  if (!text) return tl::unexpected(text.error());
  const auto certificates = read_certificates(text->view());
  if (!certificates || certificates->empty())
    return unusable("the trust chain " + path + " is not a list of certificates in PEM");
  for (std::size_t i = 0; i < certificates->size(); ++i) {
    std::string encoded = base64_der((*certificates)[i].get());
    if (encoded != chain.front()) {
      chain.push_back(std::move(encoded));
    } else if (i > 0) {
      return unusable("the leaf certificate is not the first one of the trust chain " + path);
    }
  }
  return {};
}

}  // namespace

Result<CertificateProof> read_certificate_proof(const CertificateSubject& source) {
  const auto config = read("the certificate configuration", source.config_file);
  if (!config) return tl::unexpected(config.error());
  const CertificateConfig files = read_certificate_config(config->view());
  if (files.managed)
    return unusable("the certificate configuration " + source.config_file +
                    " leaves the key to Google's Enterprise Certificate Proxy, which is not supported; give "
                    "cert_configs.workload a cert_path and a key_path");
  if (files.certificate.empty() || files.key.empty())
    return unusable("the certificate configuration " + source.config_file +
                    " lacks cert_configs.workload with cert_path and key_path");
  auto certificate = read("the workload's certificate", files.certificate);
  if (!certificate) return tl::unexpected(std::move(certificate.error()));
  auto key_text = read("the key of the workload's certificate", files.key);
  if (!key_text) return tl::unexpected(std::move(key_text.error()));
  const auto leaf = read_certificates(certificate->view());
  if (!leaf || leaf->empty()) return unusable(files.certificate + " is not a certificate in PEM");
  const auto key = tls::read_private_key(key_text->view());
  if (!key) {
    static_cast<void>(tls::openssl_error());
    return unusable(files.key + " is not a private key in PEM without a pass phrase");
  }
  if (X509_check_private_key(leaf->front().get(), key.get()) != 1) {
    static_cast<void>(tls::openssl_error());
    return unusable("the certificate " + files.certificate + " does not belong to the key " + files.key);
  }
  std::vector<std::string> chain{base64_der(leaf->front().get())};
  if (!source.trust_chain.empty())
    if (auto ok = append_trust_chain(chain, source.trust_chain); !ok) return tl::unexpected(ok.error());
  auto identity = std::make_shared<const ClientIdentity>(
      ClientIdentity{std::string{certificate->view()}, std::move(*key_text)});
  return CertificateProof{std::move(identity), write_string_list(chain)};
}

}  // namespace sidepool::cloudsql
