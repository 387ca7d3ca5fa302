// cloudsql/dns_name.cpp -- see the header.
#include "src/cloudsql/dns_name.h"

#include <algorithm>
#include <array>

namespace sidepool::cloudsql {
namespace {

constexpr std::size_t kMaxName = 253, kMaxLabel = 63;  // RFC 1035 §2.3.4, without the trailing dot

bool letter(char c) noexcept { return c >= 'a' && c <= 'z'; }
bool alphanumeric(char c) noexcept { return letter(c) || (c >= '0' && c <= '9'); }

bool is_label(std::string_view label, bool underscores) noexcept {
  const auto fits = [underscores](char c) { return alphanumeric(c) || (underscores && c == '_'); };
  if (label.empty() || label.size() > kMaxLabel || !fits(label.front())) return false;
  if (label.size() > 1 && !alphanumeric(label.back())) return false;
  return std::all_of(label.begin(), label.end(), [&](char c) { return fits(c) || c == '-'; });
}

// The first label; the dot behind it goes, too.
std::string_view take_label(std::string_view& name) noexcept {
  const std::size_t dot = name.find('.');
  const std::string_view label = name.substr(0, dot);
  name.remove_prefix(dot == std::string_view::npos ? name.size() : dot + 1);
  return label;
}

}  // namespace

bool is_domain_name(std::string_view text) noexcept {
  if (text.size() > kMaxName + (text.ends_with('.') ? 1 : 0)) return false;
  if (text.find('.') == std::string_view::npos) return false;
  while (text.find('.') != std::string_view::npos)
    if (!is_label(take_label(text), true)) return false;
  return text.empty() || (letter(text.front()) && is_label(text, false));
}

std::optional<GoogleName> google_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (!is_domain_name(text)) return std::nullopt;
  std::string_view rest = text;
  const std::array<std::string_view, 3> labels{take_label(rest), take_label(rest), take_label(rest)};
  const std::string_view region = labels.back();
  if (rest != "sql.goog" && rest != "sql-psa.goog" && rest != "sql-psc.goog") return std::nullopt;
  if (region == "global") return std::nullopt;
  if (!std::all_of(labels.begin(), labels.end(), [](auto l) { return is_label(l, false); }))
    return std::nullopt;
  return GoogleName{std::string{text} + '.', std::string{region}};
}

}  // namespace sidepool::cloudsql
