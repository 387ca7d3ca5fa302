// src/upstream/dialer_targets.cpp -- which address is next, how long it may take, and what the ones before it
// said.
#include <algorithm>
#include <utility>

#include "src/upstream/dialer.h"

namespace sidepool::upstream {

Dialer::Step Dialer::next_endpoint() noexcept {
  const Endpoint& e = route_.endpoints[endpoint_];
  phase_began_ = steady_now();
  addresses_.clear();
  address_ = 0;
  const bool name = !Resolution::without_lookup(e).has_value();
  proxied_ = route_.proxy && !e.is_unix() && !(name && !route_.otherwise.empty()) &&
             !route_.proxy->bypassed_by(e.address.empty() ? e.host : e.address);
  if (proxied_) any_address_ = true;
  return look_up(proxied_ ? route_.proxy->server() : e);
}

Dialer::Step Dialer::look_up(const Endpoint& e) noexcept {
  if (auto known = Resolution::without_lookup(e)) {
    if (!*known) return unresolved(std::move(known->error()));
    any_address_ = true;
    addresses_ = std::move(**known);
    return Step::NextAddress;
  }
  const auto started =
      resolution_.start(resolver_, loop_, e, this, [](void* self, Result<Addresses> found) noexcept {
        static_cast<Dialer*>(self)->on_resolved(std::move(found));
      });
  if (!started) return unresolved(started.error());
  step_deadline_ = loop_.now() + share();
  arm_timer();
  return Step::Resolving;
}

void Dialer::on_resolved(Result<Addresses> found) noexcept {
  timings_.resolve += micros(steady_now() - phase_began_);
  if (!found) {
    step_ = unresolved(std::move(found.error()));
  } else if (route_.proxy && !proxied_) {
    // Each address for itself: the proxy may be for some of them only.
    auto& all = route_.endpoints;
    const Endpoint name = all[endpoint_];
    any_address_ = true;
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(endpoint_));
    auto at = all.begin() + static_cast<std::ptrdiff_t>(endpoint_);
    for (const auto& a : *found) at = all.insert(at, {name.host, name.port, a.host()}) + 1;
    step_ = Step::NextEndpoint;
  } else {
    any_address_ = true;
    addresses_ = std::move(*found);
    step_ = Step::NextAddress;
  }
  advance();
}

Dialer::Step Dialer::unresolved(Error error) noexcept {
  remember(Phase::Resolve, std::move(error));
  ++endpoint_;
  return Step::NextEndpoint;
}

// Of the time that is left, as if each of the others needed as much.
Duration Dialer::share() const noexcept {
  const std::size_t addresses = std::max<std::size_t>(addresses_.size() - address_, 1);
  std::size_t all = addresses + route_.endpoints.size() - endpoint_ - 1;
  if (!any_address_) all += route_.otherwise.size();
  const Duration left = std::max(deadline_ - loop_.now(), Duration::zero());
  return all > 1 ? std::min(route_.address_timeout, left / static_cast<Duration::rep>(all)) : left;
}

// "10.1.2.3:3307 (the private IP address of p:r:i)"; with the name that it was found by.
std::string Dialer::target_text() const {
  const Endpoint& e = route_.endpoints[endpoint_];
  const auto about = [this](const std::string& text) {
    return route_.kind.empty() ? text : text + " (" + route_.kind + ")";
  };
  if (proxied_) {
    const std::string target = e.address.empty() ? e.text() : Endpoint{e.address, e.port}.text();
    return about(target) + " through the proxy " + route_.proxy->server().text();
  }
  return about(addresses_[address_].text());
}

Dialer::Step Dialer::address_failed(Error error) noexcept {
  watch_.stop();
  stream_.close();
  socks_.reset();
  // The name may point elsewhere by now, as after a failover.
  resolver_.forget(proxied_ ? route_.proxy->server() : route_.endpoints[endpoint_]);
  remember(Phase::Connect, std::move(error));
  ++address_;
  return Step::NextAddress;
}

// One text for all of them, in order, of bounded length.
void Dialer::remember(Phase phase, Error error) noexcept {
  constexpr std::size_t kMostText = 600;
  std::size_t more = 0;
  if (trouble_) {
    more = trouble_->more;
    if (trouble_->error.what.size() + error.what.size() <= kMostText) {
      error.what = trouble_->error.what + "; " + error.what;
    } else {
      ++more;
    }
  }
  trouble_ = Trouble{phase, std::move(error), more};
}

}  // namespace sidepool::upstream
