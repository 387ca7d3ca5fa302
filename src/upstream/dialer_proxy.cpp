// src/upstream/dialer_proxy.cpp -- the part of a dial that is a talk with a SOCKS proxy.
#include <array>
#include <utility>

#include "src/upstream/dialer.h"

namespace sidepool::upstream {

using io::Io;

std::optional<Dialer::Step> Dialer::begin_socks() noexcept {
  const Endpoint& e = route_.endpoints[endpoint_];
  socks_.emplace(e.address.empty() ? e.host : e.address, e.port, route_.proxy->user(),
                 route_.proxy->password());
  return Step::Socks;
}

std::optional<Dialer::Step> Dialer::socks() noexcept {
  const auto broken = [this](const std::string& why) {
    return address_failed(
        {Errc::Io, stream_.error(), "cannot connect to " + target_text() + ": " + why, "proxy"});
  };
  for (;;) {
    if (socks_->state() == Socks5::State::Failed) return broken(socks_->failure());
    if (socks_->state() == Socks5::State::Done) {
      socks_.reset();
      return connected_tcp();
    }
    if (!socks_->output().empty()) {
      const auto r = stream_.write(socks_->output());
      socks_->wrote(r.n);
      if (r.status == Io::Done) continue;
      if (r.status == Io::WantWrite && wait_for(UV_WRITABLE)) return std::nullopt;
      return broken("the connection to the proxy broke: " + stream_.error_text());
    }
    std::array<std::uint8_t, 257> buffer;  // the longest that it wants
    const auto r = stream_.read(std::span(buffer).first(socks_->wants()));
    if (r.status == Io::WantRead && wait_for(UV_READABLE)) return std::nullopt;
    if (r.status == Io::Closed) return broken("the proxy closed the connection");
    if (r.status != Io::Done) return broken("the connection to the proxy broke: " + stream_.error_text());
    socks_->feed(std::span(buffer).first(r.n));
  }
}

}  // namespace sidepool::upstream
