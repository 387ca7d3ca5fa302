// conf/value.cpp -- from the document into a field, with all checks that need no other key.
#include "conf/value.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "conf/address.h"
#include "conf/units.h"

namespace sidepool::conf {
namespace {

constexpr std::size_t kLongestText = 4096;

bool printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

bool setting_name(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '$';
  };
  return !text.empty() && text.size() < 64 && std::all_of(text.begin(), text.end(), fits);
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// One value on its way into its field. The overloads of into() are chosen by the type of the field.
class Store {
 public:
  Store(const Key& key, const std::string& path, const Value& value, const ResolveSecret& resolve)
      : key_(key), path_(path), value_(value), resolve_(resolve) {}

  std::optional<Problem> into(bool* out) { return copy<bool>(out, "true or false"); }

  std::optional<Problem> into(std::uint32_t* out) { return number(out); }
  std::optional<Problem> into(std::uint16_t* out) { return number(out); }

  std::optional<Problem> into(Mode out) {
    if (const auto* text = std::get_if<std::string>(&value_.data)) {
      const bool octal =
          !text->empty() && text->size() <= 5 && text->find_first_not_of("01234567") == std::string::npos;
      if (!octal) return wrong("an octal number such as \"0770\"");
      return checked(static_cast<std::int64_t>(std::stoul(*text, nullptr, 8)), out.at, "0777", "0");
    }
    const auto* integer = std::get_if<std::int64_t>(&value_.data);
    if (!integer) return wrong("an octal number such as \"0770\" or 0o770");
    if (*integer > 0777) return bad("must be at most 0o777; TOML writes octal numbers as 0o770 or \"0770\"");
    return checked(*integer, out.at, "0o777", "0");
  }

  std::optional<Problem> into(Bytes* out) {
    std::optional<std::uint64_t> bytes;
    if (const auto* text = std::get_if<std::string>(&value_.data)) {
      bytes = parse_size(*text);
      if (!bytes)
        return bad("is " + in_quotes(*text) +
                   ": write a whole number with B, KiB, MiB or GiB, as in \"64MiB\"");
    } else if (const auto* integer = std::get_if<std::int64_t>(&value_.data)) {
      if (*integer < 0) return bad("must not be negative");
      bytes = static_cast<std::uint64_t>(*integer);
    } else {
      return wrong("a size such as \"64MiB\"");
    }
    const Range& range = key_.range;
    if (*bytes < static_cast<std::uint64_t>(range.min) || *bytes > static_cast<std::uint64_t>(range.max)) {
      return bad("must be from " + range_of(key_, out) + ", not " + format_size(*bytes));
    }
    *out = *bytes;
    return std::nullopt;
  }

  std::optional<Problem> into(Duration* out) {
    std::optional<std::chrono::nanoseconds> duration;
    if (const auto* text = std::get_if<std::string>(&value_.data)) {
      duration = parse_duration(*text);
      if (!duration)
        return bad("is " + in_quotes(*text) +
                   ": write a time with its unit, as in \"30s\", \"500ms\", \"1m30s\"");
    } else if (const auto* integer = std::get_if<std::int64_t>(&value_.data)) {
      duration = seconds_of(static_cast<double>(*integer));
    } else if (const auto* number = std::get_if<double>(&value_.data)) {
      duration = seconds_of(*number);
    } else {
      return wrong("a time such as \"30s\", or a number of seconds");
    }
    const Range& range = key_.range;
    if (!duration || duration->count() < range.min || duration->count() > range.max) {
      const std::string given = duration ? format_duration(*duration) : "that";
      return bad("must be from " + range_of(key_, out) + ", not " + given);
    }
    if (duration->count() % range.step != 0) {
      return bad("must be a multiple of " + format_duration(std::chrono::nanoseconds(range.step)) + ", not " +
                 format_duration(*duration));
    }
    *out = std::chrono::duration_cast<Duration>(*duration);
    return std::nullopt;
  }

  std::optional<Problem> into(std::optional<Duration>* out) {
    Duration duration{};
    if (auto problem = into(&duration)) return problem;
    *out = duration;
    return std::nullopt;
  }

  std::optional<Problem> into(std::string* out) {
    const auto* text = std::get_if<std::string>(&value_.data);
    if (!text) return wrong("a string");
    if (!printable(*text)) return bad("must not hold control characters");
    if (text->size() > kLongestText) return bad("is longer than 4096 bytes");
    *out = *text;
    return std::nullopt;
  }

  std::optional<Problem> into(Secret* out) {
    if (const auto* text = std::get_if<std::string>(&value_.data)) {
      if (text->find('\0') != std::string::npos) return bad("must not hold a zero byte");
      *out = Secret(*text);
      return std::nullopt;
    }
    const auto* table = std::get_if<Table>(&value_.data);
    if (!table) return wrong(kSecretForms);
    if (table->size() != 1) return bad(std::string("must be ").append(kSecretForms));
    const Entry& entry = table->front();
    const auto* name = std::get_if<std::string>(&entry.value.data);
    if ((entry.key != "env" && entry.key != "file") || !name || name->empty() || !printable(*name)) {
      return Problem{entry.at, path_ + " must be " + std::string(kSecretForms)};
    }
    const auto from = entry.key == "env" ? SecretSource::From::Environment : SecretSource::From::File;
    ResolvedSecret resolved =
        resolve_ ? resolve_({from, *name}) : ResolvedSecret{{}, "nothing can be read here"};
    if (resolved.error.empty() && resolved.secret.empty()) resolved.error = "it is empty";
    if (!resolved.error.empty()) {
      return Problem{entry.value.at, path_ + " could not be read from " + entry.key + " " + in_quotes(*name) +
                                         ": " + resolved.error};
    }
    *out = std::move(resolved.secret);
    return std::nullopt;
  }

  std::optional<Problem> into(std::vector<std::string>* out) {
    return list<std::string>(out, [](const std::string& text) -> Read<std::string> {
      if (!setting_name(text)) return Refusal{"it is not the name of a setting"};
      return lower(text);
    });
  }

  std::optional<Problem> into(Texts out) {
    return list<std::string>(out.at, [](const std::string& text) -> Read<std::string> {
      if (text.empty() || !printable(text) || text.size() > kLongestText)
        return Refusal{"it is empty, too long or holds control characters"};
      return text;
    });
  }

  std::optional<Problem> into(std::map<std::string, std::string>* out) {
    const auto* table = std::get_if<Table>(&value_.data);
    if (!table) return wrong("a table such as { work_mem = \"64MB\" }");
    std::map<std::string, std::string> read;
    for (const Entry& entry : *table) {
      if (auto problem = setting(entry, read)) return problem;
    }
    *out = std::move(read);
    return std::nullopt;
  }

  std::optional<Problem> into(Choice out) {
    const auto* text = std::get_if<std::string>(&value_.data);
    std::vector<std::string_view> names;
    for (const ChoiceName& choice : key_.choices) {
      if (text && *text == choice.name) {
        if (!choice.unavailable.empty())
          return bad("is " + in_quotes(*text) + ": " + std::string(choice.unavailable));
        *out.at = choice.value;
        return std::nullopt;
      }
      if (choice.unavailable.empty()) names.push_back(choice.name);
    }
    std::string all;
    for (const std::string_view name : names) all.append(all.empty() ? "" : ", ").append(in_quotes(name));
    if (!text) return wrong("one of " + all);
    const auto guess = nearest(*text, names);
    return bad("is " + in_quotes(*text) + ", but must be one of " + all +
               (guess ? "; did you mean " + in_quotes(*guess) + "?" : std::string{}));
  }

  std::optional<Problem> into(std::vector<Listener>* out) {
    return list<Listener>(out, [](const std::string& text) -> Read<Listener> {
      auto read = parse_address(text, true);
      if (auto* refusal = std::get_if<Refusal>(&read)) return *refusal;
      return Listener{std::get<Address>(std::move(read)), RemoteOptIn::No};
    });
  }

  std::optional<Problem> into(std::vector<Host>* out) { return list<Host>(out, parse_host); }

  std::optional<Problem> into(std::optional<Address>* out) {
    const auto* text = std::get_if<std::string>(&value_.data);
    if (!text) return wrong("a string such as \"127.0.0.1:9090\"");
    if (text->empty()) {
      out->reset();
      return std::nullopt;
    }
    auto read = parse_address(*text, false);
    if (auto* refusal = std::get_if<Refusal>(&read))
      return bad("does not accept " + in_quotes(*text) + ": " + refusal->why);
    *out = std::get<Address>(std::move(read));
    return std::nullopt;
  }

 private:
  static constexpr std::string_view kSecretForms = "a string, { env = \"NAME\" } or { file = \"PATH\" }";

  Problem bad(const std::string& what) const { return {value_.at, path_ + " " + what}; }
  Problem wrong(std::string_view expected) const {
    return bad(std::string("must be ").append(expected).append(", not ").append(type_name(value_)));
  }

  template <class T>
  std::optional<Problem> copy(T* out, std::string_view expected) {
    const auto* read = std::get_if<T>(&value_.data);
    if (!read) return wrong(expected);
    *out = *read;
    return std::nullopt;
  }

  template <class T>
  std::optional<Problem> number(T* out) {
    const auto* integer = std::get_if<std::int64_t>(&value_.data);
    if (!integer) return wrong("a whole number");
    return checked(*integer, out, std::to_string(key_.range.max), std::to_string(key_.range.min));
  }

  template <class T>
  std::optional<Problem> checked(std::int64_t read, T* out, const std::string& max, const std::string& min) {
    if (read < key_.range.min || read > key_.range.max) {
      return bad("must be from " + min + " to " + max + ", not " + std::to_string(read));
    }
    *out = static_cast<T>(read);
    return std::nullopt;
  }

  // An array of strings, or one string instead of an array of one.
  template <class T, class Parse>
  std::optional<Problem> list(std::vector<T>* out, Parse parse) {
    Array single;
    if (std::holds_alternative<std::string>(value_.data)) single.push_back(value_);
    const auto* array = single.empty() ? std::get_if<Array>(&value_.data) : &single;
    if (!array) return wrong("an array of strings");
    std::vector<T> read;
    for (const Value& item : *array) {
      const auto* text = std::get_if<std::string>(&item.data);
      if (!text) return Problem{item.at, path_ + " must hold strings, not " + std::string(type_name(item))};
      auto parsed = parse(*text);
      if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
        return Problem{item.at, path_ + " does not accept " + in_quotes(*text) + ": " + refusal->why};
      }
      if (std::find(read.begin(), read.end(), std::get<T>(parsed)) != read.end()) {
        return Problem{item.at, path_ + " names " + in_quotes(*text) + " twice"};
      }
      read.push_back(std::get<T>(std::move(parsed)));
    }
    *out = std::move(read);
    return std::nullopt;
  }

  std::optional<Problem> setting(const Entry& entry, std::map<std::string, std::string>& out) const {
    const std::string name = lower(entry.key);
    if (!setting_name(entry.key))
      return Problem{entry.at, path_ + ": " + in_quotes(entry.key) + " is not the name of a setting"};
    if (name == "user" || name == "database" || name == "replication" || name.rfind("_pq_.", 0) == 0) {
      return Problem{entry.at,
                     path_ + " must not hold " + in_quotes(entry.key) + ": it comes from the client"};
    }
    std::string text;
    if (const auto* string = std::get_if<std::string>(&entry.value.data)) {
      text = *string;
    } else if (const auto* integer = std::get_if<std::int64_t>(&entry.value.data)) {
      text = std::to_string(*integer);
    } else if (const auto* boolean = std::get_if<bool>(&entry.value.data)) {
      text = *boolean ? "on" : "off";
    } else {
      return Problem{entry.value.at,
                     path_ + "." + name + " must be a string, a whole number or true or false"};
    }
    if (!printable(text) || text.size() > kLongestText) {
      return Problem{entry.value.at, path_ + "." + name + " is too long or holds control characters"};
    }
    if (!out.emplace(entry.key, std::move(text)).second) {
      return Problem{entry.at, path_ + " names " + in_quotes(entry.key) + " twice"};
    }
    return std::nullopt;
  }

  const Key& key_;
  const std::string& path_;
  const Value& value_;
  const ResolveSecret& resolve_;
};

}  // namespace

std::optional<Problem> store(const Key& key, const std::string& path, Field field, const Value& value,
                             const ResolveSecret& resolve) {
  return std::visit([&](auto out) { return Store(key, path, value, resolve).into(out); }, field);
}

}  // namespace sidepool::conf
