// protocol/sql_effects.cpp -- names of effects.
#include "protocol/sql_effects.h"

#include <bit>
#include <iterator>

namespace sidepool::protocol {
namespace {

constexpr std::string_view kNames[] = {
    "set_session",
    "set_local",
    "set_transaction",
    "set_other",
    "set_role",
    "set_session_authorization",
    "reset",
    "reset_all",
    "set_config_call",
    "prepare",
    "execute",
    "deallocate",
    "deallocate_all",
    "prepared_statements_view",
    "discard_all",
    "discard_temp",
    "discard_plans",
    "discard_sequences",
    "listen",
    "unlisten",
    "declare_hold",
    "cursors_view",
    "load",
    "temp_object",
    "temp_on_commit_drop",
    "advisory_lock",
    "advisory_unlock",
    "sequence_session",
    "sequence_touch",
    "dblink",
    "setseed",
    "replication_slot",
    "replication_origin",
    "backup",
    "backend_pid",
    "listening_view",
    "copy",
    "do_or_call",
    "ddl",
    "routine_ddl",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "two_phase",
    "local_default",
    "runs_behind_reset",
    "backslash_in_string",
    "unsure",
};
static_assert(std::size(kNames) == std::bit_width(static_cast<std::uint64_t>(Effect::Unsure)));

}  // namespace

std::string_view to_string(Effect e) noexcept {
  const auto i = static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(e)));
  return i < std::size(kNames) ? kNames[i] : std::string_view("?");
}

}  // namespace sidepool::protocol
