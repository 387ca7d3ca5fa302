// cloudsql/exchange.h -- one request to a token endpoint and its answer. Blocking.
#pragma once
#include <string>
#include <string_view>

#include "src/cloudsql/access_token.h"
#include "src/cloudsql/call.h"

namespace sidepool::cloudsql {

HttpRequest form_post(const std::string& url, SecretText form);

// An answer within 2xx, or a failure whose text begins with `prefix` and names `who` answered. 5xx without
// Retry-After are asked for again, three times in all; lost connections are not: refresh.h paces those. The
// body of what is returned may hold a token: whoever reads it wipes it.
CallResult<HttpResponse> exchange(const HttpRequest& request, std::string_view prefix, std::string_view who,
                                  const Caller& caller);

// Reads OAuth's answer (access_token, expires_in), which is wiped. `rotated`, if given, gets a new refresh
// token if there is one.
CallResult<Token> read_token(CallResult<HttpResponse> response, std::string_view prefix, WallTime asked,
                             SecretText* rotated = nullptr);

}  // namespace sidepool::cloudsql
