// cloudsql/token.cpp -- see the header.
#include "src/cloudsql/token.h"

#include <algorithm>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/json_text.h"

namespace sidepool::cloudsql {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view kMetadataPath = "/computeMetadata/v1/instance/service-accounts/default/";

CallResult<Token> read_reply(Result<HttpResponse> response, std::string_view prefix, WallTime asked,
                             SecretText* rotated) {
  if (!response) return tl::unexpected(no_answer(std::move(response.error()), prefix));
  if (response->status < 200 || response->status > 299)
    return tl::unexpected(refused(Errc::Auth, prefix, "token endpoint", *response));
  auto reply = read_token_reply(response->body);
  wipe(response->body);
  if (!reply) return tl::unexpected(unusable(std::move(reply.error()), prefix));
  if (rotated && !reply->refresh_token.empty()) *rotated = std::move(reply->refresh_token);
  return Token{std::move(reply->access_token), asked + reply->expires_in};
}

HttpRequest form_post(const std::string& url, std::string&& form) {
  HttpRequest request;
  request.method = HttpRequest::Method::Post;
  request.url = url;
  request.headers = {"Content-Type: application/x-www-form-urlencoded"};
  request.body = SecretText{std::move(form)};
  return request;
}

// RSASSA-PKCS1-v1_5 with SHA-256 (JWT's RS256); empty on failure.
std::string sign_rs256(EVP_PKEY* key, std::string_view text) {
  const tls::DigestCtxPtr ctx{EVP_MD_CTX_new()};
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t n = 0;
  if (!ctx || EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(ctx.get(), nullptr, &n, data, text.size()) != 1)
    return {};
  std::string signature(n, '\0');
  if (EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(signature.data()), &n, data, text.size()) !=
      1)
    return {};
  signature.resize(n);
  return signature;
}

CallResult<Token> fetch(StaticTokens& tokens, Scope scope, const Caller&) {
  const SecretText& text = scope == Scope::Admin ? tokens.api : tokens.login;
  if (text.empty())
    return tl::unexpected(
        unusable(Error{Errc::Config, 0, "cannot specify --auto-iam-authn and --token without --login-token",
                       "credentials"},
                 "config error"));
  return Token{text.copy(), std::nullopt};
}

CallResult<Token> fetch(ServiceAccount& account, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot fetch a token for the service account";
  const WallTime asked = caller.now().wall;
  // The allowance for a clock that is ahead of Google's.
  const auto issued = std::chrono::floor<seconds>(asked) - seconds{10};
  std::string jwt = base64url(write_jwt_header(account.key_id)) + '.' +
                    base64url(write_jwt_claims(account.email, scope_url(scope), account.token_uri, issued,
                                               issued + std::chrono::hours{1}));
  const std::string signature = sign_rs256(account.key.get(), jwt);
  if (signature.empty())
    return tl::unexpected(unusable(
        Error{Errc::Auth, 0, "the key cannot sign: " + tls::openssl_error(), "credentials"}, kPrefix));
  jwt += '.' + base64url(signature);
  auto request = form_post(
      account.token_uri,
      form_encode({{"assertion", jwt}, {"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}}));
  wipe(jwt);
  return read_reply(caller.send(request), kPrefix, asked, nullptr);
}

CallResult<Token> fetch(AuthorizedUser& user, Scope, const Caller& caller) {
  const WallTime asked = caller.now().wall;
  const auto request = form_post(user.token_url, form_encode({{"grant_type", "refresh_token"},
                                                              {"refresh_token", user.refresh_token.view()},
                                                              {"client_id", user.client_id},
                                                              {"client_secret", user.client_secret.view()}}));
  return read_reply(caller.send(request), "cannot renew the user's token", asked, &user.refresh_token);
}

HttpRequest metadata_get(const MetadataServer& server, const std::string& what) {
  HttpRequest request;
  request.url = "http://" + server.host + std::string{kMetadataPath} + what;
  request.headers = {"Metadata-Flavor: Google"};
  request.use_proxy = false;
  request.connect_timeout = seconds{2};  // it is on this machine or nowhere
  request.timeout = seconds{10};
  return request;
}

// The metadata server of a starting pod may refuse connections for some seconds.
Result<HttpResponse> ask_metadata(const HttpRequest& request, const Caller& caller) {
  constexpr int kAttempts = 5;
  Millis delay{100};
  for (int attempt = 1;; ++attempt, delay *= 2) {
    auto response = caller.send(request);
    const bool passing = !response || response->status >= 500;
    // A black hole is no metadata server: the caller's back-off decides when to look again.
    const bool hopeless = !response && response.error().code == Errc::Timeout;
    if (!passing || hopeless || attempt == kAttempts || !caller.pause(delay)) return response;
  }
}

CallResult<Token> fetch(MetadataServer& server, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot fetch a token from the metadata server";
  const WallTime asked = caller.now().wall;
  auto response =
      ask_metadata(metadata_get(server, "token?scopes=" + percent_encode(scope_url(scope))), caller);
  if (!response && server.assumed && response.error().reason != "stopped")
    return tl::unexpected(
        no_answer(Error{Errc::Auth, 0,
                        "no flag, variable or file names credentials, and no metadata server answers (" +
                            response.error().what + ")",
                        "no_credentials"},
                  "could not find default credentials"));
  return read_reply(std::move(response), kPrefix, asked, nullptr);
}

}  // namespace

std::string_view scope_url(Scope scope) noexcept {
  return scope == Scope::Admin ? "https://www.googleapis.com/auth/sqlservice.admin"
                               : "https://www.googleapis.com/auth/sqlservice.login";
}

CallResult<Token> fetch_token(Credentials& credentials, Scope scope, const Caller& caller) {
  return std::visit([&](auto& source) { return fetch(source, scope, caller); }, credentials.source);
}

std::string fetch_metadata_principal(const MetadataServer& server, const Caller& caller) {
  const auto response = caller.send(metadata_get(server, "email"));
  if (!response || response->status != 200) return {};
  std::string email = one_line(response->body, 256);
  return email.find('@') == std::string::npos ? std::string{} : email;
}

WallTime renew_from(WallTime fetched, WallTime expires, double u) noexcept {
  const Millis life = expires - fetched;
  const auto margin = static_cast<double>(std::max<Millis>(minutes{10}, life / 4).count());
  return expires - Millis{static_cast<Millis::rep>(margin * (1.0 + 0.1 * u))};
}

void TokenCache::fetch(Slot& slot, Scope scope, const Caller& caller) {
  auto fetched = fetch_token(credentials_, scope, caller);
  const Now now = caller.now();
  if (fetched) {
    slot.renew_from = fetched->expires ? cloudsql::renew_from(now.wall, *fetched->expires, caller.random())
                                       : WallTime::max();
    slot.token = std::move(*fetched);
    slot.failure.reset();
    slot.failures = 0;
    return;
  }
  ++slot.failures;
  slot.failure = std::move(fetched.error());
  const Millis pace = failure_delay(slot.failure->kind, slot.failures, caller.random());
  slot.retry_at = now.boot + std::max(pace, slot.failure->retry_after);
  slot.again_at = now.boot + (slot.failure->kind == FailureKind::Transport ? Millis{500} : Millis{4000});
}

CallResult<const Token*> TokenCache::get(Scope scope, const Caller& caller) {
  Slot& slot = slots_[index(scope)];
  const Now now = caller.now();
  const auto valid = [&] {
    return slot.token && (!slot.token->expires || caller.now().wall < *slot.token->expires);
  };
  const bool have = valid();
  const bool due = !have || now.wall >= slot.renew_from;
  const bool held_back = slot.failure && now.boot < (have ? slot.retry_at : slot.again_at);
  if (due && !held_back) fetch(slot, scope, caller);
  if (valid()) return &*slot.token;
  return tl::unexpected(
      slot.failure ? *slot.failure
                   : CallFailure{Error{Errc::Auth, 0, "the access token was over on arrival", "clock"},
                                 FailureKind::Refused, Millis{0}});
}

const Error* TokenCache::trouble(Scope scope) const noexcept {
  const auto& failure = slots_[index(scope)].failure;
  return failure ? &failure->error : nullptr;
}

}  // namespace sidepool::cloudsql
