// tests/cloudsql_emulator/json.h -- a JSON value; keeps nlohmann/json (10 s a file) inside json.cpp.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sidepool::emulator {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<double>(value)) {}
  Json(long value) : value_(static_cast<double>(value)) {}
  Json(unsigned long value) : value_(static_cast<double>(value)) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  Json(const std::vector<std::string>& values) : value_(Array(values.begin(), values.end())) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const double* number() const { return std::get_if<double>(&value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }

  // The member of an object; nullptr if this is no object or has no such member.
  const Json* find(std::string_view key) const;
  // The member in the wanted type, or `fallback` if it is missing or of another type.
  std::string text(std::string_view key, std::string fallback = {}) const;
  double number(std::string_view key, double fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::vector<std::string> strings(std::string_view key) const;

  // Makes this an object if it is none. The reference lives until the next change of the object.
  Json& operator[](std::string_view key);
  // Makes this an array if it is none.
  void push(Json value);

  // nullopt: not JSON, or nested deeper than 64.
  static std::optional<Json> parse(std::string_view text);
  std::string dump() const;

 private:
  std::variant<std::monostate, bool, double, std::string, Array, Object> value_;
};

}  // namespace sidepool::emulator
