// protocol/password.cpp -- PostgreSQL manual, "Password Authentication" and the md5 formula under "Message
// Flow".
#include "protocol/password.h"

#include <openssl/evp.h>

#include <array>
#include <initializer_list>
#include <memory>

#include "protocol/scram.h"

namespace sidepool::protocol {
namespace {

constexpr std::size_t kHashSize = 35;  // "md5" and 32 digits

// Fetched once and never freed, for the reason given in scram_crypto.cpp. Null in FIPS mode.
const EVP_MD* md5() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "MD5", nullptr);
  return fetched;
}

std::optional<SecretText> md5_text(std::initializer_list<Bytes> parts) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!md5() || !ctx || EVP_DigestInit_ex2(ctx.get(), md5(), nullptr) != 1) return std::nullopt;
  for (const auto& p : parts) {
    if (EVP_DigestUpdate(ctx.get(), p.data(), p.size()) != 1) return std::nullopt;
  }
  std::array<std::uint8_t, 16> digest{};
  if (EVP_DigestFinal_ex(ctx.get(), digest.data(), nullptr) != 1) return std::nullopt;
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<char, kHashSize> text{'m', 'd', '5'};
  for (std::size_t i = 0; i < digest.size(); ++i) {
    text[3 + 2 * i] = kDigits[digest[i] >> 4];
    text[4 + 2 * i] = kDigits[digest[i] & 15];
  }
  SecretText out({text.data(), text.size()});
  wipe(text.data(), text.size());
  wipe(digest.data(), digest.size());
  return out;
}

bool is_md5_hash(std::string_view s) noexcept {
  return s.size() == kHashSize && s.starts_with("md5") &&
         s.find_first_not_of("0123456789abcdef", 3) == std::string_view::npos;
}

}  // namespace

SecretKind classify_secret(std::string_view stored) {
  if (is_md5_hash(stored)) return SecretKind::Md5;
  return parse_verifier(stored) ? SecretKind::Scram : SecretKind::Plain;
}

std::optional<SecretText> md5_hash(std::string_view password, std::string_view user) {
  return md5_text({as_bytes(password), as_bytes(user)});
}

std::optional<SecretText> md5_response(std::string_view hash, Md5Salt salt) {
  if (!is_md5_hash(hash)) return std::nullopt;
  return md5_text({as_bytes(hash.substr(3)), salt});
}

bool check_md5(std::string_view stored, std::string_view user, Md5Salt salt, std::string_view response) {
  if (stored.empty()) return false;
  std::optional<SecretText> expected;
  switch (classify_secret(stored)) {
    case SecretKind::Plain:
      if (const auto hash = md5_hash(stored, user)) expected = md5_response(hash->view(), salt);
      break;
    case SecretKind::Md5:
      expected = md5_response(stored, salt);
      break;
    case SecretKind::Scram:
      break;
  }
  return expected && equal_secret(expected->view(), response);
}

bool check_cleartext(std::string_view stored, std::string_view user, std::string_view typed) {
  if (stored.empty() || typed.empty()) return false;
  switch (classify_secret(stored)) {
    case SecretKind::Plain:
      return equal_secret(stored, typed);
    case SecretKind::Md5: {
      const auto hash = md5_hash(typed, user);
      return hash && equal_secret(hash->view(), stored);
    }
    case SecretKind::Scram: {
      const auto verifier = parse_verifier(stored);
      return verifier && matches(*verifier, typed);
    }
  }
  return false;
}

}  // namespace sidepool::protocol
