// tests/unit/cloudsql/source_fixture.h -- an api thread in front of a FakeGoogle, on a clock that goes only
// when told to.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/cloudsql/source.h"
#include "tests/unit/cloudsql/fake_google.h"

namespace sidepool::cloudsql {

using namespace std::chrono_literals;
using test::Call;
using test::FakeGoogle;
using testing::HasSubstr;

inline std::optional<Result<HttpResponse>> forbidden(const Call& call) {
  if (call.url.find("/connectSettings") == std::string::npos) return std::nullopt;
  return Result<HttpResponse>{FakeGoogle::error(403, "notAuthorized", "Not authorized.")};
}

inline std::optional<Result<HttpResponse>> no_certificate(const Call& call) {
  if (call.url.find(":generateEphemeralCert") == std::string::npos) return std::nullopt;
  return Result<HttpResponse>{FakeGoogle::error(403, "notAuthorized", "Not authorized.")};
}

class Source : public testing::Test {
 protected:
  explicit Source(bool lazy = false) {
    SourceOptions options;
    options.environment.metadata_host = "127.0.0.1:99";
    options.api.endpoint = "http://127.0.0.1:98";
    options.api.user_agent = "sidepool/test";
    options.send = google_.send();
    options.now = [this] { return clock_.now(); };
    options.random = [] { return 0.0; };
    options.key = test::rsa_key();
    options.lazy = lazy;
    options.log = [this](LogLevel, std::string_view text) {
      const std::lock_guard lock{log_mutex_};
      log_.emplace_back(text);
    };
    source_ = std::move(*CloudSql::start(std::move(options)));
  }
  ~Source() override {
    google_.set_fault(nullptr);
    source_->stop();
  }

  std::future<CloudSql::Answer> ask(const InstanceKey& key) {
    auto promise = std::make_shared<std::promise<CloudSql::Answer>>();
    auto future = promise->get_future();
    source_->request(key, [promise](CloudSql::Answer a) { promise->set_value(std::move(a)); });
    return future;
  }
  InfoPtr fetch(const InstanceKey& key) {
    auto answer = ask(key).get();
    EXPECT_TRUE(answer) << answer.error().what;
    return answer ? *answer : nullptr;
  }
  void pass(Millis t) {
    clock_.pass(t);
    source_->wake();
  }
  std::string log() {
    const std::lock_guard lock{log_mutex_};
    std::string all;
    for (const auto& line : log_) all += line + "\n";
    return all;
  }
  // Until everything that is due has been done.
  void settle() {
    while (!source_->at_rest()) std::this_thread::yield();
  }

  const InstanceKey key_{{"p", "us-central1", "i"}, false};
  const InstanceKey iam_{{"p", "us-central1", "i"}, true};
  const InstanceKey other_{{"p", "us-central1", "other"}, false};
  test::FakeClock clock_;
  FakeGoogle google_{clock_};
  std::mutex log_mutex_;
  std::vector<std::string> log_;
  std::unique_ptr<CloudSql> source_;
};

}  // namespace sidepool::cloudsql
