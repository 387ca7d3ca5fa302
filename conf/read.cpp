// conf/read.cpp -- a document to a Config, driven by the schema; every problem is collected.
#include "conf/read.h"

#include <algorithm>
#include <utility>

#include "conf/address.h"
#include "conf/parse.h"
#include "conf/schema.h"

namespace sidepool::conf {
namespace {

class Reader {
 public:
  Reader(std::string file, const ResolveSecret& resolve) : file_(std::move(file)), resolve_(resolve) {
    draft_.places = Places(file_);
  }

  Draft read(const Table& file) {
    if (flat_auth_proxy_file(file)) return std::move(draft_);
    const Section& root = root_section();
    unknown_keys(root, "", file);
    // [upstream.pool] starts from [pool], so [[upstream]] comes last, wherever it stands.
    for (const Section* section : root.tables) {
      if (!section->repeated) table(*section, file, &draft_.config, "");
    }
    repeated(user_section(), file, draft_.config.users);
    repeated(upstream_section(), file, draft_.config.upstreams);
    std::stable_sort(draft_.diagnostics.begin(), draft_.diagnostics.end(),
                     [](const Diagnostic& a, const Diagnostic& b) { return a.at < b.at; });
    return std::move(draft_);
  }

  Draft fail(Diagnostic diagnostic) {
    draft_.diagnostics.push_back(std::move(diagnostic));
    return std::move(draft_);
  }

 private:
  void complain(Position at, std::string what) { draft_.diagnostics.push_back({file_, at, std::move(what)}); }

  // A table `section` of `parent`, if it is there; `prefix` is the parent's path with a dot.
  void table(const Section& section, const Table& parent, void* parent_struct, const std::string& prefix) {
    const Value* value = find(parent, section.name);
    if (!value) return;
    const std::string path = prefix + std::string(section.name);
    const auto* entries = std::get_if<Table>(&value->data);
    if (!entries) {
      complain(value->at, path + " must be a table, [" + std::string(section.path) + "], not " +
                              std::string(type_name(*value)));
      return;
    }
    draft_.places.set(path, value->at);
    contents(section, *entries, section.inside(parent_struct), path);
  }

  void contents(const Section& section, const Table& entries, void* here, const std::string& path) {
    for (const Key& key : section.keys) {
      const Value* value = find(entries, key.name);
      if (!value) continue;
      const std::string key_path = path + "." + std::string(key.name);
      draft_.places.set(key_path, value->at);
      const std::string shown = std::string(section.path) + "." + std::string(key.name);
      if (auto problem = store(key, shown, key.field(here), *value, resolve_)) {
        complain(problem->at, std::move(problem->what));
      }
    }
    for (const Section* inner : section.tables) table(*inner, entries, here, path + ".");
    unknown_keys(section, std::string(section.path), entries);
  }

  void start(Upstream& upstream) const { upstream.pool = draft_.config.pool; }
  void start(User&) const {}

  template <class T>
  void repeated(const Section& section, const Table& file, std::vector<T>& out) {
    const Value* value = find(file, section.name);
    if (!value) return;
    const auto* array = std::get_if<Array>(&value->data);
    const bool tables = array && std::all_of(array->begin(), array->end(), [](const Value& item) {
                          return std::holds_alternative<Table>(item.data);
                        });
    if (!tables) {
      complain(value->at,
               "write [[" + std::string(section.name) + "]] with two brackets: there may be several");
      return;
    }
    for (const Value& item : *array) {
      const std::string path = std::string(section.name) + "[" + std::to_string(out.size()) + "]";
      draft_.places.set(path, item.at);
      start(out.emplace_back());
      contents(section, std::get<Table>(item.data), &out.back(), path);
    }
  }

  void unknown_keys(const Section& section, const std::string& path, const Table& entries) {
    for (const Entry& entry : entries) {
      const auto known = [&entry](const auto& k) { return k.name == entry.key; };
      const bool is_key = std::any_of(section.keys.begin(), section.keys.end(), known);
      const bool is_table = std::any_of(section.tables.begin(), section.tables.end(),
                                        [&known](const Section* s) { return known(*s); });
      if (is_key || is_table) continue;
      const std::string where = path.empty() ? "" : " in [" + path + "]";
      complain(entry.at, "unknown " + std::string(path.empty() ? "section or key " : "key ") +
                             in_quotes(entry.key) + where + hint(section, entry.key));
    }
  }

  // What the writer probably meant: the same name in another section, a name from PgBouncer or the Auth
  // Proxy, the nearest name here, the nearest name anywhere.
  std::string hint(const Section& section, const std::string& key) const {
    for (const Section* other : {&section, &root_section(), &upstream_section()}) {
      if (const Section* holder = holder_of(*other, key)) {
        const std::string path(holder->path);
        return ": " + key + " belongs in " + (holder->repeated ? "[[" + path + "]]" : "[" + path + "]");
      }
    }
    std::string name = key;
    std::replace(name.begin(), name.end(), '-', '_');
    for (const ForeignName& foreign : foreign_names()) {
      if (foreign.name == name) return ": use " + std::string(foreign.here);
    }
    std::vector<std::string_view> candidates;
    for (const Key& k : section.keys) candidates.push_back(k.name);
    for (const Section* inner : section.tables) candidates.push_back(inner->name);
    if (const auto guess = nearest(key, candidates)) return "; did you mean " + in_quotes(*guess) + "?";
    for (const Section* other : root_section().tables) {
      std::vector<std::string_view> names;
      for (const Key& k : other->keys) names.push_back(k.name);
      if (const auto guess = nearest(key, names)) {
        const std::string name_of_table(other->path);
        return "; did you mean " + in_quotes(*guess) + " in " +
               (other->repeated ? "[[" + name_of_table + "]]?" : "[" + name_of_table + "]?");
      }
    }
    return {};
  }

  static const Section* holder_of(const Section& within, const std::string& key) {
    for (const Section* section : within.tables) {
      for (const Key& k : section->keys) {
        if (k.name == key) return section;
      }
    }
    return nullptr;
  }

  // The Auth Proxy's own file format has flag names at the top level and no tables.
  bool flat_auth_proxy_file(const Table& file) {
    for (const Entry& entry : file) {
      std::string name = entry.key;
      std::replace(name.begin(), name.end(), '_', '-');
      const bool instance = name.rfind("instance-connection-name", 0) == 0;
      const bool scalar = !std::holds_alternative<Table>(entry.value.data) &&
                          !std::holds_alternative<Array>(entry.value.data);
      const std::vector<std::string_view> flags = {"port",
                                                   "address",
                                                   "unix-socket",
                                                   "auto-iam-authn",
                                                   "private-ip",
                                                   "credentials-file",
                                                   "token",
                                                   "login-token",
                                                   "structured-logs",
                                                   "health-check",
                                                   "prometheus",
                                                   "http-port",
                                                   "http-address",
                                                   "admin-port",
                                                   "quitquitquit",
                                                   "max-sigterm-delay",
                                                   "exit-zero-on-sigterm",
                                                   "psc",
                                                   "quiet",
                                                   "sqladmin-api-endpoint",
                                                   "max-connections",
                                                   "debug-logs"};
      if (!scalar || !(instance || std::find(flags.begin(), flags.end(), name) != flags.end())) continue;
      complain(
          entry.at,
          in_quotes(entry.key) +
              " at the top level belongs to the Auth Proxy's flat format, whose flag is --config-file: write "
              "--config-file " +
              file_ + ", or use sidepool's own format");
      return true;
    }
    return false;
  }

  std::string file_;
  const ResolveSecret& resolve_;
  Draft draft_;
};

}  // namespace

Draft read_config(std::string_view text, const std::string& file, const ResolveSecret& resolve) {
  Reader reader(file, resolve);
  auto parsed = parse_toml(text, file);
  if (auto* diagnostic = std::get_if<Diagnostic>(&parsed)) return reader.fail(std::move(*diagnostic));
  return reader.read(std::get<Table>(parsed));
}

}  // namespace sidepool::conf
