// conf/diff.cpp -- what a reload changes, and when.
#include "conf/diff.h"

#include <algorithm>
#include <utility>

#include "conf/validate.h"
#include "conf/value.h"

namespace sidepool::conf {
namespace {

class Planner {
 public:
  Planner(const Config& running, const Config& wanted) : running_(running), wanted_(wanted) {
    plan_.config = wanted;
  }

  ReloadPlan plan() {
    for (const Section* part : root_section().tables) {
      // [pool] acts through the upstreams only, and is compared there.
      if (part->repeated || part->path == "pool") continue;
      compare(*part, part->inside(&running_), part->inside(&plan_.config), std::string(part->path));
    }
    upstreams();
    users();
    if (!plan_.changes.empty()) plan_.refused = validate(plan_.config, Places{});
    return std::move(plan_);
  }

 private:
  static std::string shown(const Key& key, Field field) { return literal(key, field).value_or("not set"); }

  // Notes what differs, and takes back in `next` what needs a restart.
  void compare(const Section& section, void* running, void* next, const std::string& path) {
    for (const Key& key : section.keys) {
      const Field before = key.field(running);
      const Field after = key.field(next);
      if (equal(before, after)) continue;
      plan_.changes.push_back(
          {key.reload, path + "." + std::string(key.name), shown(key, before), shown(key, after)});
      if (key.reload == Reload::Restart) assign(after, before);
    }
    for (const Section* inner : section.tables) {
      compare(*inner, inner->inside(running), inner->inside(next), path + "." + std::string(inner->name));
    }
  }

  void upstreams() {
    std::vector<Upstream> kept;
    for (Upstream& upstream : running_.upstreams) {
      const std::string path = "upstream " + in_quotes(upstream.name);
      const auto same = [&upstream](const Upstream& other) { return other.name == upstream.name; };
      const auto match = std::find_if(wanted_.upstreams.begin(), wanted_.upstreams.end(), same);
      if (match == wanted_.upstreams.end()) {
        plan_.changes.push_back({Reload::Restart, path, "present", "absent"});
        kept.push_back(upstream);
        continue;
      }
      Upstream next = *match;
      compare(upstream_section(), &upstream, &next, path);
      // The opt-in belongs to the listeners, which stay; it has no key of its own.
      next.listeners = upstream.listeners;
      kept.push_back(std::move(next));
    }
    for (const Upstream& upstream : wanted_.upstreams) {
      const auto same = [&upstream](const Upstream& other) { return other.name == upstream.name; };
      if (std::any_of(running_.upstreams.begin(), running_.upstreams.end(), same)) continue;
      plan_.changes.push_back({Reload::Restart, "upstream " + in_quotes(upstream.name), "absent", "present"});
    }
    plan_.config.upstreams = std::move(kept);
  }

  static const User* find_user(const std::vector<User>& users, const User& like) {
    for (const User& user : users) {
      if (user.name == like.name && user.upstream == like.upstream) return &user;
    }
    return nullptr;
  }

  void users() {
    for (const User& user : running_.users) {
      const User* now = find_user(wanted_.users, user);
      if (now && *now == user) continue;
      plan_.changes.push_back(
          {Reload::NewConnections, "user " + in_quotes(user.name), "present", now ? "changed" : "absent"});
    }
    for (const User& user : wanted_.users) {
      if (find_user(running_.users, user)) continue;
      plan_.changes.push_back({Reload::NewConnections, "user " + in_quotes(user.name), "absent", "present"});
    }
  }

  Config running_;  // a copy: fields are reached through pointers that could write
  const Config& wanted_;
  ReloadPlan plan_;
};

}  // namespace

ReloadPlan plan_reload(const Config& running, const Config& wanted) {
  return Planner(running, wanted).plan();
}

std::string_view to_string(Reload when) {
  switch (when) {
    case Reload::Now:
      return "now";
    case Reload::NewConnections:
      return "new connections";
    case Reload::Restart:
      return "restart";
  }
  return {};
}

std::string to_string(const Change& change) {
  return change.key + ": " + change.from + " -> " + change.to + " (" + std::string(to_string(change.when)) +
         ")";
}

}  // namespace sidepool::conf
