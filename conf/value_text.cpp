// conf/value_text.cpp -- from a field to TOML text; what a key accepts, in words.
#include "conf/address.h"
#include "conf/units.h"
#include "conf/value.h"

namespace sidepool::conf {
namespace {

template <class T>
using Maybe = std::optional<T>;

std::string joined(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out.append(out.size() > 1 ? ", " : "").append(toml_string(item));
  return out.append("]");
}

std::string octal(std::uint32_t value) {
  std::string digits;
  for (; value != 0 || digits.empty(); value /= 8)
    digits.insert(digits.begin(), static_cast<char>('0' + value % 8));
  return "0o" + digits;
}

struct Text {
  const Key& key;

  Maybe<std::string> operator()(const bool* v) const { return *v ? "true" : "false"; }
  Maybe<std::string> operator()(const std::uint32_t* v) const { return std::to_string(*v); }
  Maybe<std::string> operator()(const std::uint16_t* v) const { return std::to_string(*v); }
  Maybe<std::string> operator()(Mode v) const { return octal(*v.at); }
  Maybe<std::string> operator()(const Bytes* v) const { return toml_string(format_size(*v)); }
  Maybe<std::string> operator()(const Duration* v) const { return toml_string(format_duration(*v)); }
  Maybe<std::string> operator()(const Maybe<Duration>* v) const {
    return *v ? (*this)(&**v) : Maybe<std::string>{};
  }
  Maybe<std::string> operator()(const std::string* v) const {
    return v->empty() ? Maybe<std::string>{} : toml_string(*v);
  }
  Maybe<std::string> operator()(const Secret* v) const {
    return v->empty() ? Maybe<std::string>{} : toml_string("********");
  }
  Maybe<std::string> operator()(const std::vector<std::string>* v) const {
    return v->empty() ? Maybe<std::string>{} : joined(*v);
  }
  Maybe<std::string> operator()(Texts v) const {
    return v.at->empty() ? Maybe<std::string>{} : joined(*v.at);
  }
  Maybe<std::string> operator()(const std::map<std::string, std::string>* v) const {
    if (v->empty()) return {};
    std::string out = "{";
    for (const auto& [name, value] : *v) {
      out.append(out.size() > 1 ? ", " : " ")
          .append(toml_string(name))
          .append(" = ")
          .append(toml_string(value));
    }
    return out.append(" }");
  }
  Maybe<std::string> operator()(Choice v) const {
    for (const ChoiceName& choice : key.choices) {
      if (choice.unavailable.empty() && choice.value == *v.at) return toml_string(choice.name);
    }
    return {};
  }
  Maybe<std::string> operator()(const std::vector<Listener>* v) const {
    std::vector<std::string> items;
    for (const Listener& listener : *v) items.push_back(to_string(listener.address));
    return items.empty() ? Maybe<std::string>{} : joined(items);
  }
  Maybe<std::string> operator()(const std::vector<Host>* v) const {
    std::vector<std::string> items;
    for (const Host& host : *v) items.push_back(to_string(host));
    return items.empty() ? Maybe<std::string>{} : joined(items);
  }
  Maybe<std::string> operator()(const Maybe<Address>* v) const {
    return *v ? toml_string(to_string(**v)) : Maybe<std::string>{};
  }
};

struct TypeName {
  const Key& key;

  std::string operator()(const bool*) const { return "true or false"; }
  std::string operator()(const std::uint32_t*) const { return "number"; }
  std::string operator()(const std::uint16_t*) const { return "number"; }
  std::string operator()(Mode) const { return "octal number"; }
  std::string operator()(const Bytes*) const { return "size"; }
  std::string operator()(const Duration*) const { return "time"; }
  std::string operator()(const Maybe<Duration>*) const { return "time"; }
  std::string operator()(const std::string*) const { return "string"; }
  std::string operator()(const Secret*) const { return "secret"; }
  std::string operator()(const std::vector<std::string>*) const { return "array of strings"; }
  std::string operator()(Texts) const { return "array of strings"; }
  std::string operator()(const std::map<std::string, std::string>*) const { return "table of settings"; }
  std::string operator()(Choice) const {
    std::string out;
    for (const ChoiceName& choice : key.choices) {
      if (choice.unavailable.empty()) out.append(out.empty() ? "" : ", ").append(toml_string(choice.name));
    }
    return out;
  }
  std::string operator()(const std::vector<Listener>*) const { return "array of addresses"; }
  std::string operator()(const std::vector<Host>*) const { return "array of addresses"; }
  std::string operator()(const Maybe<Address>*) const { return "address"; }
};

struct RangeText {
  Range range;

  std::string numbers() const { return std::to_string(range.min) + " to " + std::to_string(range.max); }
  std::string times() const {
    return format_duration(std::chrono::nanoseconds(range.min)) + " to " +
           format_duration(std::chrono::nanoseconds(range.max));
  }
  std::string operator()(std::uint32_t*) const { return numbers(); }
  std::string operator()(std::uint16_t*) const { return numbers(); }
  std::string operator()(Mode) const {
    return octal(static_cast<std::uint32_t>(range.min)) + " to " +
           octal(static_cast<std::uint32_t>(range.max));
  }
  std::string operator()(Bytes*) const {
    return format_size(static_cast<std::uint64_t>(range.min)) + " to " +
           format_size(static_cast<std::uint64_t>(range.max));
  }
  std::string operator()(Duration*) const { return times(); }
  std::string operator()(Maybe<Duration>*) const { return times(); }
  template <class Other>
  std::string operator()(Other) const {
    return {};
  }
};

}  // namespace

std::optional<std::string> literal(const Key& key, Field field) { return std::visit(Text{key}, field); }
std::string type_of(const Key& key, Field field) { return std::visit(TypeName{key}, field); }
std::string range_of(const Key& key, Field field) { return std::visit(RangeText{key.range}, field); }

bool equal(Field a, Field b) {
  return std::visit(
      [&b](auto left) {
        const auto right = std::get<decltype(left)>(b);
        if constexpr (requires { *left.at; }) {
          return *left.at == *right.at;
        } else {
          return *left == *right;
        }
      },
      a);
}

void assign(Field to, Field from) {
  std::visit(
      [&from](auto left) {
        const auto right = std::get<decltype(left)>(from);
        if constexpr (requires { *left.at; }) {
          *left.at = *right.at;
        } else {
          *left = *right;
        }
      },
      to);
}

std::string toml_string(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append("\\u00").append({kHex[byte >> 4], kHex[byte & 15]});
    } else {
      out.push_back(c);
    }
  }
  return out.append("\"");
}

}  // namespace sidepool::conf
