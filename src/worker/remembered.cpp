// src/worker/remembered.cpp -- see remembered.h.
#include "src/worker/remembered.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "protocol/password.h"
#include "src/base/random.h"

namespace sidepool::worker {

using protocol::AuthMethod;

std::array<std::uint8_t, 32> Remembered::digest_of(std::string_view password) const {
  std::array<std::uint8_t, 32> digest{};
  unsigned size = digest.size();
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(password.data()), password.size(), digest.data(), &size);
  return digest;
}

Remembered::Check Remembered::check(Time now, Duration auth_ttl) const {
  std::lock_guard lock(mutex_);
  if (!method_) return Check::FreshLogin;
  if (*method_ != AuthMethod::None) return Check::AskPassword;
  return now - fresh_ < auth_ttl ? Check::Admit : Check::FreshLogin;
}

// REQUIRES: mutex_ is held.
bool Remembered::matches(std::string_view password) const {
  if (!has_digest_) return false;
  auto digest = digest_of(password);
  const bool same = CRYPTO_memcmp(digest.data(), digest_.data(), digest.size()) == 0;
  OPENSSL_cleanse(digest.data(), digest.size());
  return same;
}

bool Remembered::knows(std::string_view password, Time now, Duration auth_ttl) const {
  std::lock_guard lock(mutex_);
  return !distrusted_ && now - fresh_ < auth_ttl && matches(password);
}

bool Remembered::resembles(std::string_view password) const {
  std::lock_guard lock(mutex_);
  return matches(password);
}

void Remembered::refused(std::string_view password) {
  std::lock_guard lock(mutex_);
  if (matches(password)) has_digest_ = false;
}

void Remembered::distrust() {
  std::lock_guard lock(mutex_);
  if (method_ == AuthMethod::None) method_.reset();
  distrusted_ = true;
}

void Remembered::learn(const protocol::LoginMachine& login, std::string_view user, std::string_view password,
                       Time now) {
  std::lock_guard lock(mutex_);
  method_ = login.auth_method();
  fresh_ = now;
  scram_.reset();
  md5_.reset();
  cleartext_ = SecretMemory{};
  has_digest_ = distrusted_ = false;
  if (*method_ == AuthMethod::None) return;
  fill_random(key_);
  digest_ = digest_of(password);
  has_digest_ = true;
  if (const auto* keys = login.scram_keys()) scram_ = *keys;
  if (*method_ == AuthMethod::Md5) md5_ = protocol::md5_hash(password, user);
  if (*method_ == AuthMethod::Cleartext) cleartext_ = SecretMemory(password);
}

bool Remembered::answer(protocol::LoginMachine& login, bool may_send_cleartext) const {
  std::lock_guard lock(mutex_);
  switch (login.auth_method()) {
    case AuthMethod::Scram: {
      const auto& asked = login.challenge();
      if (!cleartext_.empty()) return login.answer_password(cleartext_.text());
      return scram_ && scram_->salt == asked.salt && scram_->iterations == asked.iterations &&
             login.answer_scram_keys(*scram_);
    }
    case AuthMethod::Md5:
      return md5_ && login.answer_md5_hash(md5_->view());
    case AuthMethod::Cleartext:
      return !cleartext_.empty() && may_send_cleartext && login.answer_password(cleartext_.text());
    case AuthMethod::None:
      return false;
  }
  return false;
}

}  // namespace sidepool::worker
