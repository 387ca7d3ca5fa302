// cloudsql/json_member.h -- reading JSON documents of others: what is missing or of another type is empty.
// Only for the .cpp files that read JSON: the library takes 10 s to compile.
#pragma once
#include <openssl/crypto.h>

#include <cstddef>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql::json {

// Wipes what it gives back: the parser's buffer and the document hold tokens and keys.
template <class T>
struct WipingAllocator {
  using value_type = T;
  WipingAllocator() = default;
  template <class U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}  // NOLINT(*explicit*): rebinding
  T* allocate(std::size_t n) { return std::allocator<T>{}.allocate(n); }
  void deallocate(T* p, std::size_t n) noexcept {
    OPENSSL_cleanse(p, n * sizeof(T));
    std::allocator<T>{}.deallocate(p, n);
  }
  friend bool operator==(const WipingAllocator&, const WipingAllocator&) { return true; }
};
using WipedString = std::basic_string<char, std::char_traits<char>, WipingAllocator<char>>;
using Json = nlohmann::basic_json<std::map, std::vector, WipedString>;

// The object a body holds; null for anything else. Never throws on bad input.
inline Json parse_object(std::string_view text) {
  Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object()) j = nullptr;
  return j;
}

inline const Json* member(const Json& j, const char* key) {
  if (!j.is_object()) return nullptr;
  const auto it = j.find(key);
  return it == j.end() ? nullptr : &*it;
}

inline std::string text(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* s = m ? m->get_ptr<const Json::string_t*>() : nullptr;
  return s ? std::string{*s} : std::string{};
}

inline SecretText secret(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* s = m ? m->get_ptr<const Json::string_t*>() : nullptr;
  return s ? SecretText{std::string_view{*s}} : SecretText{};
}

inline bool truth(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* b = m ? m->get_ptr<const Json::boolean_t*>() : nullptr;
  return b && *b;
}

// The elements of an array member; an empty list for anything else.
inline const Json& list(const Json& j, const char* key) {
  static const Json none = Json::array();
  const Json* m = member(j, key);
  return m && m->is_array() ? *m : none;
}

inline SecretText dump_secret(const Json& j) {
  return SecretText{std::string_view{j.dump(-1, ' ', false, Json::error_handler_t::replace)}};
}
inline std::string dump(const Json& j) { return std::string{dump_secret(j).view()}; }

}  // namespace sidepool::cloudsql::json
