// src/admin/request.cpp -- see request.h.
#include "src/admin/request.h"

#include <algorithm>

namespace sidepool::admin {

namespace {

bool is_token(std::string_view text) {
  static constexpr std::string_view kMore = "!#$%&'*+-.^_`|~";
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kMore.find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [lower](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t";
  const auto begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// Takes the next line, without its end, from `rest`.
std::string_view next_line(std::string_view& rest) {
  const auto end = std::min(rest.find('\n'), rest.size());
  auto line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// GET /readiness?deep=1 HTTP/1.1; proxies may send the absolute form.
std::optional<Request> parse_request_line(std::string_view line) {
  const auto first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return std::nullopt;
  const auto version = line.substr(last + 1);
  auto target = line.substr(first + 1, last - first - 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::nullopt;
  if (!is_token(line.substr(0, first)) || target.empty() || target.find(' ') != std::string_view::npos)
    return std::nullopt;
  if (constexpr std::string_view kScheme = "http://"; target.starts_with(kScheme)) {
    const auto path = target.find('/', kScheme.size());
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  const auto mark = std::min(target.find('?'), target.size());
  return Request{line.substr(0, first), target.substr(0, mark),
                 target.substr(std::min(mark + 1, target.size()))};
}

}  // namespace

std::size_t head_size(std::string_view in) {
  for (auto at = in.find('\n'); at != std::string_view::npos; at = in.find('\n', at + 1)) {
    const auto behind = in.substr(at + 1);
    if (behind.starts_with('\n')) return at + 2;
    if (behind.starts_with("\r\n")) return at + 3;
  }
  return 0;
}

std::optional<Request> parse_request(std::string_view head) {
  const auto control = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\r' && c != '\n' && c != '\t') || byte == 0x7f;
  };
  if (std::any_of(head.begin(), head.end(), control)) return std::nullopt;
  auto request = parse_request_line(next_line(head));
  if (!request) return std::nullopt;
  for (auto line = next_line(head); !line.empty(); line = next_line(head)) {
    const auto colon = line.find(':');
    const auto name = line.substr(0, colon);
    if (colon == std::string_view::npos || !is_token(name)) return std::nullopt;
    const auto value = trimmed(line.substr(colon + 1));
    request->cross_site |= equal_ignoring_case(name, "origin") ||
                           (equal_ignoring_case(name, "sec-fetch-site") && value == "cross-site");
  }
  return request;
}

}  // namespace sidepool::admin
