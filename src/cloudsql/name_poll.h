// cloudsql/name_poll.h -- when a DNS name is asked about again, and which answer counts. Pure.
#pragma once
#include <chrono>
#include <optional>

#include "src/cloudsql/name_lookup.h"
#include "src/cloudsql/refresh.h"

namespace sidepool::cloudsql {

// One name. An answer is used for its time-to-live, at least 5 s and at most the 30 s after which the Auth
// Proxy asks. Another target counts when two successful lookups in a row, 5 s apart, have told of it: one
// resolver that is behind, or a view that is wrong for a moment, moves nobody. A lookup that fails changes
// nothing.
class NamePoll {
 public:
  NamePoll(NameAnswer current, BootTime now);

  BootTime due() const noexcept { return due_; }
  // What the name stands for from now on, if that has changed.
  std::optional<NameAnswer> answered(NameAnswer answer, BootTime now);
  void failed(BootTime now) noexcept;

 private:
  void use(std::chrono::seconds ttl, BootTime now) noexcept;

  NameAnswer current_;
  std::optional<NameAnswer> candidate_;  // another one, told once
  BootTime due_{0};
};

}  // namespace sidepool::cloudsql
