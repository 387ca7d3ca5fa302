// src/admin/request.h -- the head of an HTTP request, as far as probes and scrapes need it. Pure.
#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

namespace sidepool::admin {

struct Request {                  // borrowed for the call
  std::string_view method, path;  // the path as it was sent, without the query
  std::string_view query{};       // as sent, without '?'
  // A browser sent it for a page that is not ours: it has an Origin, or Sec-Fetch-Site says cross-site.
  bool cross_site = false;
};

// How many bytes of `in` are the head with the empty line that ends it; 0: not all of it is there.
std::size_t head_size(std::string_view in);

// A whole head (RFC 9112). nullopt: it is none; the answer is 400.
std::optional<Request> parse_request(std::string_view head);

}  // namespace sidepool::admin
