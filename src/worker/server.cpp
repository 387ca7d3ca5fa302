// src/worker/server.cpp -- see server.h.
#include "src/worker/server.h"

#include "src/worker/worker.h"

namespace sidepool::worker {

namespace {
void on_event(void* self, int events) noexcept {
  auto& s = *static_cast<Server*>(self);
  if (s.user) return s.user->on_server_event(s, events);
  s.worker->on_idle_or_closing_event(s, events);
}
}  // namespace

bool Server::watch_on(Worker& w) {
  worker = &w;
  out.rehome(w.chunks());
  if (watch.start(w.loop().uv(), stream.fd(), this, &on_event) != 0) return false;
  return watch.arm(UV_READABLE) == 0;
}

void Server::on_timer(TimerNode& node) noexcept {
  auto& s = owner_of<&Server::timer>(node);
  s.worker->on_close_timeout(s);
}

}  // namespace sidepool::worker
