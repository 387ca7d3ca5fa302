// Whose credentials they are: asked for once, told in the log, and told again when the file is another one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <future>

#include "src/cloudsql/source.h"
#include "tests/unit/cloudsql/credential_texts.h"

namespace sidepool::cloudsql {
namespace {

using test::Call;
using test::FakeGoogle;
using testing::HasSubstr;

class Principal : public testing::Test {
 protected:
  ~Principal() override {
    google_.set_fault(nullptr);
    if (source_) source_->stop();
  }
  void start(const std::function<void(CredentialOptions&)>& change, const std::string& quota_project = "") {
    SourceOptions options;
    change(options.credentials);
    options.api.quota_project = quota_project;
    options.api.endpoint = "http://127.0.0.1:98";
    options.send = google_.send();
    options.now = [this] { return clock_.now(); };
    options.random = [] { return 0.0; };
    options.key = test::rsa_key();
    options.log = [this](LogLevel, std::string_view text) {
      const std::lock_guard lock{log_mutex_};
      log_ += text;
      log_ += '\n';
    };
    source_ = std::move(*CloudSql::start(std::move(options)));
  }
  void fetch(const InstanceKey& key) {
    std::promise<bool> promise;
    source_->request(key, [&promise](CloudSql::Answer a) { promise.set_value(a.has_value()); });
    EXPECT_TRUE(promise.get_future().get());
  }
  // What follows a refresh has been done when the next one is.
  void settle() { fetch({{"p", "us-central1", "settle-" + std::to_string(++settled_)}, false}); }
  std::string log() {
    const std::lock_guard lock{log_mutex_};
    return log_;
  }

  const InstanceKey key_{{"p", "us-central1", "i"}, false};
  const InstanceKey iam_{{"p", "us-central1", "i"}, true};
  const InstanceKey other_{{"p", "us-central1", "other"}, false};
  int settled_ = 0;
  test::FakeClock clock_;
  FakeGoogle google_{clock_};
  std::mutex log_mutex_;
  std::string log_;
  std::unique_ptr<CloudSql> source_;
};

// Without a word of who it is, the one who is asked is the one who gets the token anyway.
TEST_F(Principal, ThePrincipalOfATokenIsAskedFor) {
  start([](CredentialOptions& c) { c.token = SecretText{std::string_view{"T"}}; });
  fetch(key_);
  google_.wait_for("/tokeninfo", 1);
  settle();
  EXPECT_EQ(source_->principal(), "Alice@example.com");
  EXPECT_THAT(log(), HasSubstr("the principal is Alice@example.com; its PostgreSQL role for IAM logins is "
                               "alice@example.com"));
  settle();
  const auto calls = google_.calls();
  const auto asked =
      std::find_if(calls.begin(), calls.end(), [](const Call& c) { return c.url.ends_with("/tokeninfo"); });
  EXPECT_EQ(asked->url, "http://127.0.0.1:98/tokeninfo");
  EXPECT_EQ(asked->body, "access_token=T");
  EXPECT_EQ(google_.count("/tokeninfo"), 1U);
}

TEST_F(Principal, APrincipalThatNobodyKnowsIsSaidOnce) {
  start([](CredentialOptions& c) { c.token = SecretText{std::string_view{"T"}}; });
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (!call.url.ends_with("/tokeninfo")) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(400, "invalid_token")};
  });
  fetch(key_);
  settle();
  settle();
  EXPECT_EQ(source_->principal(), "");
  EXPECT_THAT(log(), HasSubstr("the e-mail of the principal is not known"));
  EXPECT_EQ(google_.count("/tokeninfo"), 1U);
}

TEST_F(Principal, AnotherCredentialsFileIsReadWhenTokensAreNeeded) {
  const test::TempDir dir;
  const auto user = [](const std::string& account) {
    return test::user_json(R"(,"token_uri":"http://127.0.0.1:9/token","account":")" + account + "\"");
  };
  const std::string file = dir.file("c.json", user("one@example.com"));
  start([&](CredentialOptions& c) { c.credentials_file = file; });
  EXPECT_EQ(source_->principal(), "one@example.com");
  fetch(key_);

  std::filesystem::rename(dir.file("next.json", "{"), file);
  fetch(other_);
  EXPECT_THAT(log(), HasSubstr("the credentials file " + file +
                               " has changed but cannot be used, so the old credentials stay: "));
  EXPECT_EQ(source_->principal(), "one@example.com");

  std::filesystem::rename(dir.file("next.json", user("two@example.com")), file);
  fetch(iam_);
  EXPECT_EQ(source_->principal(), "two@example.com");
  EXPECT_THAT(log(), HasSubstr("the credentials file " + file + " has changed and was read again"));
  EXPECT_THAT(log(), HasSubstr("the principal is two@example.com"));
  EXPECT_EQ(google_.count("http://127.0.0.1:9/token"), 3U) << "one at first, then one a scope";
}

TEST_F(Principal, AnotherFilesPrincipalIsNotTheLastOnes) {
  const test::TempDir dir;
  const auto user = [](const std::string& more) {
    return test::user_json(R"(,"token_uri":"http://127.0.0.1:9/token")" + more);
  };
  const std::string file = dir.file("c.json", user(R"(,"account":"one@example.com")"));
  start([&](CredentialOptions& c) { c.credentials_file = file; });
  fetch(key_);
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (!call.url.ends_with("/tokeninfo")) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(400, "invalid_token")};
  });
  std::filesystem::rename(dir.file("next.json", user("")), file);
  fetch(other_);
  settle();
  EXPECT_EQ(source_->principal(), "");
  google_.set_fault(nullptr);
  std::filesystem::rename(dir.file("next.json", user("")), file);
  fetch(iam_);
  settle();
  EXPECT_EQ(source_->principal(), "Alice@example.com") << "asked again";
}

class QuotaProject : public Principal {
 protected:
  void use(const std::string& project) {
    const std::string more = project.empty() ? "" : R"(,"quota_project_id":")" + project + "\"";
    std::filesystem::rename(
        dir_.file("next.json", test::user_json(R"(,"token_uri":"http://127.0.0.1:9/token")" + more)), file_);
  }
  // That the last refresh was counted on; both of its calls agree.
  std::string counted_on() {
    settle();
    const auto calls = google_.calls();
    const auto of = [&calls](const char* method) {
      const auto call = std::find_if(calls.rbegin(), calls.rend(),
                                     [&](const Call& c) { return c.url.find(method) != std::string::npos; });
      const std::string name = "X-Goog-User-Project: ";
      for (const auto& line : call->headers)
        if (line.starts_with(name)) return line.substr(name.size());
      return std::string{"nothing"};
    };
    EXPECT_EQ(of("/connectSettings"), of(":generateEphemeralCert"));
    return of("/connectSettings");
  }

  const test::TempDir dir_;
  const std::string file_ = dir_.path() + "/c.json";
};

TEST_F(QuotaProject, FollowsTheCredentialsFile) {
  use("first");
  start([&](CredentialOptions& c) { c.credentials_file = file_; });
  EXPECT_EQ(counted_on(), "first");
  use("second");
  EXPECT_EQ(counted_on(), "second");
  use("");
  EXPECT_EQ(counted_on(), "nothing");
}

TEST_F(QuotaProject, OfTheConfigurationStays) {
  use("first");
  start([&](CredentialOptions& c) { c.credentials_file = file_; }, "given");
  EXPECT_EQ(counted_on(), "given");
  use("second");
  EXPECT_EQ(counted_on(), "given");
}

}  // namespace
}  // namespace sidepool::cloudsql
