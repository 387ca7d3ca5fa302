// tests/unit/conf/load.h -- a configuration text all the way, as a program would load it.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "conf/read.h"
#include "conf/validate.h"

namespace sidepool::conf::test {

struct Loaded {
  Config config;
  std::vector<std::string> errors;
};

inline ResolvedSecret resolve(const SecretSource& source) {
  if (source.name == "missing") return {{}, "it is not set"};
  if (source.name == "empty") return {};
  return {Secret((source.from == SecretSource::From::File ? "file:" : "env:") + source.name), {}};
}

inline Loaded load(std::string_view text) {
  Draft draft = read_config(text, "f", resolve);
  Loaded out;
  if (draft.diagnostics.empty()) {
    complete(draft.config);
    draft.diagnostics = validate(draft.config, draft.places);
  }
  for (const Diagnostic& diagnostic : draft.diagnostics) out.errors.push_back(to_string(diagnostic));
  out.config = std::move(draft.config);
  return out;
}

}  // namespace sidepool::conf::test
