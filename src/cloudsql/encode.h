// cloudsql/encode.h -- text forms that Google's endpoints expect.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

// RFC 3986: everything but unreserved characters becomes %XX, so a ':' in a project goes out as %3A.
std::string percent_encode(std::string_view text);

// application/x-www-form-urlencoded. Tokens and secrets are among the fields.
SecretText form_encode(const std::vector<std::pair<std::string_view, std::string_view>>& fields);

// RFC 7617: the line "Authorization: Basic …".
SecretText basic_auth(std::string_view user, std::string_view password);

// RFC 4648 §4, with padding.
std::string base64(std::string_view bytes);

// RFC 4648 §5 without padding, as JWTs use it.
std::string base64url(std::string_view bytes);

// Text of somebody else for logs and client errors: one line of printable bytes, at most `max` of them, cut
// at a character's boundary.
std::string one_line(std::string_view text, std::size_t max);

}  // namespace sidepool::cloudsql
