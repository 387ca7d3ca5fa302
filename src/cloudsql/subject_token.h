// cloudsql/subject_token.h -- what an external account shows to Google's STS (cloudsql.md §5.4 d). Blocking;
// nothing is cached.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "src/cloudsql/call.h"
#include "src/cloudsql/credential_json.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

struct SubjectToken {
  SubjectToken() = default;
  SubjectToken(SecretText shown, std::shared_ptr<const ClientIdentity> as = {})  // NOLINT(*explicit*)
      : text(std::move(shown)), identity(std::move(as)) {}
  SecretText text;
  // Null unless the STS has to see a certificate of ours as well.
  std::shared_ptr<const ClientIdentity> identity;
};

CallResult<SubjectToken> fetch_subject_token(const ExternalAccount& account, const Caller& caller);

// The same for AWS alone: keys and region of the environment, else of the metadata server (with a session
// token if the file names where to get one), and a signed GetCallerIdentity made of them.
CallResult<SecretText> fetch_aws_subject_token(const AwsSubject& source, const std::string& audience,
                                               const Caller& caller);

// Pure: `POST url` signed by AWS Signature Version 4 (docs.aws.amazon.com/IAM, "Create a signed AWS API
// request") with `audience` among the signed headers, as URL-escaped JSON. Empty if `url` is no https URL.
SecretText sign_aws_request(const std::string& url, const std::string& region, const AwsKeys& keys,
                            const std::string& audience, WallTime now);

}  // namespace sidepool::cloudsql
