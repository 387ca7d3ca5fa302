// The api thread when Google refuses, is out of reach or hands out what cannot be used.
#include "tests/unit/cloudsql/source_fixture.h"

namespace sidepool::cloudsql {
namespace {

TEST_F(Source, APermanentRefusalIsNoStorm) {
  google_.set_fault(forbidden);
  for (int i = 0; i < 1000; ++i) {
    const auto answer = ask(key_).get();
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().reason, "notAuthorized");
    clock_.pass(10ms);
  }
  EXPECT_LE(google_.count("sql/v1beta4"), 4U);
  EXPECT_EQ(google_.count("/token"), 1U);
  const std::string text = log();
  EXPECT_THAT(text, HasSubstr("Error 403: Not authorized., notAuthorized. Grant the principal the role"));
  EXPECT_THAT(text, HasSubstr("[" + key_.name() + "] failed to connect to instance: "))
      << "the Auth Proxy's line";
  EXPECT_EQ(text.find("Error 403"), text.rfind("Error 403")) << "said once";
  // The fault is lifted: the next client that comes 5 s after the last call gets through.
  google_.set_fault(nullptr);
  clock_.pass(5s);
  EXPECT_TRUE(ask(key_).get());
  const auto status = source_->status();
  ASSERT_EQ(status.size(), 1U);
  EXPECT_TRUE(status[0].valid);
  EXPECT_FALSE(status[0].failing);
  EXPECT_EQ(status[0].successes, 1U);
  EXPECT_GE(status[0].failures.at({"notAuthorized", "notAuthorized"}), 2U);
  EXPECT_EQ(status[0].last_error, "");
}

// Who may read settings and not have certificates is refused by the second call.
TEST_F(Source, APermanentRefusalOfTheSecondCallIsNoStormEither) {
  google_.set_fault(no_certificate);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(ask(key_).get());
    clock_.pass(10ms);
  }
  EXPECT_LE(google_.count("sql/v1beta4"), 4U);
  EXPECT_EQ(google_.count("/connectSettings"), 1U);
  google_.set_fault(nullptr);
  clock_.pass(30s);
  EXPECT_TRUE(ask(key_).get());
  EXPECT_EQ(google_.count("/connectSettings"), 2U) << "by now the instance may have moved";
}

TEST_F(Source, AQuotaThatIsUsedUpIsLeftAlone) {
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/connectSettings") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(429, "rateLimitExceeded")};
  });
  for (int i = 0; i < 290; ++i) {
    ASSERT_FALSE(ask(key_).get());
    clock_.pass(100ms);
  }
  EXPECT_EQ(google_.count("sql/v1beta4"), 1U) << "clients wait like everybody else";
  google_.set_fault(nullptr);
  clock_.pass(1s);
  EXPECT_TRUE(ask(key_).get());
}

TEST_F(Source, ReasonsThatTheAnswersMakeUpAreBounded) {
  int n = 0;
  google_.set_fault([&n](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/connectSettings") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(403, "reason" + std::to_string(++n))};
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_FALSE(ask(key_).get());
    clock_.pass(6min);
  }
  const auto failures = source_->status()[0].failures;
  EXPECT_EQ(failures.size(), 33U);
  EXPECT_EQ(failures.at({"other", ""}), 18U);
}

TEST_F(Source, TheRemedyIsToldOnceAndTheErrorOnceAMinute) {
  google_.set_fault(forbidden);
  for (int i = 0; i < 30; ++i) {
    ASSERT_FALSE(ask(key_).get());
    clock_.pass(6s);
  }
  const auto count = [text = log()](const std::string& part) {
    int n = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
  };
  EXPECT_EQ(count("Grant the principal the role"), 1);
  EXPECT_EQ(count("Error 403"), 3);
  EXPECT_EQ(count("times more since it was last said"), 2);
}

TEST_F(Source, TheConnectorsLabelIsOfTheApisAnswersOnly) {
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/connectSettings") == std::string::npos) return std::nullopt;
    return FakeGoogle::unreachable();
  });
  ASSERT_FALSE(ask(key_).get());
  EXPECT_EQ(source_->status()[0].failures.at({"connect", ""}), 1U);
}

TEST_F(Source, AFailedRefreshIsInvisibleWhileTheCertificateIsValid) {
  const InfoPtr first = fetch(key_);
  google_.set_fault(forbidden);
  pass(57min);
  google_.wait_for("/connectSettings", 2);
  EXPECT_EQ(fetch(key_), first);
  settle();
  EXPECT_THAT(log(), HasSubstr("(the certificate in use is still valid)"));
  pass(4min);
  const auto over = ask(key_).get();
  EXPECT_FALSE(over) << "a certificate is not used past its end";
  EXPECT_EQ(source_->current(key_), nullptr);
}

TEST_F(Source, ARefusedCertificateIsNotHandedOutAgain) {
  const InfoPtr first = fetch(key_);
  source_->report_dial_failure(key_, first->epoch, DialFailure::Certificate);
  const InfoPtr second = fetch(key_);
  EXPECT_GT(second->epoch, first->epoch);
  // A late report about the first certificate says nothing about the second.
  source_->report_dial_failure(key_, first->epoch, DialFailure::Certificate);
  EXPECT_EQ(source_->current(key_), second);
  EXPECT_EQ(google_.count(":generateEphemeralCert"), 2U);
}

TEST_F(Source, ARefusedCertificateIsServedIfThereIsNoOther) {
  const InfoPtr first = fetch(key_);
  google_.set_fault(forbidden);
  source_->report_dial_failure(key_, first->epoch, DialFailure::Certificate);
  EXPECT_EQ(fetch(key_), first);
}

TEST_F(Source, AnUnauthorizedTokenIsReplaced) {
  bool first = true;
  google_.set_fault([&first](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/connectSettings") == std::string::npos || !std::exchange(first, false))
      return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(401, "authError")};
  });
  EXPECT_FALSE(ask(key_).get());
  clock_.pass(5s);
  EXPECT_TRUE(ask(key_).get());
  EXPECT_EQ(google_.count("/token"), 2U);
}

TEST_F(Source, BadCertificatesAreErrors) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"ephemeralCert":{"cert":"junk"}})", "failed to decode valid PEM cert"},
      {"{}", "no client certificate"},
      {"junk", "no client certificate"},
  };
  for (const auto& [body, text] : cases) {
    google_.set_fault([&body = body](const Call& call) -> std::optional<Result<HttpResponse>> {
      if (call.url.find(":generateEphemeralCert") == std::string::npos) return std::nullopt;
      return Result<HttpResponse>{FakeGoogle::json(body)};
    });
    clock_.pass(5s);
    const auto answer = ask(key_).get();
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().what, HasSubstr(text));
  }
  google_.set_fault(nullptr);
  google_.set_life(-1h, 2h);
  clock_.pass(5s);
  const auto answer = ask(key_).get();
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what, HasSubstr("over on arrival"));
}

}  // namespace
}  // namespace sidepool::cloudsql
