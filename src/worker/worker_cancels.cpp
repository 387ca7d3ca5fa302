// src/worker/worker_cancels.cpp -- CancelRequests on a worker: whose they are, and the turns of those that
// are sent.
#include <algorithm>

#include "src/base/log.h"
#include "src/worker/cancel.h"
#include "src/worker/client.h"

namespace sidepool::worker {

namespace {
// A wrong cancel key costs its sender a connection for this long once there are too many of them.
constexpr Duration kGuessCosts = std::chrono::seconds(1);
constexpr std::size_t kMostGuesses = 64;
}  // namespace

void Worker::on_message(CancelRequested&& m) {
  --shared_.clients;
  const auto slot = m.pid & ((1U << CancelKey::kSlotBits) - 1);
  auto* client = clients_.find_slot(slot);
  if (!client || !client->matches(m.key)) return wrong_key(std::move(m.stream));
  client->on_cancel_request(std::move(m.stream));
}

// Only mismatches are limited: a right key is never delayed (product.md §5, Cancel).
void Worker::wrong_key(io::Stream guesser) {
  static log::Limiter limiter(std::chrono::seconds(60));
  if (const auto n = limiter.pass(steady_now())) {
    log::warn("cancel request with a wrong key", {{"left_out", *n}});
  }
  const auto now = loop_->now();
  if (now - mismatch_second_ >= std::chrono::seconds(1)) mismatch_second_ = now, mismatches_ = 0;
  if (++mismatches_ <= config_->server.cancel_mismatch_rate) return;
  if (guesses_.size() >= kMostGuesses) guesses_.pop_front();
  guesses_.push_back({std::move(guesser), now + kGuessCosts});
  if (!guess_timer_.armed()) loop_->arm(guess_timer_, guesses_.front().until);
}

void Worker::let_guesses_go() noexcept {
  while (!guesses_.empty() && guesses_.front().until <= loop_->now()) guesses_.pop_front();
  if (!guesses_.empty()) loop_->arm(guess_timer_, guesses_.front().until);
}

void Worker::route_cancel(CancelRequested request) {
  const auto worker = request.pid >> CancelKey::kSlotBits & ((1U << CancelKey::kWorkerBits) - 1);
  const bool ours = (request.pid & CancelKey::kMark) != 0 && worker < shared_.workers.size();
  if (!ours) return;
  ++shared_.clients;  // on its way between two workers it is a socket like any other
  shared_.workers[worker]->post(std::move(request));
}

void Worker::cancel(const Server& server, std::optional<pool::SessionId> session, io::Stream requester) {
  if (server.cancel_key.empty()) {
    if (session) cancel_over(*session, false);
    return;
  }
  cancels_.push_back(std::make_unique<CancelConnection>(*this, server, session, std::move(requester)));
  cancels_.back()->start();
}

void Worker::on_message(CancelTurn&& m) {
  auto& up = *shared_.upstreams[m.upstream];
  for (auto& c : cancels_) {
    if (&c->upstream() == &up && c->waiting()) return c->on_turn();
  }
  pass_cancel_turn(up);
}

void Worker::pass_cancel_turn(Upstream& up) {
  const auto next = up.cancels.leave(local(up).conf->pool.max_cancels);
  if (next) shared_.workers[*next]->post(CancelTurn{up.index});
}

bool Worker::waits_for_cancel(pool::ServerId server) const noexcept {
  return std::any_of(cancels_.begin(), cancels_.end(),
                     [server](const auto& c) { return c->server() == server; });
}

void Worker::cancel_over(pool::SessionId session, bool server_unfit) {
  later_.push_back({server_unfit ? Later::What::CancelFailed : Later::What::CancelDone, session, {}});
}

}  // namespace sidepool::worker
