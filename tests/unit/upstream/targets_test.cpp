// tests/unit/upstream/targets_test.cpp -- several addresses, names without any, and the way through a proxy.
#include <netdb.h>

#include "tests/unit/upstream/connector_fixture.h"

namespace sidepool::upstream {
namespace {

class TargetsTest : public ConnectorTest {
 protected:
  static void serve(Peer& p) {
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }
  // A port that refuses.
  static std::uint16_t closed_port() {
    const ScriptedServer gone({});
    return gone.endpoint().port;
  }
  void expect_ready() {
    ASSERT_TRUE(watcher_.ready) << (watcher_.failure ? watcher_.failure->error.what : "nothing");
    watcher_.ready.reset();
  }
};

TEST_F(TargetsTest, DeadAddressesGetTheirShareOfTheTimeAndNoMore) {
  std::vector<std::unique_ptr<BlackHole>> holes;
  ScriptedServer server({&serve});
  std::vector<Endpoint> all;
  for (int i = 0; i < 4; ++i) {
    holes.push_back(std::make_unique<BlackHole>());
    all.push_back({"127.0.0.1", holes.back()->address.port()});
  }
  all.push_back(server.endpoint());
  connect(route(all), std::chrono::milliseconds(2500));  // each hole alone could have 5 s
  expect_ready();
}

TEST_F(TargetsTest, TheErrorNamesEveryAddressAndWhatItIs) {
  BlackHole hole;
  Route r = route({{"127.0.0.1", hole.address.port()}, {"127.0.0.1", closed_port()}});
  r.kind = "private IP of p:r:i";
  const auto closed = r.endpoints[1].text();
  connect(std::move(r), std::chrono::milliseconds(400));
  const auto& what = failed(Phase::Connect, "refused").error.what;
  EXPECT_EQ(what, "cannot connect to " + hole.address.text() + " (private IP of p:r:i): no answer in time; " +
                      "cannot connect to " + closed + " (private IP of p:r:i): Connection refused");
}

TEST_F(TargetsTest, TheTextStaysBounded) {
  std::vector<Endpoint> all(60, {"127.0.0.1", closed_port()});
  connect(route(all));
  const auto& what = failed(Phase::Connect, "refused").error.what;
  EXPECT_LT(what.size(), 800U);
  EXPECT_NE(what.find("addresses before it)"), std::string::npos) << what;
}

int names(const std::string& host, std::uint16_t port, Addresses& found) {
  if (host == "none.example") return EAI_NONAME;
  if (host == "dead.example") {
    found.push_back(*io::SocketAddress::from_ip("127.0.0.1", 1));  // tcpmux: nobody listens
    return 0;
  }
  found.push_back(*io::SocketAddress::from_ip("127.0.0.1", port));
  return 0;
}

class NamedTargetsTest : public TargetsTest {
 protected:
  Resolver names_{1, &names};
  Connector named_{*loop_, names_, watcher_};
  void connect_named(Route r) {
    named_.start(std::move(r), login(), loop_->now() + std::chrono::seconds(20));
    run_until(*loop_, [&] { return watcher_.over(); });
  }
};

TEST_F(NamedTargetsTest, ANameWithoutAddressesGivesWayToTheOthers) {
  ScriptedServer server({&serve});
  Route r = route({{"none.example", server.endpoint().port}});
  r.otherwise = {server.endpoint()};
  connect_named(std::move(r));
  expect_ready();
}

TEST_F(NamedTargetsTest, AddressesOfTheNameThatDoNotAnswerAreTheEnd) {
  ScriptedServer server({});
  Route r = route({{"dead.example", 1}});
  r.otherwise = {server.endpoint()};
  connect_named(std::move(r));
  failed(Phase::Connect, "refused");
}

std::shared_ptr<const SocksProxy> proxy_at(const Endpoint& e, const std::string& login = "",
                                           const std::string& no_proxy = "") {
  return *SocksProxy::parse("socks5://" + login + e.text(), no_proxy);
}

// A proxy that is the target itself once it has agreed.
struct Agreeing {
  std::string* target;
  void operator()(Peer& p) const {
    p.read(3);
    p.send(std::string_view{"\5\0", 2});
    *target = p.read(4);
    *target += p.read(static_cast<std::uint8_t>((*target)[3]) == 1 ? 6 : 0);
    if ((*target)[3] == 3) {
      const std::string size = p.read(1);
      *target += p.read(static_cast<std::uint8_t>(size[0]) + std::size_t{2});
    }
    p.send(std::string_view{"\5\0\0\1\0\0\0\0\0\0", 10});
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }
};

TEST_F(NamedTargetsTest, ThroughAProxyByAddressOrByName) {
  std::string target;
  ScriptedServer proxy({Agreeing{&target}, Agreeing{&target}});
  Route r = route({{"10.1.2.3", 3307}});
  r.proxy = proxy_at(proxy.endpoint());
  connect_named(r);
  ASSERT_TRUE(watcher_.ready);
  EXPECT_FALSE(watcher_.ready->connection.may_send_cleartext) << "only the proxy is near";
  EXPECT_EQ(watcher_.ready->connection.endpoint, (Endpoint{"10.1.2.3", 3307}))
      << "a cancel goes the same way";
  watcher_.ready.reset();
  EXPECT_EQ(target, (std::string{"\5\1\0\1\12\1\2\3\x0c\xeb", 10}));

  r.endpoints = {{"none.example", 3307}};  // whatever it is, the proxy has to know
  connect_named(r);
  expect_ready();
  EXPECT_EQ(target.substr(0, 16), (std::string{"\5\1\0\3none.example", 16}));
}

TEST_F(NamedTargetsTest, AnInstancesOwnNameIsLookedUpHereAndItsAddressGoesToTheProxy) {
  std::string target;
  ScriptedServer proxy({Agreeing{&target}, Agreeing{&target}});
  Route r = route({{"db.example", 3307}});
  r.otherwise = {{"10.1.2.3", 3307}};
  r.proxy = proxy_at(proxy.endpoint());
  connect_named(r);
  expect_ready();
  EXPECT_EQ(target, (std::string{"\5\1\0\1\x7f\0\0\1\x0c\xeb", 10}));
  r.endpoints = {{"none.example", 3307}};
  connect_named(r);
  expect_ready();
  EXPECT_EQ(target, (std::string{"\5\1\0\1\12\1\2\3\x0c\xeb", 10}));
}

TEST_F(NamedTargetsTest, NoProxyMeansDirect) {
  ScriptedServer server({&serve, &serve});
  Route r = route({server.endpoint()});
  r.proxy = proxy_at({"127.0.0.1", closed_port()}, "", "127.0.0.0/8,db.example");
  connect_named(r);
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_TRUE(watcher_.ready->connection.may_send_cleartext);
  watcher_.ready.reset();
  r.endpoints = {{"db.example", server.endpoint().port}};
  connect_named(r);
  expect_ready();
}

TEST_F(TargetsTest, WhatTheProxySaysIsTheErrorAndTheNextAddressIsTried) {
  std::string target;
  ScriptedServer proxy({[](Peer& p) {
                          p.read(3);
                          p.send(std::string_view{"\5\0", 2});
                          p.read(10);
                          p.send(std::string_view{"\5\4\0\1\0\0\0\0\0\0", 10});
                          p.wait_for_end();
                        },
                        Agreeing{&target}, [](Peer& p) { p.read(3); }});
  Route r = route({{"10.1.2.3", 3307}, {"10.1.2.4", 3307}});
  r.proxy = proxy_at(proxy.endpoint());
  connect(r);
  expect_ready();
  r.endpoints = {{"10.1.2.3", 3307}};
  r.kind = "public IP of p:r:i";
  connect(r);
  EXPECT_EQ(failed(Phase::Connect, "proxy").error.what,
            "cannot connect to 10.1.2.3:3307 (public IP of p:r:i) through the proxy " +
                proxy.endpoint().text() + ": the proxy closed the connection");
}

TEST_F(TargetsTest, AProxyThatSaysNothingMeetsTheDeadline) {
  ScriptedServer proxy({[](Peer& p) { p.read(3), p.wait_for_end(); }});
  Route r = route({{"10.1.2.3", 3307}});
  r.proxy = proxy_at(proxy.endpoint());
  connect(std::move(r), std::chrono::milliseconds(300));
  failed(Phase::Connect, "timeout");
}

TEST_F(TargetsTest, TheServersTlsBeginsBehindTheProxysAnswer) {
  ScriptedServer proxy({[this](Peer& p) {
    p.read(4);
    p.send(std::string_view{"\5\2", 2});
    EXPECT_EQ(p.read(7), (std::string{"\1\1u\3p:w", 7}));
    p.send(std::string_view{"\1\0", 2});
    p.read(10);
    p.send(std::string_view{"\5\0\0\1\0\0\0\0\0\0", 10});
    ASSERT_TRUE(p.accept_tls(server_ctx_.get()));
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }});
  Route r = route({{"10.1.2.3", 3307}}, tls(TlsUse::Direct, client_ctx_));
  r.proxy = proxy_at(proxy.endpoint(), "u:p%3aw@");
  connect(std::move(r));
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_TRUE(watcher_.ready->connection.may_send_cleartext) << "the server has shown who it is";
  watcher_.ready.reset();
}

}  // namespace
}  // namespace sidepool::upstream
