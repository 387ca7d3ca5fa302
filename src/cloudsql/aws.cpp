// cloudsql/aws.cpp -- the subject token of a workload on AWS: see subject_token.h.
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/exchange.h"
#include "src/cloudsql/subject_token.h"

namespace sidepool::cloudsql {
namespace {

using Digest = std::array<unsigned char, 32>;

std::string_view bytes(const Digest& d) { return {reinterpret_cast<const char*>(d.data()), d.size()}; }

std::string hex(const Digest& digest) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (const unsigned char c : digest) {
    out += kHex[c >> 4];
    out += kHex[c & 15];
  }
  return out;
}

Digest sha256(std::string_view text) {
  Digest out{};
  EVP_Digest(text.data(), text.size(), out.data(), nullptr, EVP_sha256(), nullptr);
  return out;
}

Digest hmac(std::string_view key, std::string_view text) {
  Digest out{};
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(), nullptr);
  return out;
}

struct Url {
  std::string host, path, query;
};

std::optional<Url> split(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  url = url.substr(0, url.find('#'));
  const std::string_view host = url.substr(0, url.find_first_of("/?"));
  url.remove_prefix(host.size());
  const std::string_view path = url.substr(0, url.find('?'));
  url.remove_prefix(std::min(path.size() + 1, url.size()));
  if (host.empty()) return std::nullopt;
  return Url{std::string{host}, path.empty() ? "/" : std::string{path}, std::string{url}};
}

std::string percent_decode(std::string_view text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// Parameters sorted, each escaped the same way whatever the URL had.
std::string canonical_query(std::string_view query) {
  std::vector<std::string> parts;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view value = part.substr(std::min(equals + 1, part.size()));
    parts.push_back(percent_encode(percent_decode(part.substr(0, equals))) + '=' +
                    percent_encode(percent_decode(value)));
  }
  std::sort(parts.begin(), parts.end());
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : "&") + part;
  return out;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string amz_date(WallTime now) {
  const std::time_t seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts);
  return {text.data(), n};
}

using Headers = std::vector<std::pair<std::string, SecretText>>;

// "name:value\n" of each and "name;name;…", both sorted by the lower-case names, which `headers` are.
std::pair<SecretText, std::string> canonical_headers(const Headers& headers) {
  std::string lines;
  std::string names;
  std::size_t most = 0;
  for (const auto& [name, value] : headers) most += name.size() + value.view().size() + 2;
  lines.reserve(most);
  for (const auto& [name, value] : headers) {
    lines += lower(name);
    lines += ':';
    lines += value.view();
    lines += '\n';
    names += (names.empty() ? "" : ";") + lower(name);
  }
  return {SecretText{std::move(lines)}, std::move(names)};
}

std::string signature(std::string_view secret, const std::array<std::string, 4>& scope,
                      std::string_view to_sign) {
  std::string first = "AWS4";
  first.reserve(first.size() + secret.size());
  first += secret;
  Digest key = hmac(first, scope[0]);
  wipe(first);
  for (std::size_t i = 1; i < scope.size(); ++i) key = hmac(bytes(key), scope[i]);
  const Digest out = hmac(bytes(key), to_sign);
  OPENSSL_cleanse(key.data(), key.size());
  return hex(out);
}

std::string authorization(const Url& url, const std::string& region, const AwsKeys& keys,
                          const Headers& headers, const std::string& date) {
  constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
  const auto [lines, names] = canonical_headers(headers);
  std::string request = "POST\n" + url.path + '\n' + canonical_query(url.query) + '\n';
  request.reserve(request.size() + lines.view().size() + names.size() + 128);
  request += lines.view();
  request += '\n' + names + '\n' + hex(sha256({}));  // there is no body
  const std::string hash = hex(sha256(request));
  wipe(request);
  const std::array<std::string, 4> scope{date.substr(0, 8), region, url.host.substr(0, url.host.find('.')),
                                         "aws4_request"};
  const std::string scope_text = scope[0] + '/' + scope[1] + '/' + scope[2] + '/' + scope[3];
  const std::string to_sign = std::string{kAlgorithm} + '\n' + date + '\n' + scope_text + '\n' + hash;
  return std::string{kAlgorithm} + " Credential=" + keys.id + '/' + scope_text + ", SignedHeaders=" + names +
         ", Signature=" + signature(keys.secret.view(), scope, to_sign);
}

constexpr std::string_view kPrefix = "cannot make a subject token of AWS";

CallResult<HttpResponse> ask(const std::string& url, const SecretText& session, const Caller& caller) {
  HttpRequest request;
  request.url = url;
  request.use_proxy = false;  // it is on this machine's link
  request.connect_timeout = std::chrono::seconds{2};
  request.timeout = std::chrono::seconds{10};
  if (!session.empty()) {
    std::string line = "X-aws-ec2-metadata-token: ";
    line.reserve(line.size() + session.view().size());
    line += session.view();
    request.secret_headers.emplace_back(std::move(line));
  }
  return exchange(request, kPrefix, "AWS metadata server", caller);
}

CallResult<SecretText> session_token(const std::string& url, const Caller& caller) {
  HttpRequest request;
  request.method = HttpRequest::Method::Put;
  request.url = url;
  request.headers = {"X-aws-ec2-metadata-token-ttl-seconds: 300"};
  request.use_proxy = false;
  request.connect_timeout = std::chrono::seconds{2};
  request.timeout = std::chrono::seconds{10};
  auto response = exchange(request, kPrefix, "AWS metadata server", caller);
  if (!response) return tl::unexpected(std::move(response.error()));
  return SecretText{std::move(response->body)};
}

tl::unexpected<CallFailure> lacking(const std::string& what) {
  return tl::unexpected(unusable(Error{Errc::Auth, 0, what, "credentials"}, kPrefix));
}

CallResult<AwsKeys> keys_of(const AwsSubject& source, const SecretText& session, const Caller& caller) {
  if (!source.key_id.empty() && !source.secret.empty())
    return AwsKeys{source.key_id, source.secret.copy(), source.session.copy()};
  if (source.credentials_url.empty())
    return lacking("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and the file has no url");
  const auto role = ask(source.credentials_url, session, caller);
  if (!role) return tl::unexpected(role.error());
  auto response =
      ask(source.credentials_url + '/' + percent_encode(one_line(role->body, 256)), session, caller);
  if (!response) return tl::unexpected(std::move(response.error()));
  AwsKeys keys = read_aws_keys(response->body);
  wipe(response->body);
  if (keys.id.empty() || keys.secret.empty()) return lacking("the AWS metadata server gives no keys");
  return keys;
}

CallResult<std::string> region_of(const AwsSubject& source, const SecretText& session, const Caller& caller) {
  if (!source.region.empty()) return source.region;
  if (source.region_url.empty()) return lacking("AWS_REGION is not set, and the file has no region_url");
  auto response = ask(source.region_url, session, caller);
  if (!response) return tl::unexpected(std::move(response.error()));
  // An availability zone, "us-east-2b": the region is without its letter.
  std::string zone = one_line(response->body, 64);
  if (zone.size() < 2) return lacking("the AWS metadata server names no region");
  zone.pop_back();
  return zone;
}

}  // namespace

SecretText sign_aws_request(const std::string& url, const std::string& region, const AwsKeys& keys,
                            const std::string& audience, WallTime now) {
  const auto parts = split(url);
  if (!parts) return {};
  const std::string date = amz_date(now);
  Headers headers;  // in the order of their lower-case names
  headers.emplace_back("Host", SecretText{std::string_view{parts->host}});
  headers.emplace_back("X-Amz-Date", SecretText{std::string_view{date}});
  if (!keys.session.empty()) headers.emplace_back("X-Amz-Security-Token", keys.session.copy());
  if (!audience.empty())
    headers.emplace_back("X-Goog-Cloud-Target-Resource", SecretText{std::string_view{audience}});
  std::string line = authorization(*parts, region, keys, headers, date);
  headers.emplace(headers.begin(), "Authorization", SecretText{std::move(line)});
  const SecretText json = write_aws_request(url, headers);
  return SecretText{percent_encode(json.view())};
}

CallResult<SecretText> fetch_aws_subject_token(const AwsSubject& source, const std::string& audience,
                                               const Caller& caller) {
  const bool environment_is_enough =
      !source.region.empty() && !source.key_id.empty() && !source.secret.empty();
  SecretText session;
  if (!environment_is_enough && !source.session_token_url.empty()) {
    auto got = session_token(source.session_token_url, caller);
    if (!got) return got;
    session = std::move(*got);
  }
  const auto keys = keys_of(source, session, caller);
  if (!keys) return tl::unexpected(keys.error());
  const auto region = region_of(source, session, caller);
  if (!region) return tl::unexpected(region.error());
  const bool sound = std::all_of(region->begin(), region->end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!sound) return lacking("the AWS region is malformed");
  std::string url = source.verification_url;
  if (const std::size_t at = url.find("{region}"); at != std::string::npos) url.replace(at, 8, *region);
  SecretText token = sign_aws_request(url, *region, *keys, audience, caller.now().wall);
  if (token.empty()) return lacking("the regional_cred_verification_url is malformed");
  return token;
}

}  // namespace sidepool::cloudsql
