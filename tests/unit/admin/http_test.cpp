// tests/unit/admin/http_test.cpp -- the two listeners over loopback, with clients that behave and that do
// not.
#include "src/admin/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <list>

#include "src/admin/routes.h"
#include "tests/unit/admin/http_client.h"

namespace sidepool::admin {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::unique_ptr<HttpServer> listen(Handler handler) {
  auto server = HttpServer::start("localhost", 0, std::move(handler));
  EXPECT_TRUE(server) << server.error().what;
  return server ? std::move(*server) : nullptr;
}

class Listeners : public testing::Test {
 protected:
  std::unique_ptr<HttpServer> pages(Pages which) {
    Health health;
    health.life = [this] { return life_.load(); };
    return listen(public_pages(which, health, registry_));
  }
  metrics::Registry registry_{1, {"1.2.3", "id", ""}};
  std::atomic<Life> life_{Life::Serving};
};

TEST_F(Listeners, HealthCheckOnly) {
  const auto server = pages({.health_check = true});
  for (const char* path : {"/startup", "/readiness", "/liveness", "/readiness?deep=1"}) {
    const Reply reply = ask(server->port(), "GET", path);
    EXPECT_EQ(reply.status, 200) << path;
    EXPECT_EQ(reply.body, "ok") << path;
    EXPECT_THAT(reply.head, HasSubstr("Content-Type: text/plain; charset=utf-8\r\n"));
  }
  EXPECT_EQ(ask(server->port(), "POST", "/readiness").status, 200) << "any method";
  EXPECT_EQ(ask(server->port(), "GET", "/metrics").status, 404);
  life_ = Life::Stopping;
  EXPECT_EQ(ask(server->port(), "GET", "/readiness").status, 503);
  EXPECT_EQ(ask(server->port(), "GET", "/readiness").body, "proxy has stopped");
}

TEST_F(Listeners, PrometheusOnly) {
  const auto server = pages({.prometheus = true});
  const Reply reply = ask(server->port(), "GET", "/metrics");
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.head, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(reply.head, HasSubstr("Content-Length: " + std::to_string(reply.body.size()) + "\r\n"));
  EXPECT_THAT(reply.body, HasSubstr("sidepool_build_info{version=\"1.2.3\"} 1\n"));
  EXPECT_EQ(ask(server->port(), "HEAD", "/metrics").body, "");
  EXPECT_EQ(ask(server->port(), "GET", "/readiness").status, 404);
}

TEST_F(Listeners, NothingOnThePublicListenerChangesStateOrServesFiles) {
  const auto server = pages({.health_check = true, .prometheus = true});
  for (const char* path :
       {"/quitquitquit", "/", "/..", "/etc/passwd", "/%2e%2e/etc/passwd", "//metrics/..//x", "/metrics/x",
        "/.htpasswd", "/liveness.cgi", "/debug/pprof/", "*"}) {
    for (const char* method :
         {"GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "HEAD", "CONNECT", "PATCH"}) {
      const Reply reply = ask(server->port(), method, path);
      EXPECT_TRUE(reply.status == 404 || reply.status == 0 || reply.status == 400 || reply.status == 405)
          << method << " " << path << ": " << reply.status;
      EXPECT_THAT(reply.body, Not(HasSubstr("root:")));
    }
  }
}

TEST_F(Listeners, NoPageOfABrowserMayRead) {
  const auto server = pages({.prometheus = true});
  for (const char* method : {"GET", "OPTIONS"}) {
    const std::string reply =
        send_and_read(server->port(), std::string(method) +
                                          " /metrics HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n"
                                          "Access-Control-Request-Method: GET\r\n\r\n");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 "));
    EXPECT_THAT(reply, Not(HasSubstr("Access-Control-Allow")));
  }
}

TEST(AdminListener, QuitsOnceByGetOrPost) {
  std::atomic<int> quits{0};
  const auto server = listen(admin_pages([&] { ++quits; }));
  for (const char* method : {"PUT", "DELETE", "HEAD", "PATCH"}) {
    const Reply reply = ask(server->port(), method, "/quitquitquit");
    EXPECT_EQ(reply.status, 400) << method;
    EXPECT_EQ(reply.body, "");
  }
  EXPECT_EQ(ask(server->port(), "GET", "/metrics").status, 404);
  EXPECT_EQ(ask(server->port(), "GET", "/").status, 404);
  for (const char* header : {"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"}) {
    const std::string reply =
        send_and_read(server->port(), std::string("POST /quitquitquit HTTP/1.1\r\nHost: localhost\r\n") +
                                          header + "\r\n\r\n");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 403 ")) << header;
  }
  EXPECT_EQ(quits, 0);
  for (const char* method : {"POST", "GET", "POST"}) {
    const Reply reply = ask(server->port(), method, "/quitquitquit");
    EXPECT_EQ(reply.status, 200) << method;
    EXPECT_EQ(reply.body, "");
    EXPECT_EQ(quits, 1);
  }
}

TEST(HttpServer, SaysWhyItCannotListen) {
  const auto first = listen([](const Request&) { return Answer{}; });
  const auto second = HttpServer::start("localhost", first->port(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().what, "failed to start HTTP server: listen tcp 127.0.0.1:" +
                                     std::to_string(first->port()) + ": Address already in use");
  const auto nowhere = HttpServer::start("192.0.2.1", 0, {});  // TEST-NET-1, RFC 5737
  ASSERT_FALSE(nowhere);
  EXPECT_THAT(nowhere.error().what, HasSubstr("Cannot assign requested address"));
  const auto name = HttpServer::start("example.com", 0, {});
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().what, "failed to start HTTP server: listen tcp example.com: not an IP address");
}

TEST(HttpServer, PortIsFreeAgainAfterStop) {
  auto server = listen([](const Request&) { return Answer{200, "one"}; });
  const std::uint16_t port = server->port();
  EXPECT_EQ(ask(port, "GET", "/").body, "one");
  server.reset();
  const auto again = HttpServer::start("127.0.0.1", port, [](const Request&) { return Answer{200, "two"}; });
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(ask(port, "GET", "/").body, "two");
}

TEST(HttpServer, RefusesGarbage) {
  std::atomic<int> handled{0};
  const auto server = listen([&](const Request&) {
    ++handled;
    return Answer{200, "ok"};
  });
  for (const std::string& bytes :
       {std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8) + std::string(64, '\n'), std::string("GET\r\n\r\n"),
        std::string("GET / HTTP/9.9\r\n\r\n"), "GET /" + std::string(HttpServer::kMaxHeader + 100, 'a'),
        "GET / HTTP/1.1\r\nA: " + std::string(HttpServer::kMaxHeader, 'a') + "\r\n\r\n"}) {
    EXPECT_THAT(send_and_read(server->port(), bytes), Not(HasSubstr("200 OK"))) << bytes.substr(0, 20);
  }
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(ask(server->port(), "GET", "/").status, 200);
}

// The body is never read: however long it is said to be, the answer comes and the connection ends.
TEST(HttpServer, EndlessBodyGetsItsAnswerAndTheEnd) {
  const auto server = listen([](const Request&) { return Answer{200, "ok"}; });
  for (const char* length : {"Content-Length: 4000000000", "Transfer-Encoding: chunked"}) {
    Connection connection(server->port());
    connection.send(std::string("POST / HTTP/1.1\r\nHost: x\r\n") + length + "\r\n\r\n");
    EXPECT_THAT(connection.read_all(), HasSubstr("200 OK"));
  }
}

// Each of them would hold a thread or a place in a queue, if there were such.
TEST(HttpServer, SilentClientsHoldUpNobody) {
  const auto server = listen([](const Request&) { return Answer{200, "ok"}; });
  std::list<Connection> silent;
  for (std::size_t i = 0; i < 4 * HttpServer::kMaxConnections; ++i) {
    silent.emplace_back(server->port());
    if (i % 2 == 0) silent.back().send("GET /liv");
    if (i % 16 != 0) continue;
    EXPECT_EQ(ask(server->port(), "GET", "/").status, 200);
  }
  // The oldest make way at once, the others after their time-out.
  for (auto& connection : silent) EXPECT_THAT(connection.read_all(), Not(HasSubstr("200 OK")));
}

TEST(HttpServer, ARequestMayComeInPieces) {
  const auto server = listen([](const Request& request) { return Answer{200, std::string(request.path)}; });
  Connection connection(server->port());
  for (const char c : std::string("GET /pieces?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")) connection.send({&c, 1});
  EXPECT_THAT(connection.read_all(), testing::EndsWith("\r\n\r\n/pieces"));
}

TEST(HttpServer, AnAnswerThatNobodyTakesHoldsUpNobody) {
  const std::string large(16 << 20, 'x');
  const auto server = listen([&](const Request& request) {
    return Answer{200, request.path == "/large" ? large : "ok"};
  });
  Connection slow(server->port());
  slow.send("GET /large HTTP/1.1\r\n\r\n");
  EXPECT_EQ(ask(server->port(), "GET", "/").body, "ok");
  EXPECT_GT(slow.read_all().size(), large.size());
}

}  // namespace
}  // namespace sidepool::admin
