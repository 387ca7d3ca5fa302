// The HTTP client against a real server on loopback, and the SQL Admin calls through it.
#include "src/cloudsql/http.h"

#include <civetweb.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>

#include "src/cloudsql/api.h"
#include "tests/unit/cloudsql/fake_google.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

struct Seen {
  std::string method, target, body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string header(const std::string& name) const {
    for (const auto& [n, v] : headers)
      if (n == name) return v;
    return "(none)";
  }
};

// Answers every request with the bytes that the test's function returns for it. One for all tests: civetweb
// takes two seconds to stop.
class Server {
 public:
  using Reply = std::function<std::string(const Seen&)>;

  static Server& with(Reply reply) {
    static Server server;
    const std::lock_guard lock{server.mutex_};
    server.reply_ = std::move(reply);
    server.seen_.clear();
    return server;
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  std::string url(const std::string& path = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  std::vector<Seen> seen() const {
    const std::lock_guard lock{mutex_};
    return seen_;
  }

 private:
  Server() {
    mg_init_library(0);
    const char* options[] = {"listening_ports", "127.0.0.1:0", "num_threads", "2", nullptr};
    ctx_ = mg_start(nullptr, nullptr, options);
    mg_server_port port{};
    EXPECT_EQ(mg_get_server_ports(ctx_, 1, &port), 1);
    port_ = port.port;
    mg_set_request_handler(
        ctx_, "/", [](mg_connection* c, void* self) { return static_cast<Server*>(self)->handle(c); }, this);
  }
  ~Server() {
    mg_stop(ctx_);
    mg_exit_library();
  }

  int handle(mg_connection* c) {
    const mg_request_info* info = mg_get_request_info(c);
    Seen s{info->request_method, info->request_uri, {}, {}};
    if (info->query_string) s.target += std::string{"?"} + info->query_string;
    for (int i = 0; i < info->num_headers; ++i)
      s.headers.emplace_back(info->http_headers[i].name, info->http_headers[i].value);
    std::array<char, 4096> buffer{};
    for (int n = 0; (n = mg_read(c, buffer.data(), buffer.size())) > 0;)
      s.body.append(buffer.data(), static_cast<std::size_t>(n));
    Reply make;
    {
      const std::lock_guard lock{mutex_};
      seen_.push_back(s);
      make = reply_;
    }
    const std::string out = make(s);
    { const std::lock_guard lock{mutex_}; }  // who calls seen() afterwards sees what `make` has done
    mg_write(c, out.data(), out.size());
    return 200;
  }

  Reply reply_;
  mg_context* ctx_ = nullptr;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<Seen> seen_;
};

std::string reply(const std::string& body, const std::string& status = "200 OK",
                  const std::string& headers = "") {
  return "HTTP/1.1 " + status + "\r\n" + headers +
         "Connection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Http : public testing::Test {
 protected:
  Result<HttpResponse> get(const std::string& url) {
    HttpRequest r;
    r.url = url;
    return http_.send(r);
  }
  std::atomic<bool> stopping_{false};
  CurlHttp http_{stopping_};
};

TEST_F(Http, GetAndPost) {
  const Server& server = Server::with([](const Seen& s) { return reply(s.method + " " + s.body); });
  HttpRequest r;
  r.url = server.url("/a?b=c");
  r.headers = {"User-Agent: me", "X-One: 1"};
  r.bearer = SecretText{std::string_view{"tok"}};
  auto got = http_.send(r);
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->body, "GET ");
  r.method = HttpRequest::Method::Post;
  r.body = SecretText{std::string(5000, 'x')};
  got = http_.send(r);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->body, "POST " + std::string(5000, 'x'));
  r = HttpRequest{};
  r.url = server.url("/plain");
  EXPECT_EQ(http_.send(r)->body, "GET ") << "nothing of the last request is left";
  const auto seen = server.seen();
  EXPECT_EQ(seen[0].target, "/a?b=c");
  EXPECT_EQ(seen[0].header("Authorization"), "Bearer tok");
  EXPECT_EQ(seen[0].header("X-One"), "1");
  EXPECT_EQ(seen[0].header("User-Agent"), "me");
  EXPECT_EQ(seen[1].header("Expect"), "(none)");
  EXPECT_EQ(seen[2].header("Authorization"), "(none)");
}

TEST_F(Http, EveryStatusIsAnAnswer) {
  const Server& server = Server::with(
      [](const Seen&) { return reply("slow down", "429 Too Many Requests", "Retry-After: 17\r\n"); });
  const auto got = get(server.url());
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 429);
  EXPECT_EQ(got->body, "slow down");
  EXPECT_EQ(got->retry_after, 17s);
}

TEST_F(Http, RedirectsAreNotFollowed) {
  const Server& server =
      Server::with([](const Seen&) { return reply("", "302 Found", "Location: /elsewhere\r\n"); });
  EXPECT_EQ(get(server.url())->status, 302);
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(Http, BodiesAreBounded) {
  std::atomic<std::size_t> size = kMaxHttpBody;
  const Server& server = Server::with([&size](const Seen&) { return reply(std::string(size, 'x')); });
  ASSERT_TRUE(get(server.url()));
  size = kMaxHttpBody + 1;
  const auto got = get(server.url());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "too_large");
  size = 3;
  EXPECT_TRUE(get(server.url())) << "the client goes on";
}

TEST_F(Http, StopEndsARunningRequest) {
  const Server& server = Server::with([this](const Seen&) {
    stopping_ = true;
    return std::string{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1"};  // nine bytes never come
  });
  const auto got = get(server.url());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "stopped");
  EXPECT_EQ(server.seen().size(), 1U);
}

TEST_F(Http, ASilentServerTimesOut) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  HttpRequest r;
  r.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  const auto got = http_.send(r.within(50ms));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::Timeout);
  EXPECT_EQ(got.error().reason, "timeout");
  close(fd);
  const auto refused = http_.send(r);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "connect");
  EXPECT_THAT(refused.error().what, HasSubstr("request to 127.0.0.1 failed: "));
}

TEST_F(Http, OnlyHttp) {
  EXPECT_FALSE(get("file:///etc/passwd"));
  EXPECT_FALSE(get("not an url"));
  EXPECT_FALSE(get(""));
}

TEST_F(Http, ATokenCannotAddHeaders) {
  const Server& server = Server::with([](const Seen&) { return reply(""); });
  HttpRequest r;
  r.url = server.url();
  r.bearer = SecretText{std::string_view{"tok\r\nX-Evil: 1"}};
  EXPECT_FALSE(http_.send(r));
  r.bearer = {};
  r.secret_headers.emplace_back(std::string_view{"X-A: b\r\nX-Evil: 1"});
  EXPECT_FALSE(http_.send(r));
  EXPECT_EQ(server.seen().size(), 0U);
}

TEST_F(Http, PutWithSecretHeaders) {
  const Server& server = Server::with([](const Seen& s) { return reply(s.method + s.body); });
  HttpRequest r{.method = HttpRequest::Method::Put, .url = server.url()};
  r.secret_headers.emplace_back(std::string_view{"X-Secret: s"});
  const auto got = http_.send(r.within(5s));
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->body, "PUT");
  EXPECT_EQ(server.seen().at(0).header("X-Secret"), "s");
}

TEST_F(Http, OnlyTheProxiesThatWereGivenAreUsed) {
  const Server& server = Server::with([](const Seen&) { return reply("direct"); });
  setenv("http_proxy", "http://127.0.0.1:1", 1);  // curl would take both
  setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  HttpRequest r;
  r.url = "http://sidepool.invalid/";
  EXPECT_EQ(http_.send(r).error().reason, "resolve");
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
  CurlHttp proxied{stopping_, {.for_http = "http://127.0.0.1:1"}};
  EXPECT_EQ(proxied.send(r).error().reason, "connect")
      << "the name is the proxy's business, and nobody is there";
  r.use_proxy = false;
  EXPECT_EQ(proxied.send(r).error().reason, "resolve");
  r = {};
  r.url = server.url();
  EXPECT_TRUE(proxied.send(r)) << "never for loopback";
}

TEST(HttpProxies, TheVariablesInGosOrder) {
  std::map<std::string, std::string> env{
      {"HTTPS_PROXY", "a"}, {"https_proxy", "b"}, {"http_proxy", "c"}, {"no_proxy", "d"}, {"ALL_PROXY", "x"}};
  const auto p = read_http_proxies([&env](const char* name) { return env[name]; });
  EXPECT_EQ(p.for_https, "a");
  EXPECT_EQ(p.for_http, "c");
  EXPECT_EQ(p.no_proxy, "d");
}

TEST(HttpProxies, NoProxy) {
  const HttpProxies p{"https-proxy", "http-proxy",
                      "10.1.2.3, 192.168.0.0/16,Example.com,.below.org,*.star.net:8443,[::2]:443,h:99"};
  for (const auto& [host, port] : {std::pair{"10.1.2.3", "443"},
                                   {"192.168.9.9", "443"},
                                   {"example.com", "443"},
                                   {"a.EXAMPLE.com", "443"},
                                   {"x.below.org", "443"},
                                   {"x.star.net", "8443"},
                                   {"::2", "443"},
                                   {"h", "99"},
                                   {"localhost", "443"},
                                   {"127.1.1.1", "443"},
                                   {"::1", "443"}})
    EXPECT_EQ(p.for_request("https", host, port), "") << host;
  for (const auto& [host, port] : {std::pair{"10.1.2.4", "443"},
                                   {"notexample.com", "443"},
                                   {"below.org", "443"},
                                   {"x.star.net", "443"},
                                   {"::2", "80"},
                                   {"h", "98"},
                                   {"", "443"}})
    EXPECT_EQ(p.for_request("https", host, port), "https-proxy") << host;
  EXPECT_EQ(p.for_request("http", "sqladmin.googleapis.com", "80"), "http-proxy");
  EXPECT_EQ((HttpProxies{"a", "b", "*"}.for_request("https", "x", "443")), "");
  EXPECT_EQ((HttpProxies{"", "b", ""}.for_request("https", "x", "443")), "");
}

// --- SQL Admin API

constexpr std::string_view kSettings =
    R"({"region":"us-central1","backendType":"SECOND_GEN","databaseVersion":"POSTGRES_15",
        "ipAddresses":[{"type":"PRIMARY","ipAddress":"127.0.0.2"}],"serverCaCert":{"cert":"PEM"}})";

Token admin() { return {SecretText{std::string_view{"admin-token"}}, std::nullopt}; }

class Api : public Http {
 protected:
  Api() {
    caller_.send = [this](const HttpRequest& r) {
      urls_.push_back(r.url);
      return http_.send(r);
    };
    caller_.pause = [this](Millis t) {
      pauses_.push_back(t);
      return true;
    };
    caller_.random = [] { return 0.0; };
    caller_.now = [] { return Now{}; };
  }
  Caller caller_;
  std::vector<Millis> pauses_;
  std::vector<std::string> urls_;  // as sent: the server shows them decoded
  const InstanceName name_{"google.com:my-proj", "us-central1", "db"};
};

TEST_F(Api, RequestsAreExact) {
  const Server& server = Server::with([](const Seen& s) {
    return s.method == "GET" ? reply(std::string{kSettings}) : reply(R"({"ephemeralCert":{"cert":"CERT"}})");
  });
  const SqlAdmin api{{server.url("/prefix"), "sidepool/1.0 extra", "quota-proj"}};
  const auto settings = api.connect_settings(name_, admin(), caller_);
  ASSERT_TRUE(settings) << settings.error().error.what;
  EXPECT_EQ(settings->public_ip, "127.0.0.2");
  const Token login{SecretText{std::string_view{"login-token"}}, std::nullopt};
  EXPECT_EQ(api.ephemeral_cert(name_, "KEY", admin(), &login, caller_).value(), "CERT");
  EXPECT_EQ(api.ephemeral_cert(name_, "KEY", admin(), nullptr, caller_).value(), "CERT");
  const auto seen = server.seen();
  const std::string base = server.url("/prefix/sql/v1beta4/projects/google.com%3Amy-proj/instances/db");
  EXPECT_EQ(seen[0].method, "GET");
  EXPECT_EQ(urls_[0], base + "/connectSettings?alt=json&prettyPrint=false");
  EXPECT_EQ(seen[0].header("Authorization"), "Bearer admin-token");
  EXPECT_EQ(seen[0].header("User-Agent"), "sidepool/1.0 extra");
  EXPECT_EQ(seen[0].header("X-Goog-User-Project"), "quota-proj");
  EXPECT_EQ(seen[1].method, "POST");
  EXPECT_EQ(urls_[1], base + ":generateEphemeralCert?alt=json&prettyPrint=false");
  EXPECT_EQ(seen[1].header("Content-Type"), "application/json");
  EXPECT_EQ(seen[1].body, R"({"access_token":"login-token","public_key":"KEY"})");
  EXPECT_EQ(seen[2].body, R"({"public_key":"KEY"})");
}

TEST_F(Api, ServerErrorsAreRetriedFourTimes) {
  std::atomic<int> failures = 4;
  const Server& server = Server::with([&failures](const Seen&) {
    return failures-- > 0 ? reply("oops", "500 Internal Server Error") : reply(std::string{kSettings});
  });
  const SqlAdmin api{{server.url(), "ua"}};
  EXPECT_TRUE(api.connect_settings(name_, admin(), caller_));
  EXPECT_EQ(pauses_, (std::vector<Millis>{323ms, 523ms, 847ms, 1370ms}));
  failures = 100;
  pauses_.clear();
  const auto got = api.connect_settings(name_, admin(), caller_);
  ASSERT_FALSE(got);
  EXPECT_EQ(pauses_.size(), 4U);
  EXPECT_EQ(server.seen().size(), 10U);
  EXPECT_EQ(got.error().kind, FailureKind::Server);
  EXPECT_EQ(got.error().error.sys, 500);
}

TEST_F(Api, OtherErrorsAreNotRetriedAndCarryGooglesWords) {
  const Server& server = Server::with([](const Seen&) {
    return reply(
        R"({"error":{"code":403,"message":"Not authorized.","errors":[{"reason":"notAuthorized"}]}})",
        "403 Forbidden", "Retry-After: 3\r\n");
  });
  const auto got = SqlAdmin{{server.url(), "ua"}}.connect_settings(name_, admin(), caller_);
  ASSERT_FALSE(got);
  EXPECT_EQ(server.seen().size(), 1U);
  EXPECT_EQ(
      got.error().error.what,
      "failed to get instance metadata (connection name = \"google.com:my-proj:us-central1:db\"): googleapi: "
      "Error 403: Not authorized., notAuthorized");
  EXPECT_EQ(got.error().error.code, Errc::Api);
  EXPECT_EQ(got.error().error.reason, "notAuthorized");
  EXPECT_EQ(got.error().kind, FailureKind::Refused);
  EXPECT_EQ(got.error().retry_after, 3s);
}

TEST_F(Api, NoAnswerIsNotRetriedHere) {
  const auto got = SqlAdmin{{"http://127.0.0.1:1/", "ua"}}.connect_settings(name_, admin(), caller_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, FailureKind::Transport);
  EXPECT_TRUE(pauses_.empty());
}

TEST(CheckSettings, Table) {
  const InstanceName name{"p", "us-central1", "i"};
  const auto sound = [] { return *read_connect_settings(kSettings); };
  EXPECT_TRUE(check_settings(name, sound()));
  const std::pair<std::function<void(ConnectSettings&)>, const char*> cases[] = {
      {[](auto& s) { s.region = "europe-west1"; },
       "provided region was mismatched - got us-central1, want europe-west1"},
      {[](auto& s) { s.backend_type = "FIRST_GEN"; }, "only Second Generation instances are supported"},
      {[](auto& s) { s.database_version = "MYSQL_8_0"; }, "the instance runs MYSQL_8_0"},
      {[](auto& s) { s.database_version = "SQLSERVER_2019"; }, "the instance runs SQLSERVER_2019"},
      {[](auto& s) { s.database_version.clear(); }, "an unknown engine"},
      {[](auto& s) { s.public_ip.clear(); }, "it has no supported IP addresses"},
      {[](auto& s) { s.public_ip = "evil.example.com"; }, "malformed"},
      {[](auto& s) { s.private_ip = "10.0.0.1;"; }, "malformed"},
      {[](auto& s) { s.server_name = "a\nb"; }, "malformed"},
      {[](auto& s) { s.psc_names = {"a/b"}; }, "malformed"},
      {[](auto& s) { s.ca_bundle.clear(); }, "does not have a server CA certificate"},
  };
  for (const auto& [change, text] : cases) {
    ConnectSettings s = sound();
    change(s);
    const auto got = check_settings(name, s);
    ASSERT_FALSE(got) << text;
    EXPECT_THAT(got.error().what, HasSubstr(text));
  }
}

TEST(ClientKey, ThePublicHalfIsSpkiUnderTheOtherLabel) {
  const std::string text = public_key_pem(test::shared_rsa_key());
  EXPECT_TRUE(text.starts_with("-----BEGIN RSA PUBLIC KEY-----\n")) << text;
  EXPECT_TRUE(text.ends_with("-----END RSA PUBLIC KEY-----\n"));
  EXPECT_EQ(text.find('\n', 31), 31U + 64U) << "64 columns";
  const auto bio = tls::memory_bio(text);
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* der = nullptr;
  long size = 0;
  ASSERT_EQ(PEM_read_bio(bio.get(), &label, &header, &der, &size), 1);
  const unsigned char* at = der;
  const tls::KeyPtr read{d2i_PUBKEY(nullptr, &at, size)};
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(EVP_PKEY_eq(read.get(), test::shared_rsa_key()), 1);
  EXPECT_EQ(EVP_PKEY_get_bits(read.get()), 2048);
  OPENSSL_free(label);
  OPENSSL_free(header);
  OPENSSL_free(der);
}

}  // namespace
}  // namespace sidepool::cloudsql
