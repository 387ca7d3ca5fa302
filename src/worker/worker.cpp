// src/worker/worker.cpp -- the thread, its mailbox, its clients, and the orders of the broker.
#include "src/worker/worker.h"

#include <algorithm>

#include "src/base/log.h"
#include "src/worker/cancel.h"
#include "src/worker/client.h"
#include "src/worker/dial_result.h"
#include "src/worker/login.h"
#include "src/worker/opener.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

namespace {
constexpr std::size_t kScratch = 65536, kAside = 16384;
// Slots are numbered in the cancel key.
constexpr std::uint32_t kMostClients = 1U << CancelKey::kSlotBits;

// Whether servers opened under `old` are not what this upstream's would be now.
bool servers_differ(const conf::Config& old, const conf::Upstream& now) {
  for (const auto& u : old.upstreams) {
    if (u.name != now.name) continue;
    return u.hosts != now.hosts || u.tls != now.tls ||
           u.pool.startup_parameters != now.pool.startup_parameters;
  }
  return false;
}
}  // namespace

bool Shared::forget_unused_pool() {
  return std::any_of(upstreams.begin(), upstreams.end(),
                     [this](const auto& upstream) { return upstream->forget_unused_pool(pools); });
}

Worker::Worker(std::uint16_t number, Shared& shared, std::shared_ptr<const conf::Config> config,
               std::unique_ptr<io::Loop> loop)
    : number_(number),
      shared_(shared),
      config_(std::move(config)),
      loop_(std::move(loop)),
      statements_(shared.statement_token, static_cast<pool::WorkerId>(number), 0),
      scratch_(kScratch),
      aside_(kAside),
      clients_(kMostClients),
      guess_timer_([](TimerNode& n) noexcept { owner_of<&Worker::guess_timer_>(n).let_guesses_go(); }) {
  use_config();
  loop_->on_wake(this, [](void* self) noexcept { static_cast<Worker*>(self)->on_wake(); });
}

Worker::~Worker() {
  ++depth_;  // nothing is carried out any more
  clients_.for_each([this](auto key, Client&) { clients_.erase(key); });
  upstreams_.clear();
  openers_.clear();
  cancels_.clear();
  buried_.clear();
}

void Worker::start() {
  thread_ = std::thread([this] { loop_->run(); });
}
void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::post(Message&& m) {
  if (mailbox_.post(std::move(m)) == Posted::Wake) loop_->wake();
}

void Worker::use_config() {
  const auto workers = std::max<std::size_t>(1, shared_.workers.size());
  statements_.set_memory(static_cast<std::size_t>(config_->server.statement_memory) / workers);
  upstreams_.resize(shared_.upstreams.size());
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    auto& local = upstreams_[i];
    local.shared = shared_.upstreams[i].get();
    for (const auto& u : config_->upstreams) {
      if (u.name == local.shared->name) local.conf = &u;
    }
    local.options = std::make_shared<const pool::SessionOptions>(options_of(local.conf->pool));
  }
}

void Worker::on_wake() noexcept {
  mailbox_.drain(inbox_);
  for (auto& m : inbox_) {
    const Turn turn(*this);
    std::visit([this](auto&& message) { on_message(std::forward<decltype(message)>(message)); },
               std::move(m));
  }
  inbox_.clear();
}

void Worker::on_message(NewClient&& m) {
  auto* client =
      clients_.emplace(*this, io::Stream(std::move(m.fd)), std::move(m.peer), std::move(m.entrance));
  if (!client) {
    --shared_.clients;
    return;
  }
  load_.store(clients_.size(), std::memory_order_relaxed);
  if (stopping_ == StopStep::Cut || !client->start()) return dispose(*client);
}

void Worker::on_message(GiveServer&& m) {
  if (!m.server->watch_on(*this)) {
    close(std::move(m.server), true);
    return tell_error(
        m.session, {pool::OpenFailure::NotReady, "53000", "sidepool is out of memory or file descriptors"});
  }
  if (m.server->pool) counters(*m.server->pool).handovers.add();
  give(std::move(m.server), m.session);
}

void Worker::on_message(BrokerOrder&& m) {
  pool::Orders one;
  one.list.push_back(m.order);
  carry_out(*shared_.upstreams[m.upstream], one);
}

void Worker::on_message(PollBroker&& m) { arm_poll(m.upstream, m.when); }

void Worker::on_message(InstanceInfo&& m) {
  const auto at = route_requests_.find(m.request);
  if (at == route_requests_.end()) return;
  at->second->answered(std::move(m.answer));
}

void Worker::on_message(WaiterError&& m) { tell_error(m.session, m.error); }

void Worker::on_message(ConfigChanged&& m) {
  const auto old = std::exchange(config_, std::move(m.config));
  use_config();
  clients_.for_each([](auto, Client& c) { c.on_config(); });
  if (number_ != 0) return;  // the brokers are everybody's
  for (auto& local : upstreams_) {
    pool::Orders out;
    local.shared->apply_limits(local.conf->pool, steady_now(), out);
    if (servers_differ(*old, *local.conf)) retire_servers(*local.shared, out);
    carry_out(*local.shared, out);
  }
}

void Worker::on_message(RetireServers&& m) {
  auto& up = *upstreams_[m.upstream].shared;
  pool::Orders out;
  retire_servers(up, out);
  carry_out(up, out);
}

void Worker::retire_servers(Upstream& up, pool::Orders& out) {
  ++up.destination;
  for (const auto& p : up.pools()) up.broker.retire_servers(p->id, steady_now(), out);
}

void Worker::on_message(Stop&& m) {
  stopping_ = m.step;
  std::vector<pool::SessionId> all;
  clients_.for_each([&all](auto, Client& c) { all.push_back(c.id()); });
  for (const auto id : all) {
    if (auto* c = find(id)) c->on_stop(m.step);
  }
  close_idle_servers();
  if (m.step != StopStep::Cut) return;
  std::vector<Opener*> open;
  for (auto& o : openers_) open.push_back(o.get());
  for (auto* o : open) o->give_up();
}

void Worker::close_idle_servers() {
  std::vector<pool::ServerId> ids;
  for (const auto& [id, server] : idle_) ids.push_back(id);
  for (const auto id : ids) {
    if (auto server = take_idle(id)) idle_died(std::move(server));
  }
}

// The loop ends when nothing of this worker is left.
void Worker::check_finished() {
  if (stopping_ != StopStep::Cut || clients_.size() > 0 || !idle_.empty() || !closing_.empty() ||
      !openers_.empty() || !cancels_.empty()) {
    return;
  }
  loop_->stop();
}

Client* Worker::find(pool::SessionId s) noexcept {
  if (static_cast<std::uint16_t>(s.worker) != number_) return nullptr;
  return clients_.find({s.slot, s.generation});
}

void Worker::dispose(Client& client) { disposed_.push_back(client.key()); }
void Worker::bury(std::unique_ptr<Login> login) { buried_.push_back(std::move(login)); }
void Worker::opener_done(Opener& o) { openers_done_.push_back(&o); }
void Worker::cancel_done(CancelConnection& c) { cancels_done_.push_back(&c); }

const conf::User* Worker::configured_user(std::string_view user, std::string_view upstream) const {
  const conf::User* found = nullptr;  // an entry of this upstream's own wins
  for (const auto& u : config_->users) {
    if (u.name == user && (u.upstream == upstream || (u.upstream.empty() && !found))) found = &u;
  }
  return found;
}

void Worker::do_later(const Later& l) {
  auto* client = find(l.session);
  if (!client) return;
  switch (l.what) {
    case Later::What::Refuse:
      return client->on_refused_by_broker();
    case Later::What::ClientGone:
      return client->hang_up();
    case Later::What::UpstreamError:
      return client->on_upstream_error(l.error);
    case Later::What::CancelFailed:
      return client->on_cancel_done(true);
    case Later::What::CancelDone:
      return client->on_cancel_done(false);
  }
}

// Everything that could not be done while something was at work further up the stack.
void Worker::settle() {
  const auto pending = [this] {
    return !granted_.empty() || !later_.empty() || !client_orders_.empty() || !closed_.empty() ||
           !disposed_.empty() || !buried_.empty() || !openers_done_.empty() || !cancels_done_.empty();
  };
  if (!pending()) return check_finished();
  ++depth_;
  do {
    granting_.swap(granted_);
    for (auto& g : granting_) {
      if (auto* client = find(g.session)) {
        client->on_granted(std::move(g.server));
      } else {
        release(std::move(g.server), pool::Condition::Clean, 0);
      }
    }
    granting_.clear();
    for (const auto& l : std::exchange(later_, {})) do_later(l);
    for (const auto& [upstream, order] : std::exchange(client_orders_, {}))
      std::visit([&up = *upstream, this](const auto& o) { deliver(up, o); }, order);
    if (!granted_.empty() || !later_.empty() || !client_orders_.empty()) continue;
    for (const auto id : std::exchange(closed_, {})) closing_.erase(id);
    for (auto* o : std::exchange(openers_done_, {})) {
      openers_.remove_if([o](const auto& p) { return p.get() == o; });
    }
    for (auto* c : std::exchange(cancels_done_, {})) {
      auto& up = c->upstream();
      cancels_.remove_if([c](const auto& p) { return p.get() == c; });
      pass_cancel_turn(up);
    }
    std::exchange(buried_, {}).clear();
    for (const auto key : std::exchange(disposed_, {})) {
      if (!clients_.find(key)) continue;
      clients_.erase(key);
      --shared_.clients;
    }
  } while (pending());
  --depth_;
  load_.store(clients_.size(), std::memory_order_relaxed);
  check_finished();
}

std::uint64_t Worker::await_route(RouteRequest& request) {
  route_requests_[++last_request_] = &request;
  return last_request_;
}

}  // namespace sidepool::worker
