// cloudsql/metadata_server.cpp -- see the header.
#include "src/cloudsql/metadata_server.h"

#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/exchange.h"

namespace sidepool::cloudsql {
namespace {

using std::chrono::seconds;

constexpr std::string_view kAccount = "instance/service-accounts/default/";

HttpRequest get(const MetadataServer& server, std::string_view what) {
  HttpRequest request;
  request.url = "http://" + server.host + "/computeMetadata/v1/";
  request.url += what;
  request.headers = {"Metadata-Flavor: Google"};
  request.use_proxy = false;
  request.connect_timeout = seconds{2};  // it is on this machine or nowhere
  request.timeout = seconds{10};
  return request;
}

// The metadata server of a starting pod may refuse connections for some seconds.
Result<HttpResponse> ask(const HttpRequest& request, const Caller& caller) {
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

// What cannot be found out now is asked again with the next token.
CallResult<void> check_universe(MetadataServer& server, std::string_view prefix, const Caller& caller) {
  if (server.universe_checked) return {};
  const auto response = ask(get(server, "universe/universe-domain"), caller);
  if (!response || (response->status != 200 && response->status != 404)) return {};
  std::string universe = response->status == 200 ? one_line(response->body, 128) : std::string{};
  if (universe.empty()) universe = "googleapis.com";  // metadata servers that know of no other
  if (universe != server.universe)
    return tl::unexpected(
        unusable(Error{Errc::Config, 0,
                       "the metadata server belongs to universe " + universe + ", not to " + server.universe,
                       "credentials"},
                 prefix));
  server.universe_checked = true;
  return {};
}

}  // namespace

CallResult<Token> fetch_metadata_token(MetadataServer& server, Scope scope, const Caller& caller) {
  constexpr std::string_view kPrefix = "cannot fetch a token from the metadata server";
  const WallTime asked = caller.now().wall;
  auto response =
      ask(get(server, std::string{kAccount} + "token?scopes=" + percent_encode(scope_url(scope))), caller);
  if (!response && server.assumed && response.error().reason != "stopped")
    return tl::unexpected(
        no_answer(Error{Errc::Auth, 0,
                        "no flag, variable or file names credentials, and no metadata server answers (" +
                            response.error().what + ")",
                        "no_credentials"},
                  "could not find default credentials"));
  if (!response) return tl::unexpected(no_answer(std::move(response.error()), kPrefix));
  if (response->status < 200 || response->status > 299)
    return tl::unexpected(refused(Errc::Auth, kPrefix, "token endpoint", *response));
  auto token = read_token(std::move(*response), kPrefix, asked);
  if (!token) return token;
  if (auto same = check_universe(server, kPrefix, caller); !same)
    return tl::unexpected(std::move(same.error()));
  return token;
}

std::string fetch_metadata_principal(const MetadataServer& server, const Caller& caller) {
  const auto response = caller.send(get(server, std::string{kAccount} + "email"));
  if (!response || response->status != 200) return {};
  std::string email = one_line(response->body, 256);
  return email.find('@') == std::string::npos ? std::string{} : email;
}

}  // namespace sidepool::cloudsql
