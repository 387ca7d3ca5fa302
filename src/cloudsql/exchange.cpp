// cloudsql/exchange.cpp -- see the header.
#include "src/cloudsql/exchange.h"

#include <utility>

#include "src/cloudsql/api.h"
#include "src/cloudsql/json_text.h"

namespace sidepool::cloudsql {

HttpRequest form_post(const std::string& url, SecretText form) {
  HttpRequest request;
  request.method = HttpRequest::Method::Post;
  request.url = url;
  request.headers = {"Content-Type: application/x-www-form-urlencoded"};
  request.body = std::move(form);
  return request;
}

CallResult<HttpResponse> exchange(const HttpRequest& request, std::string_view prefix, std::string_view who,
                                  const Caller& caller) {
  constexpr int kAttempts = 3;
  for (int attempt = 0;; ++attempt) {
    auto response = caller.send(request);
    if (!response) return tl::unexpected(no_answer(std::move(response.error()), prefix));
    if (response->status >= 200 && response->status <= 299) return std::move(*response);
    const bool again =
        response->status >= 500 && response->retry_after == Millis{0} && attempt + 1 < kAttempts;
    if (!again || !caller.pause(server_error_delay(attempt, caller.random()))) {
      auto failure = refused(Errc::Auth, prefix, who, *response);
      wipe(response->body);  // an answer that says no may quote what was asked
      return tl::unexpected(std::move(failure));
    }
  }
}

CallResult<Token> read_token(CallResult<HttpResponse> response, std::string_view prefix, WallTime asked,
                             SecretText* rotated) {
  if (!response) return tl::unexpected(std::move(response.error()));
  auto reply = read_token_reply(response->body);
  wipe(response->body);
  if (!reply) return tl::unexpected(unusable(std::move(reply.error()), prefix));
  if (rotated && !reply->refresh_token.empty()) *rotated = std::move(reply->refresh_token);
  return Token{std::move(reply->access_token), asked + reply->expires_in};
}

}  // namespace sidepool::cloudsql
