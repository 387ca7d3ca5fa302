// cloudsql/name_poll.cpp -- see the header.
#include "src/cloudsql/name_poll.h"

#include <algorithm>
#include <utility>

namespace sidepool::cloudsql {
namespace {
constexpr std::chrono::seconds kLeast{5}, kMost{30};
}

NamePoll::NamePoll(NameAnswer current, BootTime now) : current_(std::move(current)) {
  use(current_.ttl, now);
}

void NamePoll::use(std::chrono::seconds ttl, BootTime now) noexcept {
  candidate_.reset();
  due_ = now + std::clamp(ttl, kLeast, kMost);
}

std::optional<NameAnswer> NamePoll::answered(NameAnswer answer, BootTime now) {
  if (answer.same(current_)) {
    use(answer.ttl, now);
    return std::nullopt;
  }
  if (!candidate_ || !candidate_->same(answer)) {
    candidate_ = std::move(answer);
    due_ = now + kLeast;
    return std::nullopt;
  }
  current_ = std::move(answer);
  use(current_.ttl, now);
  return current_;
}

void NamePoll::failed(BootTime now) noexcept { due_ = now + (candidate_ ? kLeast : kMost); }

}  // namespace sidepool::cloudsql
