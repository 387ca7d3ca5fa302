// conf/print.cpp -- a Config as TOML text.
#include "conf/print.h"

#include "conf/address.h"
#include "conf/schema.h"
#include "conf/value.h"

namespace sidepool::conf {
namespace {

void print_key(std::string& out, const Key& key, Field field) {
  const auto text = literal(key, field);
  if (!text) {
    out.append("# ").append(key.name).append(" is not set\n");
    return;
  }
  out.append(key.name).append(" = ").append(*text);
  if (std::holds_alternative<Secret*>(field)) out.append("  # masked");
  out.append("\n");
}

void print_keys(std::string& out, const Section& section, const void* here) {
  for (const Key& key : section.keys) print_key(out, key, field_of(key, here));
}

// [upstream.pool] holds only what differs from [pool].
void print_pool(std::string& out, const Section& section, const PoolConfig& own, const PoolConfig& base) {
  std::string keys;
  for (const Key& key : section.keys) {
    const Field field = field_of(key, &own);
    if (equal(field, field_of(key, &base))) continue;
    // A list or table that [pool] fills and this upstream empties has no literal of "not set".
    if (literal(key, field)) {
      print_key(keys, key, field);
    } else {
      const bool table = std::holds_alternative<std::map<std::string, std::string>*>(field);
      keys.append(key.name).append(table ? " = {}\n" : " = []\n");
    }
  }
  if (!keys.empty()) out.append("\n[").append(section.path).append("]\n").append(keys);
}

void print_upstream(std::string& out, const Upstream& upstream, const PoolConfig& base) {
  const Section& section = upstream_section();
  out.append("\n[[upstream]]\n");
  // What --address opts in to, allow_remote says in a file.
  Upstream shown = upstream;
  for (const Listener& listener : upstream.listeners) {
    if (listener.remote_opt_in == RemoteOptIn::FlagOrEnv && !is_loopback(listener.address))
      shown.allow_remote = true;
  }
  print_keys(out, section, &shown);
  for (const Section* inner : section.tables) {
    const void* here = inner->inside(const_cast<Upstream*>(&upstream));
    if (here == &upstream.pool) {
      print_pool(out, *inner, upstream.pool, base);
    } else if (here != &upstream.tls || !upstream.is_cloudsql()) {
      out.append("\n[").append(inner->path).append("]\n");
      print_keys(out, *inner, here);
    }
  }
}

}  // namespace

std::string print_config(const Config& config) {
  std::string out;
  for (const Section* section : root_section().tables) {
    if (section == &upstream_section()) {
      for (const Upstream& upstream : config.upstreams) print_upstream(out, upstream, config.pool);
    } else if (section == &user_section()) {
      for (const User& user : config.users) {
        out.append("\n[[user]]\n");
        print_keys(out, *section, &user);
      }
    } else {
      out.append(out.empty() ? "[" : "\n[").append(section->path).append("]\n");
      print_keys(out, *section, section->inside(const_cast<Config*>(&config)));
    }
  }
  return out;
}

}  // namespace sidepool::conf
