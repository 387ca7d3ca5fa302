// src/cli/parse.cpp -- command line, environment and configuration file to one conf::Config.
#include "src/cli/parse.h"

#include <utility>

#include "conf/parse.h"
#include "conf/print.h"
#include "conf/read.h"
#include "conf/schema.h"
#include "conf/validate.h"
#include "src/cli/arguments.h"
#include "src/cli/assemble.h"
#include "src/cli/command.h"
#include "src/cli/flags.h"
#include "src/cli/flat_file.h"
#include "src/cli/instance.h"
#include "src/cli/options.h"

namespace sidepool::cli {
namespace {

using conf::in_quotes;

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

conf::ResolveSecret secret_resolver(const Inputs& inputs) {
  return [&inputs](const conf::SecretSource& source) -> conf::ResolvedSecret {
    if (source.from == conf::SecretSource::From::Environment) {
      auto value = inputs.environment(source.name);
      if (!value) return {{}, "it is not set"};
      conf::Secret secret(*value);
      conf::wipe(value->data(), value->size());
      return {std::move(secret), {}};
    }
    auto content = inputs.read_file(source.name);
    if (!content) return {{}, content.error().what};
    std::string_view text = *content;
    if (ends_with(text, "\n")) text.remove_suffix(1);
    if (ends_with(text, "\r")) text.remove_suffix(1);
    conf::Secret secret(text);
    conf::wipe(content->data(), content->size());
    return {std::move(secret), {}};
  };
}

// --config-file is the Auth Proxy's; our own format has tables of known names.
bool is_own_format(std::string_view text, const std::string& path) {
  if (!ends_with(path, ".toml")) return false;
  const auto parsed = conf::parse_toml(text, path);
  const auto* table = std::get_if<conf::Table>(&parsed);
  if (!table) return false;
  for (const conf::Section* section : conf::root_section().tables) {
    const conf::Value* value = conf::find(*table, section->name);
    if (value && (std::holds_alternative<conf::Table>(value->data) ||
                  std::holds_alternative<conf::Array>(value->data)))
      return true;
  }
  return false;
}

// Empty without --config-file.
FlatFile read_flat(const std::optional<std::string>& path, const Inputs& inputs,
                   std::vector<std::string>& errors) {
  if (!path) return {};
  if (std::string why = bad_ending(*path); !why.empty()) {
    errors.push_back(std::move(why));
    return {};
  }
  auto text = inputs.read_file(*path);
  if (!text) {
    // Go's words: lower case behind the name.
    std::string why = text.error().what;
    if (!why.empty() && why.front() >= 'A' && why.front() <= 'Z')
      why.front() = static_cast<char>(why.front() - 'A' + 'a');
    errors.push_back("failed to load configuration from " + *path + ": open " + *path + ": " + why);
    return {};
  }
  if (is_own_format(*text, *path)) {
    errors.push_back(*path + " is in sidepool's own format, whose flag is --config: write --config " + *path);
    return {};
  }
  auto read = read_flat_file(*path, *text);
  conf::wipe(text->data(), text->size());
  if (auto* lines = std::get_if<std::vector<std::string>>(&read)) {
    errors.insert(errors.end(), lines->begin(), lines->end());
    return {};
  }
  return std::get<FlatFile>(std::move(read));
}

void read_file(const std::string& path, const Inputs& inputs, Assembly& assembly) {
  for (const std::string_view end : {".yaml", ".yml", ".json"}) {
    if (!ends_with(path, end)) continue;
    assembly.errors.push_back("--config takes sidepool's own TOML format, not " + in_quotes(path) +
                              ": the flag of the Auth Proxy's files is --config-file, write --config-file " +
                              path);
    return;
  }
  auto text = inputs.read_file(path);
  if (!text) {
    assembly.errors.push_back("failed to load configuration from " + path + ": " + text.error().what);
    return;
  }
  conf::Draft draft = conf::read_config(*text, path, secret_resolver(inputs));
  conf::wipe(text->data(), text->size());
  for (const conf::Diagnostic& diagnostic : draft.diagnostics)
    assembly.errors.push_back(to_string(diagnostic));
  assembly.config = std::move(draft.config);
  assembly.places = std::move(draft.places);
}

std::vector<InstanceArgument> read_instances(const std::vector<std::string>& texts, Assembly& assembly) {
  std::vector<InstanceArgument> instances;
  for (const std::string& text : texts) {
    auto read = parse_instance(text);
    if (auto* error = std::get_if<std::string>(&read)) {
      assembly.errors.push_back(std::move(*error));
      continue;
    }
    instances.push_back(std::get<InstanceArgument>(std::move(read)));
    for (const std::string& name : instances.back().ignored) {
      assembly.notes.push_back(
          {true, "[" + instances.back().instance + "] ignoring the unknown query param " + in_quotes(name)});
    }
  }
  return instances;
}

// Under the Auth Proxy's name the version says whose it is: scripts compare it with Google's.
std::string version_text(const std::string& program) {
  const bool proxy = program != "sidepool";
  return program + " version " SIDEPOOL_VERSION + (proxy ? "+sidepool" : "") + "\n";
}

// The whole way once the arguments have been cut; every error ends up in the assembly.
void assemble(const Options& options, const std::vector<std::string>& texts, const Inputs& inputs,
              Assembly& assembly) {
  if (auto rule = broken_rule(options, !texts.empty(), options.config.has_value())) {
    assembly.errors.push_back(*std::move(rule));
    return;
  }
  if (options.config) read_file(*options.config, inputs, assembly);
  const std::vector<InstanceArgument> instances = read_instances(texts, assembly);
  if (!assembly.errors.empty()) return;
  lay_over(options, instances, assembly);
  if (!assembly.errors.empty()) return;
  conf::complete(assembly.config);
  for (const conf::Diagnostic& diagnostic : conf::validate(assembly.config, assembly.places)) {
    assembly.errors.push_back(to_string(diagnostic));
  }
}

}  // namespace

std::string Failure::text() const {
  std::string out;
  for (const std::string& line : lines) out.append("Error: ").append(line).append("\n");
  return out.append(usage_text(program)).append("Run '" + program + " --help' for all flags.\n");
}

Outcome parse(const std::vector<std::string>& arguments, const Inputs& inputs, const std::string& program) {
  Arguments cut = cut_arguments(arguments, flags());
  if (cut.before_dashes > 0 && is_command(cut.positionals.front())) {
    return parse_command(program, cut.positionals.front(), arguments);
  }
  const bool check = cut.before_dashes > 0 && cut.positionals.front() == "check";
  if (check) cut.positionals.erase(cut.positionals.begin());
  std::vector<std::string> errors = std::move(cut.errors);
  // Flags are read before --help is heeded, everything else after it, as in the original.
  if (cut.flags.count("help") != 0 || cut.flags.count("version") != 0) {
    const Inputs nothing{[](const std::string&) { return std::optional<std::string>{}; }, inputs.read_file};
    read_options(cut, nothing, {}, errors);
    if (!errors.empty()) return Failure{std::move(errors), 1, program};
    return PrintAndExit{
        cut.flags.count("help") != 0 ? help_text(program, check ? "check" : "") : version_text(program), 0};
  }
  const auto flat_path = flat_file_path(cut, inputs);
  const FlatFile flat = read_flat(flat_path, inputs, errors);
  const Options options = read_options(cut, inputs, flat, errors);
  if (!errors.empty()) return Failure{std::move(errors), 1, program};

  Assembly assembly;
  const auto texts = instance_texts(cut, inputs, flat, assembly.notes);
  assemble(options, texts, inputs, assembly);
  if (!assembly.errors.empty()) return Failure{std::move(assembly.errors), 1, program};
  if (options.print_config) return PrintAndExit{conf::print_config(assembly.config), 0};
  if (options.check_config) return PrintAndExit{"the configuration is valid\n", 0};
  Invocation invocation{arguments, {}};
  for (const auto& path : {options.config, flat_path}) {
    if (path) invocation.files.push_back(*path);
  }
  return RunConfig{std::move(assembly.config), check, std::move(assembly.notes), std::move(invocation)};
}

Outcome parse(int argc, const char* const* argv, const Inputs& inputs) {
  std::string_view called = argc > 0 ? argv[0] : "";
  called.remove_prefix(called.rfind('/') + 1);  // all of it if there is none
  const std::string program = called == "cloud-sql-proxy" ? "cloud-sql-proxy" : "sidepool";
  return parse(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), inputs, program);
}

}  // namespace sidepool::cli
