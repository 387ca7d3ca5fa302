// cloudsql/principal.cpp -- see the header.
#include "src/cloudsql/principal.h"

#include "src/cloudsql/encode.h"
#include "src/cloudsql/json_text.h"
#include "src/cloudsql/metadata_server.h"

namespace sidepool::cloudsql {
namespace {

constexpr std::size_t kMaxEmail = 256;

// In the body of a POST: an URL would end in somebody's log.
std::string ask_token_info(const Token& token, const std::string& url, const Caller& caller) {
  HttpRequest request;
  request.method = HttpRequest::Method::Post;
  request.url = url;
  request.headers = {"Content-Type: application/x-www-form-urlencoded"};
  request.body = form_encode({{"access_token", token.text.view()}});
  const auto response = caller.send(request);
  if (!response || response->status != 200) return {};
  return one_line(read_token_info_email(response->body), kMaxEmail);
}

}  // namespace

std::string role_name(std::string_view principal) {
  constexpr std::string_view kServiceAccountDomain = ".gserviceaccount.com";
  constexpr std::size_t kMaxRole = 63;  // NAMEDATALEN - 1
  std::string out{principal};
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (out.ends_with(kServiceAccountDomain)) out.resize(out.size() - kServiceAccountDomain.size());
  if (out.size() > kMaxRole) out.resize(kMaxRole);
  return out;
}

std::string impersonated_email(std::string_view url) {
  constexpr std::string_view kBefore = "/serviceAccounts/";
  constexpr std::string_view kAfter = ":generateAccessToken";
  const std::size_t at = url.rfind(kBefore);
  if (at == std::string_view::npos || !url.ends_with(kAfter)) return {};
  url.remove_prefix(at + kBefore.size());
  url.remove_suffix(kAfter.size());
  const bool sound = url.find('@') != std::string_view::npos && url.find('/') == std::string_view::npos;
  return sound ? one_line(url, kMaxEmail) : std::string{};
}

std::string fetch_principal(const Credentials& credentials, const Token& admin,
                            const std::string& token_info_url, const Caller& caller) {
  if (!credentials.principal.empty()) return credentials.principal;
  if (const auto* server = std::get_if<MetadataServer>(&credentials.source))
    return fetch_metadata_principal(*server, caller);
  if (const auto* gcloud = std::get_if<Gcloud>(&credentials.source); gcloud && !gcloud->account.empty())
    return one_line(gcloud->account, kMaxEmail);
  // A federated identity has no e-mail, and OAuth knows nothing of the STS's tokens.
  if (std::holds_alternative<ExternalAccount>(credentials.source)) return {};
  if (const auto* user = std::get_if<AuthorizedUser>(&credentials.source); user && user->basic_auth)
    return {};
  const std::string email = ask_token_info(admin, token_info_url, caller);
  return email.find('@') == std::string::npos ? std::string{} : email;
}

std::string token_info_url(const std::string& endpoint, const std::string& universe) {
  if (!is_loopback_url(endpoint)) return "https://oauth2." + universe + "/tokeninfo";
  return endpoint + (endpoint.ends_with('/') ? "" : "/") + "tokeninfo";
}

}  // namespace sidepool::cloudsql
