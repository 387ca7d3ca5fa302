// pool/server_state.h -- what is known of one server's session: the state that decides who may use it next.
// Owned by whoever owns the server at the moment; moves between workers with it.
#pragma once
#include <cstdint>

#include "pool/exchange.h"
#include "pool/ids.h"
#include "pool/settings.h"
#include "pool/statements.h"

namespace sidepool::pool {

// What must run before another client may use a server (product.md §5, Cleaning). Ordered: the larger
// includes the smaller.
enum class CleanUp : std::uint8_t {
  None,        // nobody has used it since it was opened or cleaned
  Parameters,  // settings and what functions may have left; not our prepared statements
  Everything,  // DISCARD ALL: a pinned client may have left locks, temporary objects, cursors …
  Impossible,  // no command cleans it: it has to be closed
};

struct ServerState {
  Settings base;  // what it reported after login, kept up to date when the server's own defaults change
  // What its client has as its own: the reported values, the replayed ones, and those which it has from the
  // server as they are.
  Settings applied;
  Settings cleaned;  // while a clean-up is under way: what `applied` was, less what has been reported since
  CleanUp clean_up = CleanUp::None;
  std::uint32_t backend_pid = 0;

  // Whose state `applied` is: the same client finds its own again without a replay.
  SessionId last_session{};
  std::uint32_t last_version = 0;

  // Whose text the unnamed statement is; a zero sequence: nobody's.
  SessionId unnamed_session{};
  std::uint32_t unnamed_sequence = 0;

  // PostgreSQL reports at login nearly all that it will ever report, an extension may add a few. Whoever
  // shares the server copies and compares them, so one that invents parameters without end is not used.
  static constexpr std::uint32_t kMaxLateParameters = 64;
  static constexpr std::size_t kMaxParameterValue = 65536;
  std::uint32_t late_parameters = 0;

  // Whether a ParameterStatus is acceptable. False: the server is not to be used any more.
  bool may_report(std::string_view name, std::string_view value) noexcept {
    if (value.size() > kMaxParameterValue) return false;
    return find(base, name) || find(applied, name) || ++late_parameters <= kMaxLateParameters;
  }

  Exchange exchange;  // with the session that has it
  ServerStatements statements;
  bool replay_prepared = false;  // our replay statement exists on it

  bool has_our_statements() const noexcept { return replay_prepared || statements.size() != 0; }
  bool used_by(SessionId s, std::uint32_t version) const noexcept {
    return last_session == s && last_version == version;
  }
  void require(CleanUp c) noexcept {
    if (clean_up < c) clean_up = c;
  }
};

}  // namespace sidepool::pool
