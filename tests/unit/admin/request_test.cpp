// tests/unit/admin/request_test.cpp -- heads of HTTP requests, good and bad.
#include "src/admin/request.h"

#include <gtest/gtest.h>

#include <string>

namespace sidepool::admin {
namespace {

TEST(HttpRequest, MethodAndPath) {
  const auto request = parse_request("GET /metrics?x=y HTTP/1.0\r\nHost: a:1\r\nX-Empty:\r\n\r\n");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "GET");
  EXPECT_EQ(request->path, "/metrics");
  EXPECT_FALSE(request->cross_site);
  const auto by_proxy = parse_request("GET http://host:80/metrics HTTP/1.1\n\n");
  ASSERT_TRUE(by_proxy);
  EXPECT_EQ(by_proxy->path, "/metrics");
}

TEST(HttpRequest, TheHeadEndsWithAnEmptyLine) {
  EXPECT_EQ(head_size(""), 0U);
  EXPECT_EQ(head_size("GET / HTTP/1.1\r\n"), 0U);
  EXPECT_EQ(head_size("GET / HTTP/1.1\r\n\r"), 0U);
  EXPECT_EQ(head_size("GET / HTTP/1.1\r\n\r\nbody"), 18U);
  EXPECT_EQ(head_size("GET / HTTP/1.1\n\n"), 16U);
}

TEST(HttpRequest, WhatABrowserSendsForAnotherPage) {
  const auto from = [](const std::string& header) {
    const auto request = parse_request("POST / HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n");
    return request && request->cross_site;
  };
  EXPECT_TRUE(from("Origin: http://evil.example"));
  EXPECT_TRUE(from("origin: null"));
  EXPECT_TRUE(from("Sec-Fetch-Site: cross-site"));
  EXPECT_FALSE(from("Sec-Fetch-Site: none"));
  EXPECT_FALSE(from("X-Origin: http://evil.example"));
}

TEST(HttpRequest, Nonsense) {
  for (const char* head :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n",
        "GET / / HTTP/1.1\r\n\r\n", "G(T / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n", "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\n\r\n"}) {
    EXPECT_FALSE(parse_request(head)) << head;
  }
}

}  // namespace
}  // namespace sidepool::admin
