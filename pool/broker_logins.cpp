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

LoginSlot BrokerCore::acquire_login_slot(SessionId session, LoginFor what, Time now, Orders& orders,
                                         LoginRank rank) {
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
  waits_[w].rank = rank;
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
  if (server.typing == ServerRecord::Typing::Yes) typing_.erase(servers_, s);
  if (server.typing == ServerRecord::Typing::Yielding) {
    --yielding_;
    --lines_[server.line].yielding;
  }
  server.typing = ServerRecord::Typing::No;
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

// ---- Clients that are asked for a password: their logins hold nothing that others need.

void BrokerCore::login_waits(ServerId id, Time now, Orders& orders) {
  advance(now);
  const Index s = find_server(id);
  const bool login = s != kNone && servers_[s].state == State::Login;
  assert(login && servers_[s].typing == ServerRecord::Typing::No);
  if (!login || servers_[s].typing != ServerRecord::Typing::No) return;
  servers_[s].typing = ServerRecord::Typing::Yes;
  servers_[s].since = now_;
  typing_.push_back(servers_, s);
  announce(typing_due(), orders);
  make_way(orders);
}

bool BrokerCore::login_resumed(ServerId id, Time now) {
  advance(now);
  const Index s = find_server(id);
  if (s == kNone || servers_[s].state != State::Login || servers_[s].typing != ServerRecord::Typing::Yes)
    return false;
  typing_.erase(servers_, s);
  servers_[s].typing = ServerRecord::Typing::No;
  return true;
}

// Whether somebody could go on if this login did not hold its turn, its slot or its share of max_opening.
bool BrokerCore::in_the_way(const ServerRecord& login) const {
  const LineRecord& line = lines_[login.line];
  if (line.waiting.size() > line.yielding) return true;
  if (login.pool != kNone) {
    const PoolRecord& pool = pools_[login.pool];
    const std::uint32_t demand = client_demand(pool) + own_demand(pool);
    if (pool.draining ||
        (demand != 0 && pool.slots - pool.closing - line.yielding + demand > pool.limits.size))
      return true;
  }
  // What dispatch() has left; those who make way already serve some of it.
  const std::uint32_t wanted = client_want_ + login_want_;
  if (wanted <= yielding_) return false;
  const std::uint32_t logins = login_want_ == 0 ? 0 : logins_ + login_want_ - yielding_;
  return opening_ + wanted - yielding_ > max_opening() || logins > login_cap() ||
         (limits_.max_servers != 0 && slots_ - closing_ + wanted - yielding_ > limits_.max_servers);
}

void BrokerCore::make_way(Orders& orders) {
  for (Index s = typing_.front(); s != kNone && now_ - servers_[s].since >= limits_.typing;) {
    ServerRecord& login = servers_[s];
    const Index next = login.by_typing.next;
    if (in_the_way(login)) {
      typing_.erase(servers_, s);
      login.typing = ServerRecord::Typing::Yielding;
      ++yielding_;
      ++lines_[login.line].yielding;
      orders.list.push_back(YieldLogin{login.session, server_id(s)});
    }
    s = next;
  }
}

// When the next of them has typed long enough for make_way(); Time::max(): none is left that has not.
Time BrokerCore::typing_due() const {
  for (Index s = typing_.front(); s != kNone; s = servers_[s].by_typing.next)
    if (const Time due = servers_[s].since + limits_.typing; due > now_) return due;
  return Time::max();
}

}  // namespace sidepool::pool
