// tests/unit/upstream/connector_test.cpp -- logging in to servers, against a scripted peer that plays every
// bad part.
#include "src/upstream/connector.h"

#include "tests/unit/upstream/connector_fixture.h"

namespace sidepool::upstream {
namespace {

TEST_F(ConnectorTest, LogsInWithoutAPassword) {
  std::string startup;
  {
    ScriptedServer server({[&](Peer& p) {
      startup = p.read_startup();
      p.send(welcome());
      p.wait_for_end();
    }});
    connect(route({server.endpoint()}));
    ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
    Ready& r = *watcher_.ready;
    EXPECT_EQ(r.login->state(), LoginMachine::State::Ready);
    EXPECT_EQ(r.login->backend_pid(), 4711u);
    EXPECT_EQ(r.login->parameters().size(), 2u);
    EXPECT_TRUE(r.rest.empty());
    EXPECT_TRUE(r.connection.stream.open());
    EXPECT_TRUE(r.connection.may_send_cleartext);  // loopback
    EXPECT_EQ(r.connection.endpoint.port, server.endpoint().port);
    EXPECT_EQ(r.connection.endpoint.address, "127.0.0.1");
    EXPECT_GT(r.connection.timings.connect, 0u);
    EXPECT_GT(r.connection.timings.login, 0u);
    EXPECT_EQ(r.connection.timings.tls, 0u);
    r.connection.stream.close();
  }
  EXPECT_NE(startup.find("user\0app"), std::string::npos);
}

TEST_F(ConnectorTest, OneByteAtATimeIsAsGood) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.trickle(welcome());
    p.wait_for_end();
  }});
  connect(route({server.endpoint()}));
  ASSERT_TRUE(watcher_.ready);
  EXPECT_EQ(watcher_.ready->login->parameters().size(), 2u);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, BytesBehindTheFirstReadyForQueryAreHandedOver) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    Buffer b = welcome();
    const auto size = b.size();
    protocol::parameter_status(b, "TimeZone", "CET");
    p.send(b);
    EXPECT_GT(b.size(), size);
    p.wait_for_end();
  }});
  connect(route({server.endpoint()}));
  ASSERT_TRUE(watcher_.ready);
  Buffer expected;
  protocol::parameter_status(expected, "TimeZone", "CET");
  EXPECT_EQ(watcher_.ready->rest, expected);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, TheServersErrorIsKeptAsItIs) {
  Buffer error;
  protocol::error_response(
      error, {.severity = "FATAL", .code = "53300", .message = "sorry, too many clients already"});
  // Said before our startup packet is read, and closed with that unread: the reset must not hide the error.
  ScriptedServer server({[&](Peer& p) { p.send(error); }});
  connect(route({server.endpoint()}));
  const Failure& f = failed(Phase::Login, "server");
  EXPECT_EQ(f.error.what, "sorry, too many clients already");
  EXPECT_EQ(f.server_error, Buffer(error.begin() + 5, error.end()));
  EXPECT_GT(f.timings.connect, 0u);
}

TEST_F(ConnectorTest, APasswordCanBeGivenAtOnce) {
  std::string got;
  {
    ScriptedServer server({[&](Peer& p) {
      p.read_startup();
      Buffer b;
      protocol::authentication_cleartext(b);
      p.send(b);
      got = p.read_message();
      p.send(welcome());
      p.wait_for_end();
    }});
    watcher_.on_ask = [](Connector& c) {
      EXPECT_EQ(c.login().auth_method(), protocol::AuthMethod::Cleartext);
      EXPECT_TRUE(c.connection().may_send_cleartext);
      EXPECT_TRUE(c.login().answer_password("s3cret"));
      c.resume();
    };
    connect(route({server.endpoint()}));
    EXPECT_TRUE(watcher_.ready);
    EXPECT_EQ(watcher_.asked, 1);
    watcher_.ready.reset();
  }
  Buffer expected;
  protocol::password_message(expected, "s3cret");
  EXPECT_EQ(got, protocol::as_text(expected));
}

TEST_F(ConnectorTest, TheDeadlineStandsStillWhileAPersonTypes) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.read_message();
    p.send(welcome());
    p.wait_for_end();
  }});
  const auto timeout = std::chrono::seconds(3);
  connector_.start(route({server.endpoint()}), login(), loop_->now() + timeout);
  run_until(*loop_, [&] { return watcher_.asked == 1; });
  struct Typist {
    TimerNode timer{[](TimerNode& n) noexcept { owner_of<&Typist::timer>(n).done = true; }};
    bool done = false;
  } typist;
  loop_->arm_after(typist.timer, timeout + std::chrono::milliseconds(100));
  run_until(*loop_, [&] { return typist.done; });
  EXPECT_FALSE(watcher_.over());
  connector_.resume();  // without an answer: nothing
  EXPECT_TRUE(connector_.login().answer_password("x"));
  connector_.resume();
  run_until(*loop_, [&] { return watcher_.over(); });
  ASSERT_TRUE(watcher_.ready) << watcher_.failure->error.what;
  EXPECT_LT(watcher_.ready->connection.timings.login, 3000000u);  // not the typing
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, ARefusalToAnswerEndsIt) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.wait_for_end();
  }});
  watcher_.on_ask = [](Connector& c) {
    c.login().refuse_password();
    c.resume();
  };
  connect(route({server.endpoint()}));
  failed(Phase::Login, "no_password");
}

TEST_F(ConnectorTest, AServerThatLosesPatienceWhileThePasswordIsAwaited) {
  ScriptedServer server({[&](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
  }});
  connect(route({server.endpoint()}));
  EXPECT_EQ(watcher_.asked, 1);
  failed(Phase::Login, "closed");
}

TEST_F(ConnectorTest, RefusedAddressesAreFollowedByTheNext) {
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }});
  io::Fd bound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // bound, not listening: refuses
  const auto any = *io::SocketAddress::from_ip("127.0.0.1", 0);
  ASSERT_EQ(::bind(bound.get(), any.raw(), any.size()), 0);
  sockaddr_storage s{};
  socklen_t size = sizeof s;
  ::getsockname(bound.get(), reinterpret_cast<sockaddr*>(&s), &size);
  const auto port = io::SocketAddress::from_raw(reinterpret_cast<sockaddr*>(&s), size).port();
  connect(route({{"127.0.0.1", port}, {"/nonexistent", 5432}, server.endpoint()}));
  EXPECT_TRUE(watcher_.ready);
  watcher_.ready.reset();

  watcher_.failure.reset();
  connect(route({{"127.0.0.1", port}}));
  EXPECT_NE(failed(Phase::Connect, "refused").error.what.find(std::to_string(port)), std::string::npos);

  watcher_.failure.reset();
  connect(route({}));
  failed(Phase::Resolve, "config");
}

TEST_F(ConnectorTest, ABlackHoleDoesNotStarveTheAddressBehindIt) {
  BlackHole hole;
  ScriptedServer server({[](Peer& p) {
    p.read_startup();
    p.send(welcome());
    p.wait_for_end();
  }});
  Route r = route({{"127.0.0.1", hole.address.port()}, server.endpoint()});
  r.address_timeout = std::chrono::milliseconds(500);
  connect(std::move(r));
  EXPECT_TRUE(watcher_.ready);
  watcher_.ready.reset();
}

TEST_F(ConnectorTest, NobodyAnswersBeforeTheDeadline) {
  BlackHole hole;
  connect(route({{"127.0.0.1", hole.address.port()}}), std::chrono::milliseconds(50));
  failed(Phase::Connect, "timeout");
}

TEST_F(ConnectorTest, AServerThatSaysNothingMeetsTheDeadlineInItsPhase) {
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.wait_for_end(); },
                         [](Peer& p) { p.read(8), p.wait_for_end(); },
                         [](Peer& p) { p.read(8), p.send("S"), p.wait_for_end(), p.read(10000); }});
  connect(route({server.endpoint()}), std::chrono::milliseconds(500));
  failed(Phase::Login, "timeout");
  for (int i = 0; i < 2; ++i) {
    watcher_.failure.reset();
    connect(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)), std::chrono::milliseconds(500));
    failed(Phase::Tls, "timeout");
  }
}

TEST_F(ConnectorTest, ResetsAndClosesAreFailures) {
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.reset(); }, [](Peer& p) { p.read_startup(); },
                         [](Peer& p) { p.reset(); },
                         [](Peer& p) {
                           p.read_startup();
                           Buffer b = welcome();
                           b.resize(b.size() / 2);
                           p.send(b);
                         }});
  for (int i = 0; i < 4; ++i) {
    watcher_.failure.reset();
    connect(route({server.endpoint()}));
    ASSERT_TRUE(watcher_.failure);
    // The third may already show while the connection is made.
    if (i != 2) failed(Phase::Login, "closed");
  }
}

TEST_F(ConnectorTest, GarbageInTheLoginIsAProtocolError) {
  ScriptedServer server(
      {[](Peer& p) { p.read_startup(), p.send("HTTP/1.1 400 Bad Request\r\n\r\n"), p.wait_for_end(); }});
  connect(route({server.endpoint()}));
  failed(Phase::Login, "protocol");
}

TEST_F(ConnectorTest, MayBeDestroyedInEveryCallback) {
  const auto ask = [](Peer& p) {
    p.read_startup();
    Buffer b;
    protocol::authentication_cleartext(b);
    p.send(b);
    p.wait_for_end();
  };
  ScriptedServer server({[](Peer& p) { p.read_startup(), p.send(welcome()), p.wait_for_end(); }, ask,
                         [](Peer& p) { p.read_startup(), p.reset(); }});
  for (int i = 0; i < 3; ++i) {
    Watcher w;
    auto connector = std::make_unique<Connector>(*loop_, resolver_, w);
    w.destroy = &connector;
    connector->start(route({server.endpoint()}), login(), loop_->now() + std::chrono::seconds(20));
    run_until(*loop_, [&] { return connector == nullptr; });
    EXPECT_TRUE(w.over() || w.asked == 1);
  }
}

TEST_F(ConnectorTest, MayBeGivenUpInEveryState) {
  std::vector<ScriptedServer::Script> scripts;
  for (int i = 0; i < 12; ++i)
    scripts.push_back([&](Peer& p) {
      if (p.read(8).size() < 8) return;
      p.send("S");
      if (!p.accept_tls(server_ctx_.get())) return;
      p.read_startup();
      Buffer b;
      protocol::authentication_cleartext(b);
      p.send(b);
      p.wait_for_end();
    });
  ScriptedServer server(std::move(scripts));
  for (int turns = 0; turns < 12; ++turns) {
    connector_.start(route({server.endpoint()}, tls(TlsUse::Required, client_ctx_)), login(),
                     loop_->now() + std::chrono::seconds(20));
    for (int i = 0; i < turns && watcher_.asked == 0; ++i) loop_->turn(i > 0);
    connector_.cancel();
    EXPECT_FALSE(connector_.active());
    EXPECT_FALSE(watcher_.over());
    watcher_.asked = 0;
  }
}

}  // namespace
}  // namespace sidepool::upstream
