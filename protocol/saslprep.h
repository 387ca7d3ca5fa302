// protocol/saslprep.h -- RFC 4013: passwords that are written differently and mean the same.
#pragma once
#include <string_view>

#include "protocol/secret_bytes.h"

namespace sidepool::protocol {

// What PostgreSQL and libpq hash (pg_saslprep, RFC 5802 §2.2): the prepared password, or the password as it
// is if it cannot be prepared (not UTF-8, prohibited or unassigned characters, nothing left).
SecretText saslprep(std::string_view password);

}  // namespace sidepool::protocol
