// tests/unit/cloudsql/fake_google.h -- Google's endpoints in memory behind HttpSend, with faults and a
// record.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "src/base/rfc3339.h"
#include "src/cloudsql/client_key.h"
#include "src/cloudsql/source.h"
#include "tests/unit/cloudsql/pki.h"

namespace sidepool::test {

// One RSA key for all tests of the binary: making one costs up to a second.
inline EVP_PKEY* shared_rsa_key() {
  static const tls::KeyPtr key = cloudsql::make_client_key();
  return key.get();
}
inline tls::KeyPtr rsa_key() {
  EVP_PKEY_up_ref(shared_rsa_key());
  return tls::KeyPtr{shared_rsa_key()};
}

// A clock for several threads that goes only when told to.
class FakeClock {
 public:
  cloudsql::Now now() const {
    const std::lock_guard lock{mutex_};
    return now_;
  }
  void pass(cloudsql::Millis t) { set(t, t); }
  void set(cloudsql::Millis wall, cloudsql::Millis boot) {
    const std::lock_guard lock{mutex_};
    now_.wall += wall;
    now_.boot += boot;
  }

 private:
  mutable std::mutex mutex_;
  cloudsql::Now now_{std::chrono::floor<cloudsql::Millis>(std::chrono::system_clock::now()),
                     std::chrono::seconds{1000}};
};

struct Call {
  cloudsql::HttpRequest::Method method;
  std::string url, bearer, body;
  std::vector<std::string> headers;  // secret ones too
  bool use_proxy;
  std::string certificates;  // PEM, shown in the handshake
  bool header(const std::string& line) const {
    return std::find(headers.begin(), headers.end(), line) != headers.end();
  }
};

class FakeGoogle {
 public:
  using Fault = std::function<std::optional<Result<cloudsql::HttpResponse>>(const Call&)>;

  explicit FakeGoogle(const FakeClock& clock) : clock_(clock) {}

  cloudsql::HttpSend send() {
    return [this](const cloudsql::HttpRequest& r) { return answer(r); };
  }
  // Looked at first; nullopt lets the call through. Any thread.
  void set_fault(Fault fault) {
    const std::lock_guard lock{mutex_};
    fault_ = std::move(fault);
  }
  void set_life(std::chrono::seconds certificate, std::chrono::seconds token) {
    const std::lock_guard lock{mutex_};
    certificate_life_ = certificate;
    token_life_ = token;
  }
  std::vector<Call> calls() const {
    const std::lock_guard lock{mutex_};
    return calls_;
  }
  std::size_t count(const std::string& part) const {
    const std::lock_guard lock{mutex_};
    return count_locked(part);
  }
  // Waits until so many calls with this part in the URL have come. The bound is below the api thread's
  // longest sleep, so that a wake-up that was lost is a failure and not a delay.
  void wait_for(const std::string& part, std::size_t n) {
    std::unique_lock lock{mutex_};
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds{25}, [&] { return count_locked(part) >= n; }))
        << part;
  }

  static cloudsql::HttpResponse json(std::string body, long status = 200) {
    return {status, std::move(body), {}};
  }
  static cloudsql::HttpResponse error(long status, const std::string& reason,
                                      const std::string& message = "no") {
    return json(R"({"error":{"message":")" + message + R"(","errors":[{"reason":")" + reason + R"("}]}})",
                status);
  }
  static std::optional<Result<cloudsql::HttpResponse>> unreachable() {
    return Result<cloudsql::HttpResponse>{fail(Errc::Io, "request to x failed: refused", 0, "connect")};
  }

  const Identity root = make_identity({.cn = "root", .ca = true});

 private:
  std::size_t count_locked(const std::string& part) const {
    return static_cast<std::size_t>(std::count_if(
        calls_.begin(), calls_.end(), [&](const Call& c) { return c.url.find(part) != std::string::npos; }));
  }

  Result<cloudsql::HttpResponse> answer(const cloudsql::HttpRequest& r) {
    Fault fault;
    Call call{r.method,
              r.url,
              std::string{r.bearer.view()},
              std::string{r.body.view()},
              r.headers,
              r.use_proxy,
              r.identity ? r.identity->chain : std::string{}};
    for (const auto& line : r.secret_headers) call.headers.emplace_back(line.view());
    {
      const std::lock_guard lock{mutex_};
      calls_.push_back(call);
      fault = fault_;
    }
    changed_.notify_all();
    if (fault)
      if (auto wrong = fault(call)) return std::move(*wrong);
    if (r.url.ends_with("/email")) return json("app@proj.iam.gserviceaccount.com");
    if (r.url.ends_with("/tokeninfo")) return json(R"({"email":"Alice@example.com"})");
    if (r.url.ends_with(":generateAccessToken")) return impersonated(call.body);
    if (r.url.find("token") != std::string::npos) return token(r.url + call.body);
    if (r.url.find("/connectSettings") != std::string::npos) return json(settings());
    if (r.url.find(":resolveConnectSettings") != std::string::npos)
      return json(R"({"connectionName":"p:us-central1:resolved"})");
    if (r.url.find(":generateEphemeralCert") != std::string::npos) return json(certificate());
    return json("{}", 404);
  }

  // Named after the scope that was asked for, and numbered.
  std::string next_token(const std::string& asked) {
    const auto has = [&asked](const char* scope) { return asked.find(scope) != std::string::npos; };
    const char* kind = has("sqlservice.login") ? "login-" : has("cloud-platform") ? "platform-" : "admin-";
    return kind + std::to_string(++tokens_);
  }

  Result<cloudsql::HttpResponse> impersonated(const std::string& body) {
    const std::lock_guard lock{mutex_};
    return json(R"({"accessToken":"as-)" + next_token(body) + R"(","expireTime":")" +
                format_rfc3339(std::chrono::time_point_cast<sidepool::WallTime::duration>(clock_.now().wall +
                                                                                          token_life_)) +
                "\"}");
  }

  Result<cloudsql::HttpResponse> token(const std::string& asked) {
    const std::lock_guard lock{mutex_};
    return json(R"({"access_token":")" + next_token(asked) + R"(","expires_in":)" +
                std::to_string(token_life_.count()) + R"(,"token_type":"Bearer"})");
  }

  static std::string escaped(std::string text) {
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
      text.replace(at, 1, "\\n");
    return text;
  }

  std::string settings() const {
    return R"({"region":"us-central1","backendType":"SECOND_GEN","databaseVersion":"POSTGRES_15",
      "ipAddresses":[{"type":"PRIMARY","ipAddress":"127.0.0.2"}],"mdxProtocolSupport":["CLIENT_PROTOCOL_TYPE"],
      "serverCaCert":{"cert":")" +
           escaped(pem(root.cert.get())) + R"("}})";
  }

  std::string certificate() {
    const std::lock_guard lock{mutex_};
    // The certificate's dates are the fake clock's.
    const auto ahead =
        std::chrono::floor<std::chrono::seconds>(clock_.now().wall - std::chrono::system_clock::now());
    const auto cert = make_cert({.cn = "Google Cloud SQL Client",
                                 .starts_in_s = (ahead - std::chrono::minutes{1}).count(),
                                 .ends_in_s = (ahead + certificate_life_).count()},
                                shared_rsa_key(), &root);
    return R"({"ephemeralCert":{"cert":")" + escaped(pem(cert.get())) + R"("}})";
  }

  const FakeClock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Fault fault_;
  std::vector<Call> calls_;
  std::chrono::seconds certificate_life_{3600};
  std::chrono::seconds token_life_{7200};
  int tokens_ = 0;
};

// What a call gets outside the api thread: no real waiting, the pauses are recorded.
struct FakeCaller {
  explicit FakeCaller(FakeGoogle& google, FakeClock& clock)
      : caller{google.send(),
               [this, &clock](cloudsql::Millis t) {
                 pauses.push_back(t);
                 clock.pass(t);
                 return pauses.size() <= pauses_allowed;
               },
               [&clock] { return clock.now(); }, [] { return 0.0; },
               [this](const cloudsql::Command& command) -> Result<cloudsql::CommandOutput> {
                 commands.push_back(command);
                 if (!on_run) return fail(Errc::Config, "nothing runs here", 0, "command");
                 return on_run(command);
               }} {}
  std::vector<cloudsql::Millis> pauses;
  std::size_t pauses_allowed = 1000;
  std::vector<cloudsql::Command> commands;
  cloudsql::RunCommand on_run;
  cloudsql::Caller caller;
};

}  // namespace sidepool::test
