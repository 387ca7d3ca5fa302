// cloudsql/encode.cpp -- see the header.
#include "src/cloudsql/encode.h"

#include <openssl/evp.h>

#include <cstdint>

namespace sidepool::cloudsql {

namespace {

void append_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
}

}  // namespace

std::string percent_encode(std::string_view text) {
  std::string out;
  out.reserve(3 * text.size());
  append_encoded(out, text);
  return out;
}

SecretText form_encode(const std::vector<std::pair<std::string_view, std::string_view>>& fields) {
  std::size_t most = 0;
  for (const auto& [name, value] : fields) most += 3 * (name.size() + value.size()) + 2;
  std::string out;
  out.reserve(most);  // so that no copy is left behind by growing
  for (const auto& [name, value] : fields) {
    if (!out.empty()) out += '&';
    append_encoded(out, name);
    out += '=';
    append_encoded(out, value);
  }
  return SecretText{std::move(out)};
}

SecretText basic_auth(std::string_view user, std::string_view password) {
  std::string plain;
  plain.reserve(user.size() + password.size() + 1);
  plain += user;
  plain += ':';
  plain += password;
  constexpr std::string_view kHead = "Authorization: Basic ";
  std::string out(kHead.size() + 4 * ((plain.size() + 2) / 3) + 1, '\0');
  kHead.copy(out.data(), kHead.size());
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data() + kHead.size()),
                  reinterpret_cast<const unsigned char*>(plain.data()), static_cast<int>(plain.size()));
  out.pop_back();  // OpenSSL's NUL
  wipe(plain);
  return SecretText{std::move(out)};
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.pop_back();  // OpenSSL's NUL
  return out;
}

std::string base64url(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  unsigned have = 0;
  for (const char c : bytes) {
    bits = (bits << 8 | static_cast<std::uint8_t>(c)) & 0xffffff;
    have += 8;
    for (; have >= 6; have -= 6) out += kDigits[bits >> (have - 6) & 63];
  }
  if (have > 0) out += kDigits[bits << (6 - have) & 63];
  return out;
}

std::string one_line(std::string_view text, std::size_t max) {
  const bool cut = text.size() > max;
  if (cut) {
    while (max > 0 && (static_cast<std::uint8_t>(text[max]) & 0xc0) == 0x80) --max;
    text = text.substr(0, max);
  }
  std::string out{text};
  for (char& c : out)
    if (static_cast<std::uint8_t>(c) < 0x20 || c == 0x7f) c = ' ';
  while (out.ends_with(' ')) out.pop_back();
  if (cut) out += "...";
  return out;
}

}  // namespace sidepool::cloudsql
