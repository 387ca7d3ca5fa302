// tests/cloudsql_emulator/json.cpp -- the only file that includes nlohmann/json.
#include "tests/cloudsql_emulator/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace sidepool::emulator {
namespace {

constexpr int kMaxDepth = 64;

Json from_nlohmann(const nlohmann::json& in, int depth, bool& too_deep) {
  if (depth > kMaxDepth) {
    too_deep = true;
    return {};
  }
  if (in.is_boolean()) return in.get<bool>();
  if (in.is_number()) return in.get<double>();
  if (in.is_string()) return in.get<std::string>();
  if (in.is_array()) {
    Json::Array out;
    for (const auto& item : in) out.push_back(from_nlohmann(item, depth + 1, too_deep));
    return out;
  }
  if (in.is_object()) {
    Json::Object out;
    for (const auto& [key, value] : in.items()) out[key] = from_nlohmann(value, depth + 1, too_deep);
    return out;
  }
  return {};
}

nlohmann::json to_nlohmann(const Json& in) {
  if (const bool* value = in.boolean()) return *value;
  if (const double* value = in.number()) {
    if (std::trunc(*value) == *value && std::abs(*value) < 9e15) return static_cast<long long>(*value);
    return *value;
  }
  if (const std::string* value = in.string()) return *value;
  if (const Json::Array* value = in.array()) {
    auto out = nlohmann::json::array();
    for (const Json& item : *value) out.push_back(to_nlohmann(item));
    return out;
  }
  if (const Json::Object* value = in.object()) {
    auto out = nlohmann::json::object();
    for (const auto& [key, item] : *value) out[key] = to_nlohmann(item);
    return out;
  }
  return nullptr;
}

}  // namespace

const Json* Json::find(std::string_view key) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  auto it = members->find(key);
  return it == members->end() ? nullptr : &it->second;
}

std::string Json::text(std::string_view key, std::string fallback) const {
  const Json* member = find(key);
  return member != nullptr && member->string() != nullptr ? *member->string() : std::move(fallback);
}

double Json::number(std::string_view key, double fallback) const {
  const Json* member = find(key);
  return member != nullptr && member->number() != nullptr ? *member->number() : fallback;
}

bool Json::flag(std::string_view key, bool fallback) const {
  const Json* member = find(key);
  return member != nullptr && member->boolean() != nullptr ? *member->boolean() : fallback;
}

std::vector<std::string> Json::strings(std::string_view key) const {
  std::vector<std::string> out;
  const Json* member = find(key);
  if (member == nullptr || member->array() == nullptr) return out;
  for (const Json& item : *member->array()) {
    if (item.string() != nullptr) out.push_back(*item.string());
  }
  return out;
}

Json& Json::operator[](std::string_view key) {
  if (object() == nullptr) value_ = Object{};
  return std::get<Object>(value_)[std::string(key)];
}

void Json::push(Json value) {
  if (array() == nullptr) value_ = Array{};
  std::get<Array>(value_).push_back(std::move(value));
}

std::optional<Json> Json::parse(std::string_view text) {
  // The callback bounds nlohmann's own nesting; without exceptions a bad text is "discarded".
  bool too_deep = false;
  auto bound = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  nlohmann::json parsed = nlohmann::json::parse(text, bound, false);
  if (parsed.is_discarded() || too_deep) return std::nullopt;
  Json out = from_nlohmann(parsed, 0, too_deep);
  if (too_deep) return std::nullopt;
  return out;
}

std::string Json::dump() const {
  return to_nlohmann(*this).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sidepool::emulator
