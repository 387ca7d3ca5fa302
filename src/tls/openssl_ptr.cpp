// tls/openssl_ptr.cpp -- see the header.
#include "src/tls/openssl_ptr.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <climits>

namespace sidepool::tls {

BioPtr memory_bio(std::string_view text) {
  if (text.size() > INT_MAX) return nullptr;
  return BioPtr{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  std::string text = "no detail from OpenSSL";
  if (code != 0) {
    const char* reason = ERR_reason_error_string(code);
    char generic[256];
    if (!reason) {
      ERR_error_string_n(code, generic, sizeof generic);
      reason = generic;
    }
    text = reason;
  }
  ERR_clear_error();
  return text;
}

KeyPtr read_private_key(std::string_view pem) {
  const BioPtr bio = memory_bio(pem);
  if (!bio) return nullptr;
  // Without a callback of ours OpenSSL would ask on the terminal.
  return KeyPtr{PEM_read_bio_PrivateKey(
      bio.get(), nullptr, [](char*, int, int, void*) noexcept { return -1; }, nullptr)};
}

}  // namespace sidepool::tls
