// cloudsql/credential_types.h -- from a credential file of some type to credentials (cloudsql.md §5.3, §5.4).
#pragma once
#include <string>

#include "src/cloudsql/credential_json.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

struct CredentialContext {
  const Environment& env;
  std::string universe;
};

// `where` names the file in errors. URLs of the file that would get a secret must be https or on this
// machine; those of a metadata server may also be link-local. Description and watched file are left empty.
Result<Credentials> make_credentials(CredentialFile file, const std::string& where,
                                     const CredentialContext& context);

tl::unexpected<Error> credential_error(const std::string& what);

}  // namespace sidepool::cloudsql
