// src/worker/principal_hint.h -- IAM logins under a name that the credentials do not have (cloudsql.md §4.3,
// §9 row 14): said, never refused here. A role that merely looks like one may well have a password.
#pragma once
#include <string>
#include <string_view>

#include "protocol/messages.h"
#include "src/worker/upstream.h"

namespace sidepool::worker {

// For a client that the database refused with `sqlstate`: what may help if `user` looks like an IAM role
// (has an '@'), else empty. `principal`: whose credentials they are; empty if that is not known.
std::string principal_hint(std::string_view principal, std::string_view user, std::string_view sqlstate);

// The same for a refusal by this upstream; empty unless its servers are IAM logins.
std::string principal_hint(const Upstream& upstream, std::string_view user, protocol::Bytes server_error);

// The database asks `user` for a password. At most one line a minute if that looks like a mistaken role: many
// IAM clients have no password to give, so they never hear of it.
void warn_of_foreign_role(const Upstream& upstream, std::string_view user);

}  // namespace sidepool::worker
