// conf/diff.h -- what a reload changes, and when.
#pragma once
#include <string>
#include <vector>

#include "conf/config.h"
#include "conf/diagnostic.h"
#include "conf/schema.h"

namespace sidepool::conf {

struct Change {
  Reload when;
  std::string key;   // "server.max_client_conn", "upstream \"main\".pool.size", "upstream \"new\""
  std::string from;  // as TOML, secrets masked; "not set", "absent"
  std::string to;
};

struct ReloadPlan {
  // Empty: nothing differs. Those that need a restart are in it too, for the log.
  std::vector<Change> changes{};
  // The configuration to serve from now on: the wanted one, with every key that needs a restart as it is
  // running.
  Config config{};
  // Not empty: the mixture breaks rules that neither configuration breaks alone, so nothing can be applied
  // without a restart. `config` must not be used then.
  std::vector<Diagnostic> refused{};
};

// Both are completed and valid. Upstreams are told apart by their names.
ReloadPlan plan_reload(const Config& running, const Config& wanted);

// "pool.size: 10 -> 20 (now)"
std::string to_string(const Change& change);
std::string_view to_string(Reload when);

}  // namespace sidepool::conf
