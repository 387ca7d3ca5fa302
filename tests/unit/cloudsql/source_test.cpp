// The api thread: one refresh for all who wait, when it comes, and how it ends.
#include "tests/unit/cloudsql/source_fixture.h"

namespace sidepool::cloudsql {
namespace {

TEST_F(Source, FetchesWhatADialNeeds) {
  EXPECT_EQ(source_->current(key_), nullptr);
  const InfoPtr info = fetch(key_);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->key, key_);
  EXPECT_EQ(targets(*info, IpType::Public).value(), std::vector<std::string>{"127.0.0.2"});
  EXPECT_EQ(targets(*info, IpType::Auto).value(), std::vector<std::string>{"127.0.0.2"});
  EXPECT_THAT(targets(*info, IpType::Private).error().what,
              HasSubstr("does not have IP of type \"PRIVATE\""));
  EXPECT_FALSE(targets(*info, IpType::Psc));
  EXPECT_TRUE(info->mdx);
  EXPECT_EQ(info->sni, "");
  EXPECT_EQ(info->database_version, "POSTGRES_15");
  EXPECT_LE(info->expires, clock_.now().wall + 1h);
  EXPECT_GT(info->expires, clock_.now().wall + 59min);
  EXPECT_EQ(source_->current(key_), info);
  EXPECT_EQ(fetch(key_), info);
  EXPECT_EQ(google_.count("sql/v1beta4"), 2U);
  EXPECT_EQ(google_.calls()[2].bearer, "admin-1");
  EXPECT_EQ(google_.calls()[3].body.find("access_token"), std::string::npos) << "no login token without IAM";
  EXPECT_THAT(log(), HasSubstr("Authorizing with Application Default Credentials"));
}

TEST_F(Source, TheContextMakesHandshakesWithTheInstance) {
  const InfoPtr info = fetch(key_);
  const auto leaf = test::make_identity({.cn = "p:i"}, &google_.root);
  const tls::Context server{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
  SSL_CTX_use_certificate(server.get(), leaf.cert.get());
  SSL_CTX_use_PrivateKey(server.get(), leaf.key.get());
  SSL_CTX_set1_verify_cert_store(server.get(),
                                 tls::read_anchors(test::pem(google_.root.cert.get()))->front().get());
  SSL_CTX_set_verify(server.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  test::Handshake h{info->context.get(), server.get()};
  h.run();
  EXPECT_TRUE(h.ok());
  const tls::CertPtr seen{SSL_get1_peer_certificate(h.server)};
  ASSERT_TRUE(seen);
  EXPECT_EQ(EVP_PKEY_eq(X509_get0_pubkey(seen.get()), test::shared_rsa_key()), 1);
}

TEST_F(Source, IamHasACertificateOfItsOwnWithTheLoginToken) {
  google_.set_life(1h, 30min);
  const InfoPtr plain = fetch(key_);
  const InfoPtr iam = fetch(iam_);
  EXPECT_NE(plain, iam);
  EXPECT_EQ(source_->current(key_), plain) << "one never turns into the other";
  const auto calls = google_.calls();
  const auto last = std::find_if(calls.rbegin(), calls.rend(), [](const Call& c) {
    return c.url.find("generateEphemeralCert") != std::string::npos;
  });
  EXPECT_THAT(last->body, HasSubstr(R"("access_token":"login-)"));
  EXPECT_TRUE(last->bearer.starts_with("admin-"));
  EXPECT_EQ(iam->expires, clock_.now().wall + 30min) << "the token's end is the certificate's";
  EXPECT_GT(plain->expires, iam->expires);
}

TEST_F(Source, AThousandWaitersCostOneRefresh) {
  std::promise<void> gate;
  const auto open = gate.get_future().share();
  google_.set_fault([open](const Call&) -> std::optional<Result<HttpResponse>> {
    open.wait();
    return std::nullopt;
  });
  std::vector<std::future<CloudSql::Answer>> answers;
  for (int i = 0; i < 1000; ++i) answers.push_back(ask(key_));
  gate.set_value();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_EQ(google_.count("sql/v1beta4"), 2U);
}

// Calls for these instances are answered when the gate is opened.
class Hanging : public Source {
 protected:
  void hang(const std::string& part) {
    google_.set_fault([part, open = open_](const Call& call) -> std::optional<Result<HttpResponse>> {
      if (call.url.find(part) != std::string::npos) open.wait();
      return std::nullopt;
    });
  }
  ~Hanging() override {
    if (!opened_) gate_.set_value();
  }
  void open() {
    opened_ = true;
    gate_.set_value();
  }

 private:
  std::promise<void> gate_;
  const std::shared_future<void> open_ = gate_.get_future().share();
  bool opened_ = false;
};

TEST_F(Hanging, AnInstanceWhoseCallsHangKeepsNoOtherWaiting) {
  hang("instances/i/connectSettings");
  auto hanging = ask(key_);
  google_.wait_for("instances/i/connectSettings", 1);
  EXPECT_TRUE(fetch(other_));
  EXPECT_TRUE(fetch(other_)) << "nor who asks for what is there";
  EXPECT_EQ(hanging.wait_for(0s), std::future_status::timeout);
  EXPECT_EQ(google_.count("/token"), 1U) << "they share the token";
  source_->report_dial_failure(other_, source_->current(other_)->epoch, DialFailure::Certificate);
  google_.wait_for("instances/other:generateEphemeralCert", 2);  // and it is renewed meanwhile
  open();
  EXPECT_TRUE(hanging.get());
}

TEST_F(Hanging, SoManyRefreshesRunAtOnceAndNoMore) {
  hang("/connectSettings");
  std::vector<std::future<CloudSql::Answer>> answers;
  for (std::size_t i = 0; i < 2 * CloudSql::kRefreshesAtOnce; ++i)
    answers.push_back(ask({{"p", "us-central1", "n" + std::to_string(i)}, false}));
  google_.wait_for("/connectSettings", CloudSql::kRefreshesAtOnce);
  for (int i = 0; i < 100; ++i) pass(1ms);  // the api thread looks again
  EXPECT_EQ(google_.count("/connectSettings"), CloudSql::kRefreshesAtOnce);
  open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
}

class LazySource : public Source {
 protected:
  LazySource() : Source(true) {}
};

TEST_F(LazySource, NothingIsFetchedBeforeAClientNeedsIt) {
  source_->add(key_);
  fetch(other_);
  EXPECT_EQ(google_.count("instances/i"), 0U);
  const InfoPtr first = fetch(key_);
  EXPECT_EQ(source_->current(key_), first);
  pass(57min);
  settle();
  EXPECT_EQ(google_.count("instances/i:generateEphemeralCert"), 1U) << "no timer";
  EXPECT_EQ(source_->current(key_), nullptr) << "a client has to come and start it";
  EXPECT_EQ(fetch(key_), first) << "and is served what is still valid";
  google_.wait_for("instances/i:generateEphemeralCert", 2);
  settle();
  EXPECT_GT(fetch(key_)->epoch, first->epoch);
}

TEST_F(LazySource, ACertificateThatIsOverIsWaitedFor) {
  const InfoPtr first = fetch(key_);
  pass(2h);
  const InfoPtr second = fetch(key_);
  EXPECT_GT(second->epoch, first->epoch);
}

TEST_F(Source, RefreshesAheadOfTheEndWithoutBeingAsked) {
  source_->add(key_);
  google_.wait_for(":generateEphemeralCert", 1);
  const InfoPtr first = fetch(key_);
  pass(57min);
  settle();
  const InfoPtr second = fetch(key_);
  EXPECT_GT(second->epoch, first->epoch);
  EXPECT_GT(second->expires, first->expires);
}

TEST_F(Source, AFrozenMachineGetsANewCertificateAtUse) {
  const InfoPtr first = fetch(key_);
  clock_.pass(3h);  // and nothing woke the api thread
  EXPECT_EQ(source_->current(key_), nullptr);
  const InfoPtr second = fetch(key_);
  EXPECT_NE(first, second);
  EXPECT_GT(second->expires, clock_.now().wall);
}

TEST_F(Source, AClockSetByHandIsNoticed) {
  fetch(key_);
  clock_.set(10min, 0ms);
  source_->wake();
  google_.wait_for(":generateEphemeralCert", 2);
}

TEST_F(Source, AFailedDialFetchesAnewAndServesTheOldMeanwhile) {
  const InfoPtr first = fetch(key_);
  source_->report_dial_failure(key_, first->epoch, DialFailure::Tcp);
  google_.wait_for(":generateEphemeralCert", 2);
  settle();
  EXPECT_GT(fetch(key_)->epoch, first->epoch);
  EXPECT_EQ(source_->status()[0].dial_failures, 1U);
}

TEST_F(Source, WhoCouldNotReachTheInstanceGetsWhatIsFetchedAnew) {
  const InfoPtr first = fetch(key_);
  source_->report_dial_failure(key_, first->epoch, DialFailure::Tcp);
  const auto unreached = [this](const InfoPtr& info) {
    std::promise<std::uint64_t> epoch;
    source_->request(
        key_, [&epoch](CloudSql::Answer a) { epoch.set_value(a ? (*a)->epoch : 0); }, info->epoch);
    return epoch.get_future().get();
  };
  const auto second = unreached(first);
  EXPECT_GT(second, first->epoch);
  EXPECT_EQ(unreached(first), second) << "somebody else's fetch is as good";
  google_.set_fault(no_certificate);
  clock_.pass(1min);
  const InfoPtr last = fetch(key_);
  source_->report_dial_failure(key_, last->epoch, DialFailure::Tcp);
  EXPECT_EQ(unreached(last), last->epoch) << "a fetch that fails leaves what is there";
}

TEST_F(Source, ASleepingThreadSeesEveryNewEntryAndEveryReport) {
  for (int i = 0; i < 10; ++i) {
    const InstanceKey key{{"p", "us-central1", "n" + std::to_string(i)}, false};
    settle();
    source_->add(key);
    google_.wait_for("/" + key.instance.instance + ":generateEphemeralCert", 1);
    const InfoPtr info = fetch(key);
    settle();
    source_->report_dial_failure(key, info->epoch, DialFailure::Tcp);
    google_.wait_for("/" + key.instance.instance + ":generateEphemeralCert", 2);
  }
}

TEST_F(Source, OneTokenExpiryCostsOneRefresh) {
  google_.set_life(1h, 1h);
  source_->add(iam_);
  google_.wait_for(":generateEphemeralCert", 1);
  settle();
  const auto before = google_.count(iam_.instance.instance + ":generateEphemeralCert");
  pass(57min);
  google_.wait_for("instances/i:generateEphemeralCert", before + 1);
  for (int i = 0; i < 5; ++i) {
    pass(1min);
    settle();
  }
  EXPECT_EQ(google_.count("instances/i:generateEphemeralCert"), before + 1);
}

TEST_F(Source, ThePrincipalIsLearnedAndLogged) {
  fetch(key_);
  settle();
  EXPECT_EQ(source_->principal(), "app@proj.iam.gserviceaccount.com");
  EXPECT_THAT(
      log(),
      HasSubstr("the principal is app@proj.iam.gserviceaccount.com; its PostgreSQL role for IAM logins "
                "is app@proj.iam"));
  EXPECT_EQ(google_.count("/email"), 1U);
}

TEST_F(Source, RemovedEntriesAnswerWhoWaits) {
  std::promise<void> reached;
  std::promise<void> gate;
  const auto open = gate.get_future().share();
  std::once_flag once;
  google_.set_fault([&, open](const Call&) -> std::optional<Result<HttpResponse>> {
    std::call_once(once, [&] { reached.set_value(); });
    open.wait();
    return std::nullopt;
  });
  auto answer = ask(key_);
  reached.get_future().wait();
  source_->remove(key_);
  gate.set_value();
  const auto got = answer.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().reason, "removed");
  EXPECT_TRUE(source_->status().empty());
}

TEST_F(Source, StopAnswersEverybodyAndLaterCallersAtOnce) {
  std::promise<void> gate;
  const auto open = gate.get_future().share();
  google_.set_fault([open](const Call&) -> std::optional<Result<HttpResponse>> {
    open.wait();
    return std::nullopt;
  });
  std::vector<std::future<CloudSql::Answer>> answers;
  for (std::size_t i = 0; i < 2 * CloudSql::kRefreshesAtOnce; ++i)
    answers.push_back(ask({{"p", "us-central1", "n" + std::to_string(i)}, false}));
  google_.wait_for("/token", 1);
  std::thread stopper{[this] { source_->stop(); }};
  // Once it is stopping an answer is there before request() returns.
  for (;;) {
    auto late = ask(key_);
    const bool at_once = late.wait_for(0s) == std::future_status::ready;
    if (at_once) {
      EXPECT_EQ(late.get().error().reason, "stopped");
      break;
    }
    answers.push_back(std::move(late));
  }
  gate.set_value();
  stopper.join();
  unsigned stopped = 0;
  for (auto& answer : answers) {
    const auto got = answer.get();
    stopped += !got && got.error().reason == "stopped" ? 1 : 0;
  }
  EXPECT_GE(stopped, CloudSql::kRefreshesAtOnce) << "those of instances whose refresh never began";
  source_->stop();
}

TEST_F(Source, ManyThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const InstanceKey key{{"p", "us-central1", "i" + std::to_string((t + i) % 3)}, i % 2 == 0};
        const auto answer = ask(key).get();
        if (answer) {
          ++served;
          if (i % 10 == 0) source_->report_dial_failure(key, (*answer)->epoch, DialFailure::Certificate);
        }
        static_cast<void>(source_->current(key));
        static_cast<void>(source_->status());
        pass(1s);
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(served, 200);
}

TEST(SourceStart, BadCredentialsAreOneError) {
  SourceOptions options;
  options.credentials.credentials_file = "/nonexistent/key.json";
  const auto source = CloudSql::start(std::move(options));
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, Errc::Config);
  EXPECT_THAT(source.error().what, HasSubstr("open /nonexistent/key.json: No such file or directory"));
}

TEST(SourceStart, StopsWithoutEverBeingAsked) {
  SourceOptions options;
  options.credentials.token = SecretText{std::string_view{"T"}};
  options.key = test::rsa_key();
  EXPECT_TRUE(CloudSql::start(std::move(options)));
}

TEST(SourceStart, TokensOverPlainHttpToAnotherMachineAreWarnedAbout) {
  std::string text;
  SourceOptions options;
  options.credentials.token = SecretText{std::string_view{"T"}};
  options.key = test::rsa_key();
  options.api.endpoint = "http://10.0.0.1/";
  options.log = [&text](LogLevel, std::string_view line) { text += line; };
  ASSERT_TRUE(CloudSql::start(std::move(options)));
  EXPECT_THAT(text, HasSubstr("clear text"));
}

}  // namespace
}  // namespace sidepool::cloudsql
