// protocol/saslprep.cpp -- see saslprep.h; the tables are GNU libidn's.
#include "protocol/saslprep.h"

#include <stringprep.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace sidepool::protocol {

namespace {

struct WipeAndFree {
  void operator()(char* text) const noexcept {
    wipe(text, std::strlen(text));
    std::free(text);
  }
};

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

SecretText saslprep(std::string_view password) {
  // As PostgreSQL does, also with control characters, which the profile prohibits.
  if (is_ascii(password) || password.find('\0') != std::string_view::npos) return SecretText(password);
  std::string text(password);
  char* out = nullptr;
  const int rc = stringprep_profile(text.c_str(), &out, "SASLprep", STRINGPREP_NO_UNASSIGNED);
  wipe(text.data(), text.size());
  const std::unique_ptr<char, WipeAndFree> prepared(rc == STRINGPREP_OK ? out : nullptr);
  return SecretText(prepared && *prepared.get() != '\0' ? std::string_view(prepared.get()) : password);
}

}  // namespace sidepool::protocol
