// cloudsql/metadata_server.h -- Google's metadata server of this machine (cloudsql.md §5.5). Blocking.
#pragma once
#include <string>

#include "src/cloudsql/access_token.h"
#include "src/cloudsql/call.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

// Up to five attempts at what passes by itself. The first token is followed by the question which universe it
// is from: another one than expected is an error.
CallResult<Token> fetch_metadata_token(MetadataServer& server, Scope scope, const Caller& caller);

// The e-mail of its service account; empty if it does not say.
std::string fetch_metadata_principal(const MetadataServer& server, const Caller& caller);

}  // namespace sidepool::cloudsql
