// tests/cloudsql_emulator/principals.cpp -- the registry of principals and tokens.
#include "tests/cloudsql_emulator/principals.h"

#include <openssl/crypto.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

namespace sidepool::emulator {
namespace {

constexpr std::size_t kMaxTokens = 100000;  // a storm of refreshes must not eat the machine

bool rs256(EVP_PKEY* key, std::string_view signed_part, std::string_view signature) {
  MdContext context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                          signature.size(), reinterpret_cast<const unsigned char*>(signed_part.data()),
                          signed_part.size()) == 1;
}

}  // namespace

bool Token::has(std::string_view scope) const {
  return std::any_of(scopes.begin(), scopes.end(),
                     [&](const std::string& s) { return s == scope || s == kPlatformScope; });
}

std::string role_of(std::string_view principal) {
  constexpr std::string_view kSuffix = ".gserviceaccount.com";
  if (principal.ends_with(kSuffix)) principal.remove_suffix(kSuffix.size());
  std::string role(principal.substr(0, 63));
  std::transform(role.begin(), role.end(), role.begin(), [](unsigned char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
  });
  return role;
}

void Principals::add(const std::string& email) {
  std::lock_guard lock(mutex_);
  entries_[email];
}

void Principals::set_rights(const std::string& email, const Rights& rights) {
  std::lock_guard lock(mutex_);
  entries_[email].rights = rights;
}

std::optional<Principals::Rights> Principals::rights(const std::string& email) const {
  std::lock_guard lock(mutex_);
  auto it = entries_.find(email);
  if (it == entries_.end()) return std::nullopt;
  return it->second.rights;
}

std::vector<std::string> Principals::emails() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [email, entry] : entries_) out.push_back(email);
  return out;
}

void Principals::set_attached(const std::string& email) {
  std::lock_guard lock(mutex_);
  if (!email.empty()) entries_[email];
  attached_ = email;
}

std::string Principals::attached() const {
  std::lock_guard lock(mutex_);
  return attached_;
}

std::optional<std::string> Principals::principal_of_role(std::string_view role) const {
  std::lock_guard lock(mutex_);
  for (const auto& [email, entry] : entries_) {
    if (role_of(email) == role) return email;
  }
  return std::nullopt;
}

Principals::ServiceAccountKey Principals::add_service_account_key(const std::string& email) {
  Key key(EVP_RSA_gen(2048));
  if (!key) std::abort();
  ServiceAccountKey out{private_pem(key.get()), random_hex(20)};
  std::lock_guard lock(mutex_);
  entries_[email].keys.push_back({out.key_id, std::move(key)});
  return out;
}

Status Principals::add_public_key(const std::string& email, const std::string& key_id, std::string_view pem) {
  Key key = parse_public_key(pem);
  if (!key) return fail(Errc::Config, "no RSA public key in the PEM text");
  std::lock_guard lock(mutex_);
  entries_[email].keys.push_back({key_id, std::move(key)});
  return {};
}

Principals::UserCredentials Principals::add_user(const std::string& email) {
  UserCredentials out{"emulator.apps.googleusercontent.com", random_hex(12), "1//" + random_hex(24)};
  std::lock_guard lock(mutex_);
  entries_[email];
  users_[out.refresh_token] = {email, out};
  return out;
}

void Principals::add_subject_token(const std::string& subject_token, const std::string& principal) {
  std::lock_guard lock(mutex_);
  entries_[principal];
  subjects_[subject_token] = principal;
}

void Principals::add_static_token(const std::string& token, const Token& meaning) {
  std::lock_guard lock(mutex_);
  entries_[meaning.principal];
  tokens_[token] = meaning;
}

IssuedToken Principals::issue(const std::string& principal, const std::vector<std::string>& scopes,
                              std::int64_t lifetime_s) {
  IssuedToken out{"ya29.emulator-" + random_hex(24), lifetime_s};
  std::lock_guard lock(mutex_);
  if (out.lifetime_s <= 0 || out.lifetime_s > token_lifetime_s_) out.lifetime_s = token_lifetime_s_;
  std::int64_t now = std::time(nullptr);
  if (tokens_.size() >= kMaxTokens) {
    std::erase_if(tokens_, [now](const auto& entry) { return entry.second.expires_at <= now; });
  }
  tokens_[out.token] = Token{principal, scopes, now + out.lifetime_s};
  return out;
}

std::optional<Token> Principals::lookup(std::string_view token) const {
  std::lock_guard lock(mutex_);
  auto it = tokens_.find(token);
  if (it == tokens_.end() || it->second.expires_at <= std::time(nullptr)) return std::nullopt;
  return it->second;
}

void Principals::revoke_all() {
  std::lock_guard lock(mutex_);
  tokens_.clear();
}

void Principals::set_token_lifetime(std::int64_t seconds) {
  std::lock_guard lock(mutex_);
  token_lifetime_s_ = seconds;
}

std::optional<std::string> Principals::user_of_refresh_token(const UserCredentials& credentials) const {
  std::lock_guard lock(mutex_);
  auto it = users_.find(credentials.refresh_token);
  if (it == users_.end()) return std::nullopt;
  const auto& [email, known] = it->second;
  if (known.client_id != credentials.client_id || known.client_secret != credentials.client_secret) {
    return std::nullopt;
  }
  return email;
}

std::optional<std::string> Principals::principal_of_subject_token(std::string_view subject_token) const {
  std::lock_guard lock(mutex_);
  auto it = subjects_.find(subject_token);
  if (it == subjects_.end()) return std::nullopt;
  return it->second;
}

bool Principals::verify(const std::string& email, const std::string& key_id, std::string_view signed_part,
                        std::string_view signature) const {
  std::lock_guard lock(mutex_);
  auto it = entries_.find(email);
  if (it == entries_.end()) return false;
  return std::any_of(it->second.keys.begin(), it->second.keys.end(), [&](const PublicKey& known) {
    return (key_id.empty() || known.id == key_id) && rs256(known.key.get(), signed_part, signature);
  });
}

std::optional<std::string> base64url_decode(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (char c : text) {
    unsigned value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = static_cast<unsigned>(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      value = static_cast<unsigned>(c - 'a') + 26;
    } else if (c >= '0' && c <= '9') {
      value = static_cast<unsigned>(c - '0') + 52;
    } else if (c == '-' || c == '_') {
      value = c == '-' ? 62 : 63;
    } else {
      return std::nullopt;
    }
    bits = (bits << 6 | value) & 0xffffU;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xffU);
    }
  }
  return out;
}

}  // namespace sidepool::emulator
