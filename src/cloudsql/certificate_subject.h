// cloudsql/certificate_subject.h -- X.509 workload identity federation: the certificate that stands for the
// workload, in the TLS handshake with Google's STS and as the subject token.
#pragma once
#include <memory>
#include <string>

#include "src/cloudsql/credentials.h"
#include "src/cloudsql/http.h"

namespace sidepool::cloudsql {

struct CertificateProof {
  std::shared_ptr<const ClientIdentity> identity;
  // A JSON array of the certificates in DER and base64, the leaf first.
  std::string subject_token;
};

// Reads the files anew. Errors name the file and quote nothing.
Result<CertificateProof> read_certificate_proof(const CertificateSubject& source);

}  // namespace sidepool::cloudsql
