// pool/broker_logins.cpp -- slots for logins that clients themselves bring: first, trial and pass-through.
#include <algorithm>

#include "pool/broker_core.h"

namespace sidepool::pool {

// kNone: the pool is gone or drains.
Index BrokerCore::line_of(const LoginFor& what) {
  if (const auto* first = std::get_if<FirstLogin>(&what)) {
    const auto identity = static_cast<std::uint64_t>(first->identity);
    const auto [at, added] = first_lines_.try_emplace(identity, kNone);
    if (added) {
      at->second = lines_.take();
      lines_[at->second] = LineRecord{};
      lines_[at->second].identity = identity;
    }
    return at->second;
  }
  const auto* trial = std::get_if<TrialLogin>(&what);
  const Index p = find_pool(trial != nullptr ? trial->pool : std::get<OwnLogin>(what).pool);
  if (p == kNone || pools_[p].draining) return kNone;
  return trial != nullptr ? pools_[p].trial : pools_[p].own;
}

void BrokerCore::drop_line_if_unused(Index l) {
  const LineRecord& line = lines_[l];
  if (line.kind != LineRecord::Kind::First || line.busy != 0 || !line.waiting.empty()) return;
  first_lines_.erase(line.identity);
  lines_.give_back(l);
}

void BrokerCore::look_again(Index l, Index p, Orders& orders) {
  LineRecord& line = lines_[l];
  while (!line.waiting.empty()) {
    const Index w = line.waiting.front();
    orders.list.push_back(LookAgain{waits_[w].waiter, pool_id(p)});
    line.waiting.erase(waits_, w);
    waits_[w].waiting = false;
    waits_.give_back(w);
  }
}

LoginSlot BrokerCore::acquire_login_slot(SessionId session, LoginFor what, Time now, Orders& orders) {
  advance(now);
  const Index l = line_of(what);
  if (l == kNone) {
    const auto* trial = std::get_if<TrialLogin>(&what);
    const PoolId pool = trial != nullptr ? trial->pool : std::get<OwnLogin>(what).pool;
    return Refused{find_pool(pool) == kNone ? Refused::Why::NoPool : Refused::Why::Draining};
  }
  const Index p = lines_[l].pool;
  const Index w = new_waiter(p, session);
  waits_[w].line = l;
  lines_[l].waiting.push_back(waits_, w);
  const Ticket ticket = waits_[w].waiter.ticket;
  const std::size_t before = orders.list.size();
  if (p == kNone) {
    refresh_line(l);
    dispatch(orders);
  } else {
    update_pool(p, orders);
  }
  // A grant to the caller itself is the answer, not an order.
  const auto mine = std::find_if(orders.list.begin() + static_cast<std::ptrdiff_t>(before), orders.list.end(),
                                 [ticket](const Order& order) {
                                   const auto* grant = std::get_if<GrantSlot>(&order);
                                   return grant != nullptr && grant->waiter.ticket == ticket;
                                 });
  if (mine == orders.list.end()) return Queued{ticket};
  const LoginGranted granted{std::get<GrantSlot>(*mine).server};
  orders.list.erase(mine);
  return granted;
}

// The login of server s is over, one way or the other. The caller refreshes.
void BrokerCore::finish_login(Index s) {
  ServerRecord& server = servers_[s];
  --opening_;
  --logins_;
  --lines_[server.line].busy;
  if (server.pool != kNone) --pools_[server.pool].logins;
  server.line = kNone;
}

bool BrokerCore::adopt(ServerId id, PoolId pool_name, std::uint64_t startup, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  const Index p = find_pool(pool_name);
  assert(s != kNone && servers_[s].state == State::Login);
  if (s == kNone || servers_[s].state != State::Login || p == kNone || pools_[p].draining) return false;
  ServerRecord& server = servers_[s];
  PoolRecord& pool = pools_[p];
  const bool first = server.pool == kNone;
  assert(first || server.pool == p);
  if (first ? pool.slots >= pool.limits.size : server.pool != p) return false;
  const Index l = server.line;
  finish_login(s);
  if (first) {
    server.pool = p;
    server.epoch = pool.epoch;
    ++pool.slots;
    look_again(l, p, orders);
    refresh_line(l);
    drop_line_if_unused(l);
  }
  pool.health.succeeded();
  server.state = State::Out;
  ++pool.out;
  server.group = group_of(p, startup);
  ++groups_[server.group].servers;
  join_age(s);
  update(server.group, orders);
  return true;
}

void BrokerCore::login_ended(ServerId id, bool peer_closed, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  assert(s != kNone && servers_[s].state == State::Login);
  if (s == kNone || servers_[s].state != State::Login) return;
  const Index p = servers_[s].pool;
  const Index l = servers_[s].line;
  finish_login(s);
  end(s, peer_closed);
  if (p != kNone) {
    update_pool(p, orders);
    return;
  }
  refresh_line(l);
  drop_line_if_unused(l);
  dispatch(orders);
}

}  // namespace sidepool::pool
