// src/worker/client_metrics.cpp -- what a client tells the metrics of its pool.
#include "src/base/log.h"
#include "src/worker/client.h"

namespace sidepool::worker {

metrics::PoolCounters& Client::counters() { return worker_.counters(*pool_); }

void Client::count_events() {
  if (session_->events().none()) return;
  const auto e = session_->take_events();
  auto& c = counters();
  if (e.queries) c.queries.add(e.queries);
  if (e.answers && phase_ == pool::Phase::Running) phase_since_ = worker_.loop().now();  // the next one runs
  if (e.transactions) {
    c.transactions.add(e.transactions);
    const auto now = worker_.now();
    c.transaction.observe(now - transaction_since_);
    transaction_since_ = now;  // a pinned client's next one begins no earlier
  }
  if (e.resets) c.resets.add(e.resets);
  if (e.replays) c.replays.add(e.replays);
  if (e.parses) c.prepared.add(e.parses);
  if (e.reparses) c.reparsed.add(e.reparses);
  for (std::size_t bit = 0; e.pins != 0 && bit < pool::kPins; ++bit) {
    if ((e.pins >> bit & 1) == 0) continue;
    c.pins.add(pool::pin_reason(bit));
    if (server_) up_->shared->broker.pin(server_->id);
    log::info("client pinned: it keeps its server until DISCARD ALL or disconnect",
              {{"reason", pool::pin_reason(bit)}, {"database", pool_->database}, {"user", pool_->user}});
  }
}

void Client::show(Shown s) {
  if (s == shown_ || !pool_) return;
  auto& c = counters();
  const auto level = [&c](Shown which) -> metrics::Level* {
    switch (which) {
      case Shown::None:
        return nullptr;
      case Shown::Idle:
        return &c.clients_idle;
      case Shown::Waiting:
        return &c.clients_waiting;
      case Shown::Active:
        return &c.clients_active;
    }
    return nullptr;
  };
  if (auto* l = level(shown_)) l->down();
  if (auto* l = level(s)) l->up();
  shown_ = s;
}

void Client::note_phase(pool::Phase now) {
  using pool::Phase;
  if (now != phase_) {
    const auto busy = [](Phase p) { return p == Phase::Running || p == Phase::IdleInTransaction; };
    if (now == Phase::Running) query_since_ = worker_.now();
    if (phase_ == Phase::Running) counters().query.observe(worker_.now() - query_since_);
    if (busy(now) && !busy(phase_)) transaction_since_ = worker_.now();
    if (!busy(now) && now != Phase::Draining) wrote_ = false;
    if (busy(now) != in_transaction_) {
      in_transaction_ = busy(now);
      worker_.open_transactions().up(in_transaction_ ? 1 : -1);
    }
    phase_ = now;
    phase_since_ = worker_.loop().now();
  }
  show(now == Phase::Idle      ? Shown::Idle
       : now == Phase::Waiting ? Shown::Waiting
       : now == Phase::Closed  ? Shown::None
                               : Shown::Active);
}

}  // namespace sidepool::worker
