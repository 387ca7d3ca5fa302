// tests/unit/dns/client_test.cpp -- answers of name servers, and what is no answer.
#include "src/dns/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/support/name_server.h"

namespace sidepool::dns {
namespace {

using std::chrono::seconds;
using test::DnsRecord;
using test::kA;
using test::kAaaa;
using test::kCname;
using test::kTxt;
using test::NameServer;
using test::txt_data;
using testing::ElementsAre;

class DnsClient : public testing::Test {
 protected:
  NameServer server_;
  std::atomic<bool> stopping_{false};
  Client client_{{server_.address()}, &stopping_};
};

TEST_F(DnsClient, TxtRecordsWithTheirPartsAndTheSmallestTtl) {
  const std::string two_parts = std::string(255, 'a') + "b";
  server_.set("db.example.com", kTxt, {{kTxt, txt_data("p:r:i"), 60}, {kTxt, txt_data(two_parts), 30}});
  const auto found = client_.txt("db.example.com");
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_THAT(found->values, ElementsAre("p:r:i", two_parts));
  EXPECT_EQ(found->ttl, seconds(30));
}

TEST_F(DnsClient, AnAliasThatTheServerFollowsCountsForTheTtl) {
  server_.set(
      "db.example.com", kTxt,
      {{kCname, test::dns_name("real.example.com"), 7}, {kTxt, txt_data("p:r:i"), 60, "real.example.com"}});
  const auto found = client_.txt("db.example.com");
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_THAT(found->values, ElementsAre("p:r:i"));
  EXPECT_EQ(found->ttl, seconds(7));
}

TEST_F(DnsClient, AnswersTooLongForADatagramComeOverTcp) {
  std::vector<DnsRecord> many;
  for (int i = 0; i < 40; ++i) many.push_back({kTxt, txt_data("value number " + std::to_string(i))});
  server_.set("db.example.com", kTxt, many);
  const auto found = client_.txt("db.example.com");
  ASSERT_TRUE(found) << found.error().what;
  EXPECT_EQ(found->values.size(), 40U);
  EXPECT_GE(server_.over_tcp(), 1);
}

TEST_F(DnsClient, AnAliasIsOneStep) {
  server_.set("a.example.com", kCname, {{kCname, test::dns_name("b.example.com")}});
  server_.set("b.example.com", kCname, {{kCname, test::dns_name("c.example.com")}});
  EXPECT_EQ(client_.cname("a.example.com").value(), "b.example.com");
  server_.set("d.example.com", kTxt, {{kTxt, txt_data("x")}});
  EXPECT_EQ(client_.cname("d.example.com").error().reason, "no_record");
}

TEST_F(DnsClient, Addresses) {
  server_.set("db.example.com", kA, {{kA, {127, 0, 0, 9}}, {kA, {127, 0, 0, 8}}});
  server_.set("db.example.com", kAaaa, {});
  const auto found = client_.addresses("db.example.com", 3307);
  ASSERT_TRUE(found) << found.error().what;
  ASSERT_EQ(found->size(), 2U);
  EXPECT_EQ((*found)[0].port(), 3307);
  EXPECT_EQ(client_.addresses("other.example.com", 1).error().reason, "no_record");
}

TEST_F(DnsClient, NoSuchNameAndNoUsableAnswerAreToldApart) {
  EXPECT_EQ(client_.txt("nothing.example.com").error().reason, "no_record");
  server_.set("db.example.com", kA, {{kA, {127, 0, 0, 9}}});
  EXPECT_EQ(client_.txt("db.example.com").error().reason, "no_record") << "a name without such a record";
  server_.be(NameServer::Mood::Broken);
  EXPECT_EQ(client_.txt("db.example.com").error().reason, "dns");
  EXPECT_EQ(client_.txt("not a name").error().reason, "dns");
  EXPECT_EQ(Client({"nonsense"}).txt("db.example.com").error().reason, "dns");
}

TEST_F(DnsClient, StoppingEndsALookupThatNobodyAnswers) {
  server_.be(NameServer::Mood::Silent);
  auto answer = std::async(std::launch::async, [this] { return client_.txt("db.example.com"); });
  while (server_.questions() == 0) std::this_thread::yield();
  stopping_ = true;
  EXPECT_EQ(answer.get().error().reason, "stopped");
}

// Every prefix of a good answer, and every single byte of it changed: an error or an answer, never more.
TEST(DnsMessage, HostileAnswers) {
  test::Wire question(12, 0);
  for (const auto byte : test::dns_name("db.example.com")) question.push_back(byte);
  test::put16(question, kTxt);
  test::put16(question, 1);
  const auto good = test::dns_message(question, {{kCname, test::dns_name("x.example.com"), 5},
                                                 {kTxt, txt_data("p:r:i"), 9, "x.example.com"}});
  ASSERT_TRUE(read_txt(good));
  EXPECT_EQ(read_txt(good)->ttl, seconds(5));
  EXPECT_EQ(read_cname(good).value(), "x.example.com");
  for (std::size_t n = 0; n < good.size(); ++n) {
    const test::Wire part(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_FALSE(read_txt(part)) << n;
    static_cast<void>(read_cname(part));
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const int value : {0, 1, 12, 63, 64, 127, 128, 192, 255}) {
      auto bad = good;
      bad[at] = static_cast<std::uint8_t>(value);
      static_cast<void>(read_txt(bad));
      static_cast<void>(read_cname(bad));
    }
  }
  EXPECT_FALSE(read_txt({}));
}

TEST(DnsMessage, ATtlAboveThirtyOneBitsIsZero) {
  test::Wire question(12, 0);
  for (const auto byte : test::dns_name("a.b")) question.push_back(byte);
  test::put16(question, kTxt);
  test::put16(question, 1);
  EXPECT_EQ(read_txt(test::dns_message(question, {{kTxt, txt_data("v"), 0x80000000}}))->ttl, seconds(0));
}

}  // namespace
}  // namespace sidepool::dns
