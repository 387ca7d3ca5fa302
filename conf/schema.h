// conf/schema.h -- one row per key of the configuration. The rows drive reading, hints for unknown keys,
// printing, the comparison at a reload and the reference page, so that these cannot disagree.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/config.h"

namespace sidepool::conf {

// When a changed value takes effect at a reload.
enum class Reload : std::uint8_t { Now, NewConnections, Restart };

// An enumeration: `at` is the enum object (all of ours have an 8 bit underlying type).
struct Choice {
  std::uint8_t* at;
};
struct ChoiceName {
  std::string_view name;
  std::uint8_t value = 0;
  std::string_view unavailable{};  // not empty: the name is known, but refused with this reason and remedy
};
// A number written in octal: a file mode.
struct Mode {
  std::uint32_t* at;
};

// A list of texts that are not names of settings; what they must look like is checked by validate().
struct Texts {
  std::vector<std::string>* at;
};

// Where a value lives inside a Config. The alternative is the key's type.
using Field =
    std::variant<bool*, std::uint32_t*, std::uint16_t*, Mode, Bytes*, Duration*, std::optional<Duration>*,
                 std::string*, Secret*, std::vector<std::string>*, Texts, std::map<std::string, std::string>*,
                 Choice, std::vector<Listener>*, std::vector<Host>*, std::optional<Address>*>;

// Of numbers, sizes and durations (in nanoseconds); inclusive.
struct Range {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::int64_t step = 1;  // the value is a multiple of it
};

struct Key {
  std::string_view name;
  Field (*field)(void* section);  // `section` points to the struct that the section's rows belong to
  Reload reload;
  std::string_view help;  // plain sentences, Markdown allowed
  Range range{};
  std::span<const ChoiceName> choices{};
  std::string_view unset{};  // for the reference page: what the default means when its value does not say it
  std::string_view flag{};   // of the command line, without the dashes
};

// A table of the file. `keys` are rows for one struct; `tables` are the tables inside it.
struct Section {
  std::string_view name;  // last part: "pool" of "upstream.pool"
  std::string_view path;  // "upstream.pool"
  std::string_view help;
  std::span<const Key> keys;
  std::span<const Section* const> tables{};
  void* (*inside)(void* parent) =
      nullptr;            // this section's struct inside its parent's; not for repeated ones
  bool repeated = false;  // [[name]]
};

// The whole file: a section without a name or keys of its own, whose struct is the Config.
const Section& root_section();
const Section& upstream_section();  // repeated; struct Upstream
const Section& user_section();      // repeated; struct User
std::span<const Key> server_keys();
std::span<const Key> pool_keys();

// The value, with the pointer for reading only.
inline Field field_of(const Key& key, const void* section) { return key.field(const_cast<void*>(section)); }

// Names from PgBouncer and the Auth Proxy that are called otherwise here: where to look.
struct ForeignName {
  std::string_view name;
  std::string_view here;
};
std::span<const ForeignName> foreign_names();

}  // namespace sidepool::conf
