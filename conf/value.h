// conf/value.h -- one value: from the document into its field, and from the field to TOML text. Private to
// conf.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "conf/diagnostic.h"
#include "conf/document.h"
#include "conf/schema.h"

namespace sidepool::conf {

// A secret that the file does not hold itself: { env = "NAME" } or { file = "PATH" }.
struct SecretSource {
  enum class From : std::uint8_t { Environment, File } from;
  std::string name;
};
struct ResolvedSecret {
  Secret secret{};
  std::string error{};  // not empty: the reason, without the secret
};
// Reads the environment or the file; given by the caller, because conf does no I/O. One line break at the end
// of a file is not part of the secret.
using ResolveSecret = std::function<ResolvedSecret(const SecretSource&)>;

struct Problem {
  Position at;
  std::string what;
};

// Checks `value` and stores it in `field`, which is `key`'s. On a problem the field is unchanged. `path` is
// the key as messages name it.
std::optional<Problem> store(const Key& key, const std::string& path, Field field, const Value& value,
                             const ResolveSecret& resolve);

// As it would stand in the file; nothing if the value is "not set". Secrets are masked.
std::optional<std::string> literal(const Key& key, Field field);

// True if both hold the same value. The fields are of the same key.
bool equal(Field a, Field b);
// Copies the value. The fields are of the same key.
void assign(Field to, Field from);

// What the reference page calls the type.
std::string type_of(const Key& key, Field field);
// "1 to 10000", "1ms to 8760h", …; empty if there is nothing to say.
std::string range_of(const Key& key, Field field);

// A TOML basic string.
std::string toml_string(std::string_view text);

}  // namespace sidepool::conf
