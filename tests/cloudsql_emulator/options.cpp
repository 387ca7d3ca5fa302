// tests/cloudsql_emulator/options.cpp -- the only file that includes CLI11.
#include "tests/cloudsql_emulator/options.h"

#include <CLI/CLI.hpp>
#include <optional>

namespace sidepool::emulator {
namespace {

std::optional<std::pair<std::string, std::string>> cut(const std::string& text, char separator) {
  std::size_t at = text.find(separator);
  if (at == std::string::npos) return std::nullopt;
  return std::pair{text.substr(0, at), text.substr(at + 1)};
}

Status apply_item(Json& settings, const std::string& item) {
  auto pair = cut(item, '=');
  if (!pair) {
    settings["address"] = item;
    return {};
  }
  const auto& [key, value] = *pair;
  if (key == "private") {
    settings["private_address"] = value;
  } else if (key == "dns") {
    settings["dns_name"] = value;
  } else if (key == "psc") {
    settings["psc_enabled"] = true;
    settings["dns_names"].push(Json::Object{{"name", value}});
  } else if (key == "listen") {
    settings["listen"].push(value);
  } else if (key == "mode" && (value == "cas" || value == "legacy")) {
    settings["cas"] = value == "cas";
  } else if (key == "version") {
    settings["database_version"] = value;
  } else if (key == "mdx" && value == "off") {
    settings["mdx"] = Json::Array{};
  } else if (key == "lifetime") {
    settings["cert_lifetime_s"] = std::atof(value.c_str());
  } else {
    return fail(Errc::Config, "--instance does not know \"" + item + "\"");
  }
  return {};
}

// NAME[=ADDRESS][,key=value]…
Result<std::pair<std::string, Json>> parse_instance(const std::string& text) {
  auto pair = cut(text, '=');
  std::pair<std::string, Json> out{pair ? pair->first : text, Json::Object{}};
  std::string rest = pair ? pair->second : "127.0.0.1";
  while (!rest.empty()) {
    std::string item = rest.substr(0, rest.find(','));
    rest.erase(0, item.size() + 1);
    if (Status status = apply_item(out.second, item); !status) return tl::unexpected<Error>(status.error());
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> parse_pairs(const std::vector<std::string>& texts,
                                                                     const std::string& flag) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& text : texts) {
    auto pair = cut(text, '=');
    if (!pair)
      return fail(Errc::Config, flag + " wants two parts with '=' between them, not \"" + text + "\"");
    out.push_back(*pair);
  }
  return out;
}

}  // namespace

Result<Options> parse_options(int argc, const char* const* argv) {
  Options out;
  std::vector<std::string> instances;
  std::vector<std::string> tokens;
  std::vector<std::string> service_accounts;
  CLI::App app{
      "Cloud SQL for PostgreSQL, emulated: SQL Admin API, OAuth, metadata server and the proxy on 3307."};
  app.add_option("--api-port,--port", out.api_port, "port of the HTTP side; 0 lets the kernel choose");
  app.add_option("--api-address", out.api_address, "address of the HTTP side");
  app.add_option("--side-port", out.side_port, "port of the TLS side (Google's clients know only 3307)");
  app.add_option("--postgres", out.postgres,
                 "PostgreSQL that asks for passwords: HOST:PORT or unix:/folder:PORT");
  app.add_option(
      "--postgres-trust", out.postgres_trust,
      "the same PostgreSQL where it trusts the emulator, for IAM logins; without it --postgres is used");
  app.add_option("--instance", instances,
                 "project:region:instance=ADDRESS[,private=ADDRESS][,psc=NAME][,dns=NAME][,listen=ADDRESS]"
                 "[,mode=cas][,version=POSTGRES_15][,mdx=off][,lifetime=SECONDS]");
  app.add_option("--principal", out.principal, "service account of the metadata server");
  app.add_option("--user", out.users, "further principal (its role logs in by IAM)");
  app.add_option("--token", tokens, "TOKEN=PRINCIPAL: a token with all scopes that never expires");
  app.add_option("--service-account", service_accounts,
                 "EMAIL=FILE: makes a key and writes the credentials file");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out.show_help = true;
    out.help = app.help();
    return out;
  } catch (const CLI::ParseError& e) {
    return fail(Errc::Config, e.what());
  }
  for (const std::string& text : instances) {
    auto parsed = parse_instance(text);
    if (!parsed) return tl::unexpected<Error>(parsed.error());
    out.instances.push_back(*parsed);
  }
  auto token_pairs = parse_pairs(tokens, "--token");
  auto account_pairs = parse_pairs(service_accounts, "--service-account");
  if (!token_pairs) return tl::unexpected<Error>(token_pairs.error());
  if (!account_pairs) return tl::unexpected<Error>(account_pairs.error());
  out.tokens = *token_pairs;
  out.service_accounts = *account_pairs;
  return out;
}

}  // namespace sidepool::emulator
