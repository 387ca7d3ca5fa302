// cloudsql/http.h -- blocking HTTP requests over libcurl, for the refreshes.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.h"
#include "src/cloudsql/http_proxy.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

// What a client shows of itself in the TLS handshake. Checked by whoever made it: the key is the leaf's.
struct ClientIdentity {
  std::string chain;  // PEM, leaf first
  SecretText key;     // PEM, without a pass phrase
};

struct HttpRequest {
  enum class Method : unsigned char { Get, Post, Put } method = Method::Get;  // a Put has no body
  std::string url{};
  std::vector<std::string> headers{};                // "Name: value"
  std::vector<SecretText> secret_headers{};          // the same, wiped after use
  SecretText bearer{};                               // sent as "Authorization: Bearer …" when not empty
  SecretText body{};                                 // of a Post
  std::shared_ptr<const ClientIdentity> identity{};  // null: none, and a server that wants one refuses
  // False: not through a proxy, whatever HttpProxies says.
  bool use_proxy = true;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{30'000};

  // The same, with no more time than `most`.
  HttpRequest within(std::chrono::milliseconds most) const;
};

struct HttpResponse {
  long status = 0;
  std::string body{};  // may hold a token: whoever reads one out of it wipes it
  std::chrono::milliseconds retry_after{0};
};

// An answer of any status is a response; an Error of Errc::Io or Errc::Timeout means that there was none. Its
// reason is resolve, connect, tls, timeout, stopped, too_large or transport.
using HttpSend = std::function<Result<HttpResponse>(const HttpRequest&)>;

inline constexpr std::size_t kMaxHttpBody = 1 << 20;

// Files of certificate authorities. Empty: the system's.
struct CaPaths {
  std::string file{};    // PEM
  std::string folder{};  // by hash, openssl-rehash(1)
};
// SSL_CERT_FILE and SSL_CERT_DIR, as Go and OpenSSL's programs read them. Threads must not change the
// environment.
CaPaths process_ca_paths();

// Keeps connections open between requests. One thread at a time; `stopping` may be set by any thread and ends
// a running request within a second. Redirects are not followed (a token must not travel where an answer
// sends it).
class CurlHttp {
 public:
  explicit CurlHttp(const std::atomic<bool>& stopping, HttpProxies proxies = {}, CaPaths ca = {});
  CurlHttp(CurlHttp&&) noexcept;
  CurlHttp& operator=(CurlHttp&&) noexcept;
  ~CurlHttp();

  Result<HttpResponse> send(const HttpRequest& request);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

// One CurlHttp for each thread that is at it; the last one used is the first to be used again, for the
// connections that it keeps. Thread-safe.
class CurlClients {
 public:
  explicit CurlClients(const std::atomic<bool>& stopping, HttpProxies proxies = {}, CaPaths ca = {})
      : stopping_(stopping), proxies_(std::move(proxies)), ca_(std::move(ca)) {}

  Result<HttpResponse> send(const HttpRequest& request);

 private:
  static constexpr std::size_t kKept = 2;

  const std::atomic<bool>& stopping_;
  const HttpProxies proxies_;
  const CaPaths ca_;
  std::mutex mutex_;
  std::vector<CurlHttp> idle_;  // guarded by mutex_
};

// The host of an URL is this machine: 127.0.0.0/8, ::1 or localhost. False for what is not an http(s) URL.
bool is_loopback_url(const std::string& url);

// A secret may go there: https to anybody, http to this machine only.
bool is_private_url(const std::string& url);

// The same, or http to an address of the link itself, where clouds have their metadata servers:
// 169.254.0.0/16, fe80::/10 and AWS's fd00:ec2::254.
bool is_private_or_metadata_url(const std::string& url);

}  // namespace sidepool::cloudsql
