// cloudsql/secret.h -- tokens, keys and passwords: text that is never printed and is wiped when dropped.
#pragma once
#include <openssl/crypto.h>

#include <string>
#include <string_view>
#include <vector>

namespace sidepool::cloudsql {

inline void wipe(std::string& text) noexcept {
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}

// Move-only, so that each copy in memory is one that somebody wrote down with copy().
class SecretText {
 public:
  SecretText() = default;
  explicit SecretText(std::string&& text) : bytes_(text.begin(), text.end()) { wipe(text); }
  explicit SecretText(std::string_view text) : bytes_(text.begin(), text.end()) {}
  SecretText(SecretText&&) noexcept = default;
  SecretText& operator=(SecretText&& other) noexcept {
    std::swap(bytes_, other.bytes_);  // the old text is wiped by `other`
    return *this;
  }
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  SecretText copy() const { return SecretText{view()}; }
  std::string_view view() const noexcept { return {bytes_.data(), bytes_.size()}; }
  bool empty() const noexcept { return bytes_.empty(); }

 private:
  std::vector<char> bytes_;  // not a string: a short string would leave its bytes behind when moved
};

}  // namespace sidepool::cloudsql
