// conf/reference.cpp -- the reference page of the configuration, made from the schema.
#include "conf/reference.h"

#include <algorithm>

#include "conf/diff.h"
#include "conf/schema.h"
#include "conf/value.h"

namespace sidepool::conf {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration reference

This page is generated from the schema in `conf/`; `reference_page` (a target of the build) prints it.

`sidepool --config sidepool.toml` reads one TOML file. Everything has a default, so the file may be as short as

```toml
[[upstream]]
instance = "my-project:us-central1:my-postgres"
```

`sidepool --config sidepool.toml --check-config` checks it, `--print-config` shows every key with its effective value.
An unknown key, a bad value or a contradiction is an error with its place in the file, and nothing is applied.

**Order.** Flags override environment variables, which override the file. Instances named by arguments or
`CSQL_PROXY_INSTANCE_CONNECTION_NAME` replace the list of upstreams; an `[[upstream]]` of the same instance lends them
its other keys.

**Times** are strings with units, `"30s"`, `"500ms"`, `"1m30s"`, or plain numbers of seconds.
**Sizes** are strings with `B`, `KiB`, `MiB` or `GiB`, `"64MiB"`, or plain numbers of bytes.
**Secrets** are strings, `{ env = "NAME" }` for an environment variable, or `{ file = "PATH" }` for a file (one line
break at its end is dropped).
**Arrays** of one string may be written as that string. An array or a table in `[upstream.pool]` replaces the one in
`[pool]`, they are not merged.

**Reload** (SIGHUP, or a change of the file or of a certificate it names) tells when a new value counts: *now*; for *new
connections*, of clients or servers, whichever the key is about; or after a *restart*, until which the old value stays.
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

std::string default_of(const Key& key, Field field) {
  if (!key.unset.empty()) return escaped(key.unset);
  const auto text = literal(key, field);
  return text ? "`" + *text + "`" : "none";
}

std::string accepted(const Key& key, Field field) {
  std::string out = type_of(key, field);
  if (!key.choices.empty()) {
    out.insert(0, "`").append("`");
    for (std::size_t at = 0; (at = out.find(", ", at)) != std::string::npos; at += 4)
      out.replace(at, 2, "`, `");
  }
  const std::string range = range_of(key, field);
  return range.empty() ? out : out.append(", ").append(range);
}

std::string flags_of(const Key& key) {
  return key.flag.empty() ? std::string{} : " Flag: `--" + std::string(key.flag) + "`.";
}

void section_page(std::string& out, const Section& section, void* here) {
  const std::string path(section.path);
  out.append("\n## ").append(section.repeated ? "[[" + path + "]]" : "[" + path + "]").append("\n\n");
  out.append(section.help).append("\n");
  if (section.path == "upstream.pool") return;  // the keys of [pool]
  out.append("\n| key | accepts | default | reload | meaning |\n|---|---|---|---|---|\n");
  for (const Key& key : section.keys) {
    const Field field = key.field(here);
    std::string help = escaped(key.help) + flags_of(key);
    out.append("| `").append(key.name).append("` | ").append(accepted(key, field)).append(" | ");
    out.append(default_of(key, field)).append(" | ").append(to_string(key.reload)).append(" | ");
    out.append(help).append(" |\n");
  }
  for (const Section* inner : section.tables) section_page(out, *inner, inner->inside(here));
}

}  // namespace

std::string reference_page() {
  std::string out(kIntroduction);
  Config config;
  Upstream upstream;
  User user;
  for (const Section* section : root_section().tables) {
    if (section == &upstream_section()) {
      section_page(out, *section, &upstream);
    } else if (section == &user_section()) {
      section_page(out, *section, &user);
    } else {
      section_page(out, *section, section->inside(&config));
    }
  }
  return out;
}

}  // namespace sidepool::conf
