// tests/unit/conf/address_test.cpp -- addresses and instance names as text.
#include "conf/address.h"

#include <gtest/gtest.h>

#include <string>

namespace sidepool::conf {
namespace {

TEST(Address, KnowsIpLiterals) {
  for (const char* ip : {"127.0.0.1", "0.0.0.0", "255.255.255.255"}) EXPECT_TRUE(is_ipv4(ip)) << ip;
  for (const char* ip :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.", ".1.2.3", "a.b.c.d", "1.2.3.4 "}) {
    EXPECT_FALSE(is_ipv4(ip)) << ip;
  }
  for (const char* ip : {"::", "::1", "1::", "fe80::1", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1",
                         "1:2:3:4:5:6:1.2.3.4", "1::8", "2001:DB8::a"}) {
    EXPECT_TRUE(is_ipv6(ip)) << ip;
  }
  for (const char* ip :
       {"", ":", ":::", "1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
        "12345::", "g::", "1:2:3:4:5:6:7:", "::1.2.3", "::1.2.3.4:5", "fe80::1%eth0", "1:2:3:4:5:6:7::8"}) {
    EXPECT_FALSE(is_ipv6(ip)) << ip;
  }
}

TEST(Address, KnowsWhatOnlyThisMachineReaches) {
  for (const char* ip : {"127.0.0.1", "127.9.9.9", "::1", "0:0:0:0:0:0:0:1", "::0001"}) {
    EXPECT_TRUE(is_loopback({ip, 1, {}})) << ip;
  }
  for (const char* ip :
       {"0.0.0.0", "10.0.0.1", "::", "1::1", "::11", "::1:1", "::ffff:127.0.0.1", "fe80::1"}) {
    EXPECT_FALSE(is_loopback({ip, 1, {}})) << ip;
  }
  EXPECT_TRUE(is_loopback({"", 0, "/tmp/.s.PGSQL.5432"}));
}

TEST(Address, SocketsOverlapByFamilyAndPort) {
  const Address local{"127.0.0.1", 5432, {}};
  EXPECT_TRUE(overlap(local, local));
  EXPECT_TRUE(overlap(local, {"0.0.0.0", 5432, {}}));
  EXPECT_FALSE(overlap(local, {"::", 5432, {}}));
  EXPECT_FALSE(overlap(local, {"127.0.0.1", 5433, {}}));
  EXPECT_FALSE(overlap({"127.0.0.1", 0, {}}, {"127.0.0.1", 0, {}})) << "two free ports differ";
  EXPECT_TRUE(overlap({"", 0, "/a"}, {"", 0, "/a"}));
  EXPECT_FALSE(overlap({"", 0, "/a"}, local));
}

TEST(Address, ReadsListeners) {
  const auto good = [](std::string_view text) { return std::get<Address>(parse_address(text, true)); };
  EXPECT_EQ(good("127.0.0.1:5432"), (Address{"127.0.0.1", 5432, {}}));
  EXPECT_EQ(good("[::1]:0"), (Address{"::1", 0, {}}));
  EXPECT_EQ(good("localhost:80"), (Address{"127.0.0.1", 80, {}}));
  EXPECT_EQ(good("unix:/cloudsql"), (Address{"", 0, "/cloudsql"}));
  for (const char* bad :
       {"", "5432", ":5432", "*:5432", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:5432", "[::1]",
        "[::1]5432", "[127.0.0.1]:1", "db:5432", "127.0.0.1:1:2", "unix:", "unix:x", "127.0.0.1:+1"}) {
    EXPECT_TRUE(std::holds_alternative<Refusal>(parse_address(bad, true))) << bad;
  }
  EXPECT_TRUE(std::holds_alternative<Refusal>(parse_address("unix:/x", false)));
}

TEST(Address, ReadsHosts) {
  const auto good = [](std::string_view text) { return std::get<Host>(parse_host(text)); };
  EXPECT_EQ(good("db.internal"), (Host{"db.internal", 5432, {}}));
  EXPECT_EQ(good("db:6000"), (Host{"db", 6000, {}}));
  EXPECT_EQ(good("fe80::1"), (Host{"fe80::1", 5432, {}}));
  EXPECT_EQ(good("[fe80::1]:1"), (Host{"fe80::1", 1, {}}));
  EXPECT_EQ(good("unix:/run/pg/"), (Host{"", 5432, "/run/pg/.s.PGSQL.5432"}));
  EXPECT_EQ(good("unix:/run/.s.PGSQL.6000"), (Host{"", 6000, "/run/.s.PGSQL.6000"}));
  for (const char* bad :
       {"", ":1", "db:0", "db:x", "a b", "db/x", "unix:relative", "db:1:2", "[db]:1", "unix"}) {
    EXPECT_TRUE(std::holds_alternative<Refusal>(parse_host(bad))) << bad;
  }
  EXPECT_TRUE(std::holds_alternative<Refusal>(parse_host("unix:/" + std::string(107, 'x'))));
}

TEST(Address, SocketFilesFollowLibpqAndTheAuthProxy) {
  EXPECT_EQ(socket_file("/cloudsql", "a:b:c"), "/cloudsql/a:b:c/.s.PGSQL.5432");
  EXPECT_EQ(socket_file("/cloudsql/", "a:b:c"), "/cloudsql/a:b:c/.s.PGSQL.5432");
  EXPECT_EQ(socket_file("/", ""), "/.s.PGSQL.5432");
  EXPECT_EQ(socket_file("/x/.s.PGSQL.1", "a:b:c"), "/x/.s.PGSQL.1");
  EXPECT_EQ(socket_file(socket_file("/x", "a:b:c"), "a:b:c"), socket_file("/x", "a:b:c"));
}

TEST(Address, KnowsTheNamesThatGoogleResolves) {
  EXPECT_TRUE(is_google_instance_name("abc.def.us-central1.sql-psa.goog"));
  EXPECT_FALSE(is_google_instance_name("abc.def.global.sql-psc.goog"));
  EXPECT_FALSE(is_google_instance_name("def.us-central1.sql.goog"));
  EXPECT_FALSE(is_google_instance_name("a.b.c.d.sql.goog"));
  EXPECT_FALSE(is_google_instance_name("sql.goog"));
  EXPECT_FALSE(is_google_instance_name(""));
}

TEST(Address, InstancesAreNames) {
  for (const char* good : {"p:r:i", "my-project:us-central1:my-postgres", "example.com:p:r:i", "p_1:r:i"}) {
    EXPECT_FALSE(refuse_instance(good)) << good;
  }
  for (const char* bad : {"", "p", "p:r", "p:r:", ":r:i", "p::i", "a:b:c:d:e", "p:r:i/x", "p:r:i ", "p.q:r:i",
                          "p:r:..", "a/b:p:r:i"}) {
    EXPECT_TRUE(refuse_instance(bad)) << bad;
  }
  for (const char* good : {"db.example.com", "db.example.com.", "_x.y_z.com", "i.p.us-central1.sql.goog",
                           "I.P.US-CENTRAL1.SQL-PSC.GOOG."}) {
    EXPECT_FALSE(refuse_instance(good)) << good;
  }
  for (const char* bad : {"DB.example.com", "db", "127.0.0.1", "a..b", ".", "..", "-a.com", "a-.com", "a.c_m",
                          "a.com/x", "I.P.global.sql-psc.goog", "A.sql.goog"}) {
    EXPECT_TRUE(refuse_instance(bad)) << bad;
  }
  EXPECT_TRUE(refuse_instance(std::string(64, 'a') + ".com"));
  EXPECT_FALSE(refuse_instance(std::string(63, 'a') + ".com"));
  EXPECT_EQ(
      refuse_instance("DB.example.com").value(),
      "\"DB.example.com\" is neither an instance connection name, PROJECT:REGION:INSTANCE, nor a DNS name "
      "in lower case that leads to one, such as db.example.com");
  EXPECT_TRUE(refuse_instance(std::string(300, 'p') + ":r:i"));
  EXPECT_EQ(
      refuse_instance("a:b").value(),
      "\"a:b\" is not an instance connection name: write PROJECT:REGION:INSTANCE, for example "
      "my-project:us-central1:my-postgres (gcloud sql instances describe NAME shows it as connectionName)");
}

TEST(NameServers, AnAddressAndPerhapsAPort) {
  for (const char* text : {"10.0.0.2", "10.0.0.2:5353", "2001:db8::2", "[2001:db8::2]:53"})
    EXPECT_TRUE(is_name_server(text)) << text;
  for (const char* text : {"", "ns.example.com", "10.0.0.2:", "10.0.0.2:0", "10.0.0.2:70000", "[10.0.0.2]:53",
                           "[2001:db8::2]", "10.0.0.2,10.0.0.3", "10.0.0"})
    EXPECT_FALSE(is_name_server(text)) << text;
}

}  // namespace
}  // namespace sidepool::conf
