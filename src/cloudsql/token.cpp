// cloudsql/token.cpp -- one fetch from each kind of source: see token.h.
#include "src/cloudsql/token.h"

#include <algorithm>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/exchange.h"
#include "src/cloudsql/json_text.h"
#include "src/cloudsql/metadata_server.h"
#include "src/cloudsql/subject_token.h"

namespace sidepool::cloudsql {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view kTokenEndpoint = "token endpoint";

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

tl::unexpected<CallFailure> no_login(const char* what) {
  return tl::unexpected(unusable(Error{Errc::Config, 0, what, "credentials"}, "config error"));
}

CallResult<Token> fetch(StaticTokens& tokens, Scope scope, const Caller&) {
  if (scope != Scope::Login) return Token{tokens.api.copy(), std::nullopt};
  if (tokens.login.empty())
    return no_login("cannot specify --auto-iam-authn and --token without --login-token");
  return Token{tokens.login.copy(), std::nullopt};
}

// Header and claims with their signature, RFC 7519; empty if the key cannot sign.
std::string signed_jwt(const ServiceAccount& account, const JwtClaims& claims) {
  std::string jwt = base64url(write_jwt_header(account.key_id)) + '.' + base64url(write_jwt_claims(claims));
  const std::string signature = sign_rs256(account.key.get(), jwt);
  if (signature.empty()) return {};
  return jwt + '.' + base64url(signature);
}

CallResult<Token> fetch(ServiceAccount& account, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot fetch a token for the service account";
  const WallTime asked = caller.now().wall;
  // The allowance for a clock that is ahead of Google's.
  const auto issued = std::chrono::floor<seconds>(asked) - seconds{10};
  const auto expires = issued + std::chrono::hours{1};
  JwtClaims claims{account.email, {}, account.token_uri, scope_url(scope), issued, expires};
  if (account.self_signed) {
    claims.audience = {};
    claims.subject = account.email;
  }
  SecretText jwt{signed_jwt(account, claims)};
  if (jwt.empty())
    return tl::unexpected(unusable(
        Error{Errc::Auth, 0, "the key cannot sign: " + tls::openssl_error(), "credentials"}, kPrefix));
  if (account.self_signed) return Token{std::move(jwt), expires};
  const auto request = form_post(
      account.token_uri, form_encode({{"assertion", jwt.view()},
                                      {"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}}));
  return read_token(exchange(request, kPrefix, kTokenEndpoint, caller), kPrefix, asked);
}

CallResult<Token> fetch(AuthorizedUser& user, Scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot renew the user's token";
  const WallTime asked = caller.now().wall;
  std::vector<std::pair<std::string_view, std::string_view>> form{
      {"grant_type", "refresh_token"}, {"refresh_token", user.refresh_token.view()}};
  if (!user.basic_auth) {
    form.emplace_back("client_id", user.client_id);
    form.emplace_back("client_secret", user.client_secret.view());
  }
  auto request = form_post(user.token_url, form_encode(form));
  if (user.basic_auth)
    request.secret_headers.push_back(basic_auth(user.client_id, user.client_secret.view()));
  return read_token(exchange(request, kPrefix, kTokenEndpoint, caller), kPrefix, asked, &user.refresh_token);
}

CallResult<Token> fetch(MetadataServer& server, Scope scope, const Caller& caller) {
  return fetch_metadata_token(server, scope, caller);
}

CallResult<Token> fetch(Gcloud& gcloud, Scope scope, const Caller& caller) {
  if (scope == Scope::Login)
    return no_login(
        "cannot use --auto-iam-authn with --gcloud-auth: gcloud's tokens carry more than a login");
  const auto trouble = [](std::string what) {
    return tl::unexpected(
        CallFailure{Error{Errc::Auth, 0, std::move(what), "credentials"}, FailureKind::Server, {}});
  };
  auto output = caller.run(
      Command{{gcloud.program, "--format", "json", "config", "config-helper", "--min-expiry", "1h"},
              {},
              seconds{30}});
  if (!output) return tl::unexpected(not_run(std::move(output.error())));
  if (output->exit_code != 0)
    return trouble("gcloud config config-helper failed with exit code " + std::to_string(output->exit_code) +
                   "; stderr was: " + one_line(output->err_text, 512));
  auto reply = read_gcloud_reply(output->out.view());
  if (!reply) return trouble(reply.error().what);
  gcloud.account = std::move(reply->account);
  return Token{std::move(reply->access_token), reply->expires};
}

CallResult<Token> fetch(ExternalAccount& account, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot exchange the subject token";
  const auto subject = fetch_subject_token(account, caller);
  if (!subject) return tl::unexpected(subject.error());
  const WallTime asked = caller.now().wall;
  const std::string options =
      account.workforce_user_project.empty() ? "" : write_user_project(account.workforce_user_project);
  std::vector<std::pair<std::string_view, std::string_view>> form{
      {"audience", account.audience},
      {"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"},
      {"requested_token_type", "urn:ietf:params:oauth:token-type:access_token"},
      {"scope", scope_url(scope)},
      {"subject_token", subject->text.view()},
      {"subject_token_type", account.subject_token_type}};
  if (!options.empty()) form.emplace_back("options", options);
  auto request = form_post(account.token_url, form_encode(form));
  request.identity = subject->identity;
  if (!account.client_id.empty() && !account.client_secret.empty())
    request.secret_headers.push_back(basic_auth(account.client_id, account.client_secret.view()));
  return read_token(exchange(request, kPrefix, "Security Token Service", caller), kPrefix, asked);
}

CallResult<const Token*> source_token(Impersonated& target, const Caller& caller) {
  constexpr minutes kSpare{5};
  auto& kept = target.source_token;
  if (kept && kept->expires && caller.now().wall + kSpare >= *kept->expires) kept.reset();
  if (!kept) {
    auto got = fetch_token(*target.source, Scope::Platform, caller);
    if (!got) return tl::unexpected(std::move(got.error()));
    kept = std::move(*got);
  }
  return &*kept;
}

CallResult<Token> fetch(Impersonated& target, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot impersonate the service account";
  const auto source = source_token(target, caller);
  if (!source) return tl::unexpected(source.error());
  HttpRequest request;
  request.method = HttpRequest::Method::Post;
  request.url = target.url;
  request.headers = {"Content-Type: application/json"};
  request.bearer = (*source)->text.copy();
  request.body = SecretText{write_access_token_request(target.delegates, target.lifetime, scope_url(scope))};
  auto response = exchange(request, kPrefix, "IAM Credentials", caller);
  if (!response) {
    if (response.error().error.sys == 401) target.source_token.reset();
    return tl::unexpected(std::move(response.error()));
  }
  auto reply = read_impersonated_reply(response->body);
  wipe(response->body);
  if (!reply) return tl::unexpected(unusable(std::move(reply.error()), kPrefix));
  return Token{std::move(reply->access_token), reply->expires};
}

}  // namespace

std::string_view scope_url(Scope scope) noexcept {
  switch (scope) {
    case Scope::Admin:
      return "https://www.googleapis.com/auth/sqlservice.admin";
    case Scope::Login:
      return "https://www.googleapis.com/auth/sqlservice.login";
    case Scope::Platform:
      break;
  }
  return "https://www.googleapis.com/auth/cloud-platform";
}

CallResult<Token> fetch_token(Credentials& credentials, Scope scope, const Caller& caller) {
  return std::visit([&](auto& source) { return fetch(source, scope, caller); }, credentials.source);
}

}  // namespace sidepool::cloudsql
