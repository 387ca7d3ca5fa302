// DNS names that stand for instances: which are names, what they lead to, and when an answer counts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "src/cloudsql/name_lookup.h"
#include "src/cloudsql/name_poll.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(DomainName, Table) {
  const std::string longest(63, 'a');
  for (const std::string& name : {std::string{"db.example.com"}, std::string{"db.example.com."},
                                  std::string{"a.b"}, std::string{"_x._y.z1"}, std::string{"1.2.c"},
                                  std::string{"a-b.c-d"}, std::string{"a."}, longest + ".com"})
    EXPECT_TRUE(is_domain_name(name)) << name;
  for (const std::string& name :
       {std::string{""}, std::string{"."}, std::string{"localhost"}, std::string{"DB.example.com"},
        std::string{"db.Example.com"}, std::string{"-a.com"}, std::string{"a-.com"}, std::string{"a_.com"},
        std::string{"a..com"}, std::string{"db.1com"}, std::string{"db._com"}, std::string{"127.0.0.1"},
        std::string{"db.example.com.."}, std::string{"db example.com"}, longest + "a.com",
        longest + "." + longest + "." + longest + "." + longest + ".com", std::string{"a\0b.com", 7}})
    EXPECT_FALSE(is_domain_name(name)) << name;
}

TEST(GoogleNames, InstanceProjectRegion) {
  for (const char* suffix : {"sql.goog", "sql-psa.goog", "sql-psc.goog"}) {
    const auto name = google_name("abc123.proj-1.us-central1." + std::string{suffix});
    ASSERT_TRUE(name) << suffix;
    EXPECT_EQ(name->region, "us-central1");
    EXPECT_EQ(name->name, "abc123.proj-1.us-central1." + std::string{suffix} + ".");
  }
  EXPECT_TRUE(google_name("a.b.c.sql.goog."));
  for (const char* other : {"a.b.sql.goog", "a.b.c.d.sql.goog", "a.b.global.sql-psc.goog", "a.b.c.sql-x.goog",
                            "a.b.c.sql.goog.evil.com", "a_.b.c.sql.goog", "_a.b.c.sql.goog", "sql.goog"})
    EXPECT_FALSE(google_name(other)) << other;
}

// A zone in memory.
struct Zone {
  std::map<std::string, std::vector<std::string>> txt;
  std::map<std::string, std::string> cname;
  bool dead = false;

  DnsLookups lookups() {
    const auto missing = fail(Errc::Io, "no such record", 0, "no_record");
    const auto nobody = fail(Errc::Timeout, "Timeout while contacting DNS servers", 0, "dns");
    return {[=, this](const std::string& name) -> Result<dns::Texts> {
              if (dead) return nobody;
              const auto at = txt.find(name);
              if (at == txt.end()) return missing;
              return dns::Texts{at->second, 20s};
            },
            [=, this](const std::string& name) -> Result<std::string> {
              if (dead) return nobody;
              const auto at = cname.find(name);
              if (at == cname.end()) return missing;
              return at->second;
            }};
  }
};

TEST(NameLookup, TheFirstValueInOrderThatIsAnInstance) {
  Zone zone;
  zone.txt["db.example.com"] = {"v=spf1 -all", "zz:r:last", "google.com:p:r:i", "p:r:i ", "a:b:c:d:e"};
  const auto answer = look_up("db.example.com", zone.lookups());
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->text(), "google.com:p:r:i");
  EXPECT_EQ(answer->host, "db.example.com");
  EXPECT_EQ(answer->ttl, 20s);
}

TEST(NameLookup, AnInstanceAmongOtherWordsIsNone) {
  Zone zone;
  zone.txt["db.example.com"] = {"instance=p:r:i db"};
  const auto answer = look_up("db.example.com", zone.lookups());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "name");
  EXPECT_EQ(answer.error().code, Errc::Config);
  EXPECT_THAT(answer.error().what,
              HasSubstr("unable to parse TXT for \"db.example.com\" -> \"instance=p:r:i db\" : "));
}

TEST(NameLookup, AliasesAreFollowedAndTheLastNameCounts) {
  Zone zone;
  zone.cname = {{"a.example.com", "B.example.com."}, {"b.example.com", "c.example.com"}};
  zone.txt["c.example.com"] = {"p:r:i"};
  const auto answer = look_up("a.example.com", zone.lookups());
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->text(), "p:r:i");
  EXPECT_EQ(answer->host, "c.example.com");
}

TEST(NameLookup, AnAliasOfOneOfGooglesNames) {
  Zone zone;
  zone.cname["db.example.com"] = "abc.proj.us-central1.sql-psc.goog.";
  const auto answer = look_up("db.example.com", zone.lookups());
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_EQ(answer->text(), "abc.proj.us-central1.sql-psc.goog.");
  EXPECT_EQ(answer->host, "db.example.com");
  zone.dead = true;
  EXPECT_TRUE(look_up("abc.proj.us-central1.sql.goog", zone.lookups())) << "needs no DNS";
}

TEST(NameLookup, WhatTheRecordsSayIsToldFromWhatNobodySaid) {
  Zone zone;
  auto answer = look_up("db.example.com", zone.lookups());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "name");
  EXPECT_EQ(
      answer.error().what,
      "no DNS record found for \"db.example.com\", lookup of \"db.example.com\". Lookup TXT error: unable to "
      "resolve TXT record for \"db.example.com\": no such record Lookup CNAME record not found");
  zone.dead = true;
  answer = look_up("db.example.com", zone.lookups());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "dns");
}

TEST(NameLookup, ALoopOfAliasesEnds) {
  Zone zone;
  zone.cname = {{"a.example.com", "b.example.com"}, {"b.example.com", "a.example.com"}};
  EXPECT_THAT(look_up("a.example.com", zone.lookups()).error().what,
              HasSubstr("cname lookup limit exceeded (max 10)"));
  zone.cname = {{"a.example.com", "a.example.com."}};
  EXPECT_THAT(look_up("a.example.com", zone.lookups()).error().what, HasSubstr("record not found"));
  zone.cname = {{"a.example.com", "not a name"}};
  EXPECT_THAT(look_up("a.example.com", zone.lookups()).error().what,
              HasSubstr("invalid format for CNAME record"));
}

NameAnswer stands_for(const std::string& instance, std::chrono::seconds ttl = 60s) {
  return {*InstanceName::parse(instance), "db.example.com", ttl};
}

TEST(NamePoll, AsksWhenTheTtlIsOverWithinBounds) {
  EXPECT_EQ(NamePoll(stands_for("p:r:a", 60s), 1s).due(), 31s);
  EXPECT_EQ(NamePoll(stands_for("p:r:a", 12s), 1s).due(), 13s);
  EXPECT_EQ(NamePoll(stands_for("p:r:a", 0s), 1s).due(), 6s);
}

TEST(NamePoll, TwoLookupsInARowMoveIt) {
  NamePoll poll(stands_for("p:r:a"), 0s);
  EXPECT_FALSE(poll.answered(stands_for("p:r:b"), 30s));
  EXPECT_EQ(poll.due(), 35s) << "asked again soon";
  const auto moved = poll.answered(stands_for("p:r:b"), 35s);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->text(), "p:r:b");
  EXPECT_EQ(poll.due(), 65s);
  EXPECT_FALSE(poll.answered(stands_for("p:r:b"), 65s)) << "told once";
}

TEST(NamePoll, AnAnswerThatIsTakenBackMovesNothing) {
  NamePoll poll(stands_for("p:r:a"), 0s);
  EXPECT_FALSE(poll.answered(stands_for("p:r:b"), 30s));
  EXPECT_FALSE(poll.answered(stands_for("p:r:a"), 35s));
  EXPECT_FALSE(poll.answered(stands_for("p:r:b"), 65s));
  EXPECT_FALSE(poll.answered(stands_for("p:r:c"), 70s));
  EXPECT_TRUE(poll.answered(stands_for("p:r:c"), 75s));
}

TEST(NamePoll, AFailedLookupChangesNothing) {
  NamePoll poll(stands_for("p:r:a"), 0s);
  poll.failed(30s);
  EXPECT_EQ(poll.due(), 60s);
  EXPECT_FALSE(poll.answered(stands_for("p:r:b"), 60s));
  poll.failed(65s);
  EXPECT_EQ(poll.due(), 70s) << "the other answer is still to be confirmed";
  EXPECT_TRUE(poll.answered(stands_for("p:r:b"), 70s));
}

TEST(NamePoll, AnotherNameForTheCertificateIsAChange) {
  NamePoll poll(stands_for("p:r:a"), 0s);
  auto other = stands_for("p:r:a");
  other.host = "other.example.com";
  EXPECT_FALSE(poll.answered(other, 30s));
  EXPECT_TRUE(poll.answered(other, 35s));
}

}  // namespace
}  // namespace sidepool::cloudsql
