// src/worker/client_cancel.cpp -- cancel requests for what a client has running (product.md §5, Cancel).
#include "src/worker/client.h"
#include "src/worker/pass_through.h"

namespace sidepool::worker {

namespace {
constexpr protocol::ErrorFields kCancelledWaiting{
    "ERROR", "57014", "canceling statement due to user request", {}, {}};
}

void Client::on_cancel_request(io::Stream requester) {
  if (pass_) return pass_->cancel(std::move(requester));
  if (!session_ || gone_) return;
  if (server_ && session_->setting_up()) {  // it would meet that; a second one means the same
    if (!held_cancel_) held_cancel_ = std::make_unique<io::Stream>(std::move(requester));
    return;
  }
  if (server_) {
    session_->on_cancel_begun();
    counters().cancels.add();
    return worker_.cancel(*server_, id(), std::move(requester));
  }
  if (session_->phase() != pool::Phase::Waiting || !queued()) return;
  if (!leave_queue()) return;  // a server is on its way; too late, as it can be on a direct connection
  refuse(kCancelledWaiting);
  after();
}

// At the end of an event: what was ours may be over by now, or the server gone with it.
void Client::pass_on_held_cancel() {
  if (session_ && session_->setting_up()) return;
  const auto requester = std::move(held_cancel_);
  on_cancel_request(std::move(*requester));
}

void Client::on_cancel_done(bool server_unfit) {
  if (!session_) return;
  auto& actions = worker_.actions();
  actions.clear();
  session_->on_cancel_done(server_unfit, actions);
  run(actions);
  offer_held();
  after();
}

// A server at work on what nobody waits for any more. It keeps its slot, and this client, until that has
// ended.
void Client::cancel_running() {
  if (!server_ || !session_ || session_->phase() != pool::Phase::Draining) return;
  cancel_sent_ = true;
  session_->on_cancel_begun();
  worker_.cancel(*server_, id(), io::Stream{});
}

}  // namespace sidepool::worker
