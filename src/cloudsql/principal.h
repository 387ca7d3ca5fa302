// cloudsql/principal.h -- whose credentials they are, and which PostgreSQL role belongs to them.
#pragma once
#include <string>
#include <string_view>

#include "src/cloudsql/call.h"
#include "src/cloudsql/credentials.h"

namespace sidepool::cloudsql {

// The PostgreSQL role of a principal (cloudsql.md §4.3): lower case, a service account without its domain, as
// much as a role name holds.
std::string role_name(std::string_view principal);

// The e-mail in …/serviceAccounts/E-MAIL:generateAccessToken; empty if the URL does not look like that.
std::string impersonated_email(std::string_view url);

// Whoever gets the admin token anyway may be asked about it: an emulator's tokens never leave this machine.
std::string token_info_url(const std::string& endpoint, const std::string& universe);

// Asks who the bearer of `admin`, a token of these credentials, is: the metadata server, or OAuth's tokeninfo
// at `token_info_url` (a token goes to no other place). Empty: it is not said.
std::string fetch_principal(const Credentials& credentials, const Token& admin,
                            const std::string& token_info_url, const Caller& caller);

}  // namespace sidepool::cloudsql
