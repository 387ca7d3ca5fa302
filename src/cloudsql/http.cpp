// cloudsql/http.cpp -- see the header.
#include "src/cloudsql/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>

#include "src/cloudsql/encode.h"
#include "src/cloudsql/wiped_heap.h"

namespace sidepool::cloudsql {
namespace {

struct UrlFree {
  void operator()(CURLU* u) const noexcept { curl_url_cleanup(u); }
};

struct HeaderFree {
  void operator()(curl_slist* list) const noexcept {
    for (curl_slist* i = list; i; i = i->next)
      OPENSSL_cleanse(i->data, std::char_traits<char>::length(i->data));
    curl_slist_free_all(list);
  }
};
using Headers = std::unique_ptr<curl_slist, HeaderFree>;

struct Received {
  std::string body;
  bool too_large = false;
};

std::size_t on_body(char* data, std::size_t, std::size_t n, void* into) noexcept {
  auto* received = static_cast<Received*>(into);
  if (n > kMaxHttpBody - received->body.size()) {
    received->too_large = true;
    return CURL_WRITEFUNC_ERROR;
  }
  received->body.append(data, n);
  return n;
}

int on_progress(void* stopping, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
  return static_cast<const std::atomic<bool>*>(stopping)->load(std::memory_order_relaxed) ? 1 : 0;
}

bool append(Headers& list, const char* line) {
  curl_slist* longer = curl_slist_append(list.get(), line);
  if (!longer) return false;
  static_cast<void>(list.release());  // `longer` begins with the same node
  list.reset(longer);
  return true;
}

// What would break out of its header line is no header.
bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view{"\r\n\0", 3}) == std::string_view::npos;
}

bool append_secret(Headers& list, std::string_view name, const SecretText& value) {
  if (!is_one_line(value.view())) return false;
  std::string line;
  line.reserve(name.size() + value.view().size());
  line += name;
  line += value.view();
  const bool ok = append(list, line.c_str());
  wipe(line);
  return ok;
}

bool build_headers(Headers& list, const HttpRequest& request) {
  for (const std::string& line : request.headers)
    if (!is_one_line(line) || !append(list, line.c_str())) return false;
  for (const SecretText& line : request.secret_headers)
    if (!append_secret(list, {}, line)) return false;
  if (!request.bearer.empty() && !append_secret(list, "Authorization: Bearer ", request.bearer)) return false;
  // Small bodies need no round trip to ask whether they are welcome.
  return append(list, "Expect:");
}

// OpenSSL keeps the last record it has decrypted, a token's answer perhaps, until the next one comes.
CURLcode wipe_plaintext(CURL*, void* context, void*) noexcept {
  SSL_CTX_set_options(static_cast<SSL_CTX*>(context), SSL_OP_CLEANSE_PLAINTEXT);
  return CURLE_OK;
}

// Not copied: `bytes` outlives the request.
curl_blob lent(std::string_view bytes) noexcept {
  return {const_cast<char*>(bytes.data()), bytes.size(), CURL_BLOB_NOCOPY};
}

const char* reason_of(CURLcode code) noexcept {
  switch (code) {  // NOLINT(clang-diagnostic-switch-enum): a hundred others are all "transport"
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "resolve";
    case CURLE_COULDNT_CONNECT:
      return "connect";
    case CURLE_OPERATION_TIMEDOUT:
      return "timeout";
    case CURLE_ABORTED_BY_CALLBACK:
      return "stopped";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return "tls";
    default:
      return "transport";
  }
}

std::string part_of(const std::string& url, CURLUPart part, unsigned flags = 0) {
  const std::unique_ptr<CURLU, UrlFree> parsed{curl_is_ready() ? curl_url() : nullptr};
  char* text = nullptr;
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), part, &text, flags) != CURLUE_OK)
    return {};
  std::string out = text;
  curl_free(text);
  return out;
}

// IPv6 addresses without their brackets.
std::string host_of(const std::string& url) {
  std::string host = part_of(url, CURLUPART_HOST);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

bool is_link_local(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 16) == 0xa9fe;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  in6_addr aws{};
  inet_pton(AF_INET6, "fd00:ec2::254", &aws);
  return IN6_IS_ADDR_LINKLOCAL(&v6) || IN6_ARE_ADDR_EQUAL(&v6, &aws);
}

}  // namespace

HttpRequest HttpRequest::within(std::chrono::milliseconds most) const {
  HttpRequest out;
  out.method = method;
  out.url = url;
  out.headers = headers;
  for (const SecretText& line : secret_headers) out.secret_headers.push_back(line.copy());
  out.bearer = bearer.copy();
  out.body = body.copy();
  out.identity = identity;
  out.use_proxy = use_proxy;
  out.connect_timeout = std::min(connect_timeout, most);
  out.timeout = std::min(timeout, most);
  return out;
}

struct CurlHttp::Handle {
  const std::atomic<bool>* stopping;
  const HttpProxies proxies;
  const CaPaths ca;
  CURL* curl;
  std::array<char, CURL_ERROR_SIZE> error{};

  Handle(const std::atomic<bool>& stop, HttpProxies p, CaPaths c)
      : stopping(&stop), proxies(std::move(p)), ca(std::move(c)), curl(nullptr) {
    if (curl_is_ready()) curl = curl_easy_init();
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { curl_easy_cleanup(curl); }

  void set_up(const HttpRequest& request, Received& received, const Headers& headers) {
    curl_easy_reset(curl);  // options only: connections and DNS answers stay
    error.front() = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error.data());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, stopping);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    set_up_tls(request);
    // Both are set, so that curl does not look into the environment itself, where its rules are others.
    const std::string proxy{
        request.use_proxy ? proxies.for_request(part_of(request.url, CURLUPART_SCHEME), host_of(request.url),
                                                part_of(request.url, CURLUPART_PORT, CURLU_DEFAULT_PORT))
                          : std::string_view{}};
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy.c_str());
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
    if (request.method == HttpRequest::Method::Put) {
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
    } else if (request.method == HttpRequest::Method::Post) {
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.view().size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.view().data());
    }
  }

  // A connection is used again only for requests with the same identity: curl compares the certificates.
  void set_up_tls(const HttpRequest& request) {
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, wipe_plaintext);
    if (!ca.file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, ca.file.c_str());
    if (!ca.folder.empty()) curl_easy_setopt(curl, CURLOPT_CAPATH, ca.folder.c_str());
    if (!request.identity) return;
    const curl_blob chain = lent(request.identity->chain), key = lent(request.identity->key.view());
    curl_easy_setopt(curl, CURLOPT_SSLCERT_BLOB, &chain);
    curl_easy_setopt(curl, CURLOPT_SSLKEY_BLOB, &key);
  }
};

CurlHttp::CurlHttp(const std::atomic<bool>& stopping, HttpProxies proxies, CaPaths ca)
    : handle_(std::make_unique<Handle>(stopping, std::move(proxies), std::move(ca))) {}
CurlHttp::CurlHttp(CurlHttp&&) noexcept = default;
CurlHttp& CurlHttp::operator=(CurlHttp&&) noexcept = default;
CurlHttp::~CurlHttp() = default;

Result<HttpResponse> CurlHttp::send(const HttpRequest& request) {
  Headers headers;
  if (!handle_->curl || !build_headers(headers, request))
    return fail(Errc::Io, "the HTTP request to " + host_of(request.url) + " could not be built", 0,
                "transport");
  Received received;
  received.body.reserve(16 * 1024);  // a token's answer does not move while it grows
  handle_->set_up(request, received, headers);
  const CURLcode code = curl_easy_perform(handle_->curl);
  HttpResponse response;
  curl_easy_getinfo(handle_->curl, CURLINFO_RESPONSE_CODE, &response.status);
  curl_off_t seconds = 0;
  curl_easy_getinfo(handle_->curl, CURLINFO_RETRY_AFTER, &seconds);
  curl_easy_reset(handle_->curl);  // what was lent above ends with this call
  if (received.too_large) {
    wipe(received.body);
    return fail(Errc::Io, "the answer of " + host_of(request.url) + " is larger than 1 MiB", 0, "too_large");
  }
  if (code != CURLE_OK) {
    wipe(received.body);
    const char* detail = handle_->error.front() != '\0' ? handle_->error.data() : curl_easy_strerror(code);
    const Errc errc = code == CURLE_OPERATION_TIMEDOUT ? Errc::Timeout : Errc::Io;
    return fail(errc, "request to " + host_of(request.url) + " failed: " + one_line(detail, 256), 0,
                reason_of(code));
  }
  response.body = std::move(received.body);
  // Days are as good as for ever; the cap keeps the arithmetic of a hostile header harmless.
  if (seconds > 0) response.retry_after = std::chrono::seconds{std::min<curl_off_t>(seconds, 86'400)};
  return response;
}

Result<HttpResponse> CurlClients::send(const HttpRequest& request) {
  std::optional<CurlHttp> client;
  {
    const std::lock_guard lock{mutex_};
    if (!idle_.empty()) {
      client.emplace(std::move(idle_.back()));
      idle_.pop_back();
    }
  }
  if (!client) client.emplace(stopping_, proxies_, ca_);
  auto response = client->send(request);
  const std::lock_guard lock{mutex_};
  if (idle_.size() < kKept) idle_.push_back(std::move(*client));
  return response;
}

CaPaths process_ca_paths() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string{value ? value : ""};
  };
  return {variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR")};
}

bool is_loopback_url(const std::string& url) {
  const std::string host = host_of(url);
  if (host == "localhost" || host == "::1") return true;
  in_addr v4{};
  return inet_pton(AF_INET, host.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

bool is_private_url(const std::string& url) {
  const std::string scheme = part_of(url, CURLUPART_SCHEME);
  if (host_of(url).empty()) return false;
  return scheme == "https" || (scheme == "http" && is_loopback_url(url));
}

bool is_private_or_metadata_url(const std::string& url) {
  if (is_private_url(url)) return true;
  return part_of(url, CURLUPART_SCHEME) == "http" && is_link_local(host_of(url));
}

}  // namespace sidepool::cloudsql
