// Instances reached by DNS names: the first lookup, the certificate's name, and what a changed record does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "src/cloudsql/source.h"
#include "tests/unit/cloudsql/fake_google.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::FakeGoogle;
using testing::ElementsAre;
using testing::HasSubstr;

class NamedSource : public testing::Test {
 protected:
  NamedSource() {
    SourceOptions options;
    options.environment.metadata_host = "127.0.0.1:99";
    options.api.endpoint = "http://127.0.0.1:98";
    options.send = google_.send();
    options.now = [this] { return clock_.now(); };
    options.random = [] { return 0.0; };
    options.key = test::rsa_key();
    options.log = [this](LogLevel, std::string_view text) {
      const std::lock_guard lock{mutex_};
      log_ += std::string{text} + "\n";
      changed_.notify_all();
    };
    options.dns.txt = [this](const std::string& name) -> Result<dns::Texts> {
      const std::lock_guard lock{mutex_};
      ++lookups_;
      changed_.notify_all();
      if (dead_) return fail(Errc::Timeout, "Timeout while contacting DNS servers", 0, "dns");
      if (name != "db.example.com" || txt_.empty()) return fail(Errc::Io, "no such record", 0, "no_record");
      return dns::Texts{{txt_}, 30s};
    };
    options.dns.cname = [this](const std::string&) -> Result<std::string> {
      const std::lock_guard lock{mutex_};
      return fail(Errc::Io, "no such record", 0, dead_ ? "dns" : "no_record");
    };
    options.moved = [this](const InstanceKey& key) {
      const std::lock_guard lock{mutex_};
      moved_.push_back(key.name());
      changed_.notify_all();
    };
    source_ = std::move(*CloudSql::start(std::move(options)));
  }
  ~NamedSource() override {
    google_.set_fault(nullptr);
    source_->stop();
  }

  CloudSql::Answer ask(const InstanceKey& key) {
    auto promise = std::make_shared<std::promise<CloudSql::Answer>>();
    auto future = promise->get_future();
    source_->request(key, [promise](CloudSql::Answer a) { promise->set_value(std::move(a)); });
    return future.get();
  }
  void say(const std::string& txt) {
    const std::lock_guard lock{mutex_};
    txt_ = txt;
  }
  void die(bool dead) {
    const std::lock_guard lock{mutex_};
    dead_ = dead;
  }
  template <class Done>
  void wait(Done done, const char* what) {
    std::unique_lock lock{mutex_};
    EXPECT_TRUE(changed_.wait_for(lock, 25s, done)) << what << "\n" << log_;
  }
  // Lets time pass until the watch has asked once more.
  void next_lookup(Millis pause) {
    const int before = [this] {
      const std::lock_guard lock{mutex_};
      return lookups_;
    }();
    // The answer of the lookup before may be read only after the time has passed, and count from then on.
    for (int attempt = 0; attempt < 10; ++attempt) {
      clock_.pass(pause);
      source_->wake();
      std::unique_lock lock{mutex_};
      if (changed_.wait_for(lock, 3s, [&] { return lookups_ > before; })) return;
    }
    FAIL() << "no lookup";
  }
  void wait_log(const std::string& text) {
    wait([&] { return log_.find(text) != std::string::npos; }, text.c_str());
  }

  const InstanceKey key_ = *InstanceKey::parse("db.example.com", false);
  test::FakeClock clock_;
  FakeGoogle google_{clock_};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string log_, txt_ = "p:us-central1:old";
  std::vector<std::string> moved_;
  int lookups_ = 0;
  bool dead_ = false;
  std::unique_ptr<CloudSql> source_;
};

TEST_F(NamedSource, TheRecordSaysWhichInstanceAndTheNameIsTheCertificates) {
  const auto info = ask(key_);
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_EQ((*info)->reached.text(), "db.example.com -> p:us-central1:old");
  EXPECT_EQ((*info)->sni, "db.example.com");
  EXPECT_EQ(google_.count("/instances/old/connectSettings"), 1U);
  EXPECT_EQ(source_->current(key_), *info);
  for (const auto& [san, ok] : {std::pair{"db.example.com", true}, std::pair{"other.example.com", false}}) {
    const auto leaf = test::make_identity({.sans = {san}}, &google_.root);
    const tls::Context server{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
    SSL_CTX_use_certificate(server.get(), leaf.cert.get());
    SSL_CTX_use_PrivateKey(server.get(), leaf.key.get());
    test::Handshake h{(*info)->context.get(), server.get()};
    h.run();
    EXPECT_EQ(h.client_ok, ok) << san;
  }
  EXPECT_THAT(targets(**info, IpType::Private).error().what,
              HasSubstr("config error: instance does not have IP of type \"PRIVATE\" (connection name = "
                        "\"db.example.com -> p:us-central1:old\"), it has PUBLIC"));
}

TEST_F(NamedSource, ARefreshAsksTheSameInstanceWithoutALookup) {
  ASSERT_TRUE(ask(key_));
  const int before = lookups_;
  die(true);
  clock_.pass(57min);
  source_->wake();
  google_.wait_for("/instances/old:generateEphemeralCert", 2);
  wait_log("db.example.com keeps its instance although the lookup failed");
  EXPECT_TRUE(ask(key_)) << "DNS is dead, and nothing depends on it";
  EXPECT_GE(lookups_, before);
  EXPECT_TRUE(moved_.empty());
}

TEST_F(NamedSource, AConfirmedOtherInstanceIsFetchedAndThenUsed) {
  const auto first = ask(key_);
  ASSERT_TRUE(first);
  say("p:us-central1:new");
  next_lookup(30s);
  EXPECT_EQ(source_->current(key_), *first) << "one answer is not enough";
  EXPECT_EQ(google_.count("/instances/new/"), 0U);
  next_lookup(5s);
  wait([&] { return !moved_.empty(); }, "the move is told");
  EXPECT_THAT(moved_, ElementsAre("db.example.com"));
  const auto second = source_->current(key_);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->reached.instance.instance, "new");
  EXPECT_EQ(google_.count("/instances/new/connectSettings"), 1U);
  EXPECT_THAT(log_, HasSubstr("two lookups agree: db.example.com stands for p:us-central1:new from now on"));
}

TEST_F(NamedSource, AnAnswerThatComesAndGoesMovesNobody) {
  ASSERT_TRUE(ask(key_));
  say("p:us-central1:new");
  next_lookup(30s);
  say("p:us-central1:old");
  next_lookup(5s);
  say("");
  next_lookup(30s);
  next_lookup(30s);
  die(true);
  next_lookup(30s);
  EXPECT_TRUE(source_->current(key_));
  EXPECT_EQ(google_.count("/instances/new/"), 0U);
  EXPECT_TRUE(moved_.empty());
}

TEST_F(NamedSource, TheOldInstanceServesUntilTheNewOneCan) {
  const auto first = ask(key_);
  ASSERT_TRUE(first);
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/instances/new/") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(404, "instanceDoesNotExist")};
  });
  say("p:us-central1:new");
  next_lookup(30s);
  next_lookup(5s);
  google_.wait_for("/instances/new/connectSettings", 1);
  wait_log("(the certificate in use is still valid)");
  EXPECT_EQ(source_->current(key_), *first);
  EXPECT_TRUE(moved_.empty());
  google_.set_fault(nullptr);
  clock_.pass(1min);
  source_->wake();
  wait([&] { return !moved_.empty(); }, "the move is told");
  EXPECT_EQ(source_->current(key_)->reached.instance.instance, "new");
}

TEST_F(NamedSource, AMissingRecordIsAnErrorUntilThereIsOne) {
  say("");
  auto answer = ask(key_);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "name");
  EXPECT_THAT(answer.error().what, HasSubstr("no DNS record found for \"db.example.com\""));
  EXPECT_EQ(google_.count("sql/v1beta4"), 0U) << "no call for a name that stands for nothing";
  EXPECT_FALSE(ask(key_));
  const int asked = lookups_;
  EXPECT_EQ(asked, 1) << "known for 5 s";
  say("p:us-central1:old");
  clock_.pass(5s);
  answer = ask(key_);
  EXPECT_TRUE(answer) << answer.error().what;
}

TEST_F(NamedSource, AWrongRecordIsLookedUpAgainAsLongAsNothingWorks) {
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.find("/instances/old/") == std::string::npos) return std::nullopt;
    return Result<HttpResponse>{FakeGoogle::error(404, "instanceDoesNotExist")};
  });
  EXPECT_FALSE(ask(key_));
  say("p:us-central1:new");
  clock_.pass(5s);
  const auto answer = ask(key_);
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ((*answer)->reached.instance.instance, "new");
  EXPECT_TRUE(moved_.empty()) << "nobody was anywhere yet";
}

TEST_F(NamedSource, OneOfGooglesNamesIsResolvedByTheApiOnce) {
  const auto key = *InstanceKey::parse("abc.proj.us-central1.sql.goog", false);
  const auto info = ask(key);
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_EQ((*info)->reached.text(), "abc.proj.us-central1.sql.goog -> p:us-central1:resolved");
  EXPECT_EQ((*info)->sni, "abc.proj.us-central1.sql.goog");
  EXPECT_EQ(lookups_, 0);
  EXPECT_EQ(google_.count(
                "sql/v1beta4/locations/us-central1/dns/abc.proj.us-central1.sql.goog.:resolveConnectSettings"
                "?alt=json&prettyPrint=false"),
            1U);
  clock_.pass(57min);
  source_->wake();
  google_.wait_for("/instances/resolved:generateEphemeralCert", 2);
  EXPECT_EQ(google_.count(":resolveConnectSettings"), 1U);
}

TEST_F(NamedSource, ARemovedNameIsNotAskedForAnyMore) {
  ASSERT_TRUE(ask(key_));
  source_->remove(key_);
  const auto other = *InstanceKey::parse("p:us-central1:other", false);
  const int before = lookups_;
  clock_.pass(2min);
  source_->wake();
  ASSERT_TRUE(ask(other));
  EXPECT_EQ(lookups_, before);
}

}  // namespace
}  // namespace sidepool::cloudsql
