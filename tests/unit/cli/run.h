// tests/unit/cli/run.h -- parse() with a made-up environment and files.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "src/cli/parse.h"

namespace sidepool::cli::test {

using Map = std::map<std::string, std::string>;

inline Inputs inputs(Map environment = {}, Map files = {}) {
  return {[environment](const std::string& name) -> std::optional<std::string> {
            const auto found = environment.find(name);
            return found == environment.end() ? std::nullopt : std::optional(found->second);
          },
          [files](const std::string& path) -> Result<std::string> {
            const auto found = files.find(path);
            if (found == files.end()) return fail(Errc::Config, "No such file or directory");
            return found->second;
          }};
}

// Words separated by single spaces.
inline std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < line.size();) {
    const auto end = std::min(line.find(' ', at), line.size());
    out.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

inline Outcome run(const std::string& line, Map environment = {}, Map files = {}) {
  return parse(words(line), inputs(std::move(environment), std::move(files)));
}

inline RunConfig good(const std::string& line, Map environment = {}, Map files = {}) {
  Outcome outcome = run(line, std::move(environment), std::move(files));
  if (auto* failure = std::get_if<Failure>(&outcome)) ADD_FAILURE() << line << "\n" << failure->text();
  auto* config = std::get_if<RunConfig>(&outcome);
  return config ? std::move(*config) : RunConfig{};
}

inline std::vector<std::string> errors(const std::string& line, Map environment = {}, Map files = {}) {
  const Outcome outcome = run(line, std::move(environment), std::move(files));
  const auto* failure = std::get_if<Failure>(&outcome);
  return failure ? failure->lines : std::vector<std::string>{};
}

// "127.0.0.1:5432 unix:/x/.s.PGSQL.5432", of all upstreams.
std::string listeners(const conf::Config& config);

}  // namespace sidepool::cli::test
