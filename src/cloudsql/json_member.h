// cloudsql/json_member.h -- reading JSON documents of others: what is missing or of another type is empty.
// Only for the .cpp files that read JSON: the library takes 10 s to compile.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql::json {

using Json = nlohmann::json;

// The object a body holds; null for anything else. Never throws on bad input.
inline Json parse_object(std::string_view text) {
  Json j = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return j.is_object() ? std::move(j) : Json{};
}

inline const Json* member(const Json& j, const char* key) {
  if (!j.is_object()) return nullptr;
  const auto it = j.find(key);
  return it == j.end() ? nullptr : &*it;
}

inline std::string text(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* s = m ? m->get_ptr<const Json::string_t*>() : nullptr;
  return s ? *s : std::string{};
}

// Takes the string out of the document, which keeps no readable copy.
inline SecretText secret(Json& j, const char* key) {
  if (!j.is_object()) return {};
  const auto it = j.find(key);
  auto* s = it == j.end() ? nullptr : it->get_ptr<Json::string_t*>();
  return s ? SecretText{std::move(*s)} : SecretText{};
}

inline bool truth(const Json& j, const char* key) {
  const Json* m = member(j, key);
  const auto* b = m ? m->get_ptr<const Json::boolean_t*>() : nullptr;
  return b && *b;
}

// The elements of an array member; an empty list for anything else.
inline const Json& list(const Json& j, const char* key) {
  static const Json kNone = Json::array();
  const Json* m = member(j, key);
  return m && m->is_array() ? *m : kNone;
}

inline std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace sidepool::cloudsql::json
