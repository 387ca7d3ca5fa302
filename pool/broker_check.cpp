// pool/broker_check.cpp -- the broker's invariants, recounted from its records.
#include <algorithm>

#include "pool/broker_core.h"

namespace sidepool::pool {
namespace {

struct Tally {
  std::uint32_t slots = 0, idle = 0, recalled = 0, out = 0, pinned = 0, opening = 0, logins = 0, closing = 0;
  std::uint32_t typing = 0, yielding = 0;
  void count(const ServerRecord& server) {
    using State = ServerRecord::State;
    ++slots;
    idle += server.state == State::Idle;
    recalled += server.state == State::Recalled;
    out += server.state == State::Out;
    opening += server.state == State::Opening;
    logins += server.state == State::Login;
    closing += server.state == State::Closing;
    pinned += server.pinned;
    typing += server.typing == ServerRecord::Typing::Yes && server.state == State::Login;
    yielding += server.typing == ServerRecord::Typing::Yielding && server.state == State::Login;
  }
};

}  // namespace

std::string BrokerCore::check_group(Index g) const {
  const GroupRecord& group = groups_[g];
  Tally tally;
  for (Index s = 0; s < servers_.size(); ++s)
    if (servers_[s].state != State::Free && servers_[s].group == g) tally.count(servers_[s]);
  if (tally.slots != group.servers || tally.idle != group.idle.size() || tally.opening != group.opening ||
      tally.recalled != group.recalled)
    return "group: counts differ from its servers";
  std::uint32_t idle = 0, waiting = 0;
  for (const auto& local : group.local) {
    idle += local.idle.size();
    waiting += local.waiting.size();
  }
  if (idle != group.idle.size() || waiting != group.waiting.size()) return "group: lists by worker differ";
  std::uint64_t last = 0;
  for (Index w = group.waiting.front(); w != kNone; w = waits_[w].in_queue.next) {
    if (waits_[w].group != g || waits_[w].order <= last) return "group: queue out of order";
    last = waits_[w].order;
  }
  Index first = group.waiting.front();
  for (std::uint32_t i = 0; i < group.covered && first != kNone; ++i) first = waits_[first].in_queue.next;
  if (first != group.first_unmet || group.covered > waiting)
    return "group: its first client without a server is another";
  const std::uint32_t coming = group.opening + group.recalled;
  if (group.unmet != (waiting > coming ? waiting - coming : 0) || group.covered != waiting - group.unmet)
    return "group: demand not refreshed";
  if (waiting > group.recalled && !group.idle.empty()) return "a client waits while a usable server is idle";
  return {};
}

std::string BrokerCore::check_pool(Index p) const {
  const PoolRecord& pool = pools_[p];
  Tally tally;
  for (Index s = 0; s < servers_.size(); ++s)
    if (servers_[s].state != State::Free && servers_[s].pool == p) tally.count(servers_[s]);
  if (tally.slots != pool.slots || tally.idle != pool.idle.size() || tally.recalled != pool.recalled ||
      tally.out != pool.out || tally.pinned != pool.pinned || tally.opening != pool.opening ||
      tally.logins != pool.logins || tally.closing != pool.closing)
    return "pool: counts differ from its servers";
  if (pool.age.size() != tally.idle + tally.recalled + tally.out) return "pool: age list is not its servers";
  std::uint32_t unmet = 0, waiting = 0;
  for (Index g = 0; g < groups_.size(); ++g) {
    const GroupRecord& group = groups_[g];
    if (group.pool != p || (group.servers == 0 && group.waiting.empty())) continue;
    if (std::string fault = check_group(g); !fault.empty()) return fault;
    unmet += group.unmet;
    waiting += group.waiting.size();
  }
  if (unmet != pool.unmet || waiting != pool.waiting.size()) return "pool: queue differs from its groups'";
  // Trial logins aside: when they cease to give way depends on the time only. Nor is it certain before a due
  // poll().
  const std::uint32_t demand = client_demand(pool) + own_demand(pool);
  const bool polled = !due_.contains(pools_, p) || due_.key(pools_, p) > now_;
  if (polled && demand != 0 && !pool.idle.empty() && pool.slots - pool.closing + demand > pool.limits.size)
    return "pool: somebody needs a slot while an idle server nobody can use holds one";
  const Time due = earliest_due(pool);
  if (due != Time::max() && (!due_.contains(pools_, p) || due_.key(pools_, p) > due))
    return "pool: its deadline is not armed";
  return {};
}

std::string BrokerCore::check_totals() const {
  Tally tally;
  for (Index s = 0; s < servers_.size(); ++s)
    if (servers_[s].state != State::Free) tally.count(servers_[s]);
  if (tally.slots != slots_ || tally.closing != closing_ || tally.opening + tally.logins != opening_ ||
      tally.logins != logins_ || tally.idle != idle_.size() || tally.slots != servers_.used() ||
      tally.typing != typing_.size() || tally.yielding != yielding_)
    return "broker: counts differ from its servers";
  std::uint32_t clients = 0, logins = 0;
  for (Index p = 0; p < pools_.size(); ++p)
    if (pools_[p].live) {
      clients += pools_[p].client_want;
      logins += pools_[p].login_want;
    }
  for (const auto& [identity, l] : first_lines_) {
    logins += lines_[l].want;
    if (lines_[l].busy == 0 && lines_[l].waiting.empty()) return "broker: a line that nobody is in";
    if (lines_[l].busy > 1) return "broker: two first logins of one identity";
  }
  if (clients != client_want_ || logins != login_want_) return "broker: wants differ from its pools'";
  return {};
}

// Nobody waits for what could be given.
std::string BrokerCore::check_progress() const {
  const bool ready = !hungry_.empty() || (!ready_.empty() && logins_ < login_cap());
  if (opening_ >= max_opening() || !(ready || !underfilled_.empty())) return {};
  if (has_slot()) return "broker: a slot is free while somebody could use it";
  if (ready && !idle_.empty() && slots_ - closing_ + usable_want(client_want_) > limits_.max_servers)
    return "broker: an idle server holds the slot somebody waits for";
  return {};
}

std::string BrokerCore::check(Time now) const {
  if (now < now_) return "checked before its last event";
  if (std::string fault = check_totals(); !fault.empty()) return fault;
  for (Index p = 0; p < pools_.size(); ++p)
    if (pools_[p].live)
      if (std::string fault = check_pool(p); !fault.empty()) return fault;
  return check_progress();
}

}  // namespace sidepool::pool
