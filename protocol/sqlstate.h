// protocol/sqlstate.h -- the SQLSTATEs of errors that we raise ourselves (PostgreSQL manual, appendix A), and
// when. Errors of a server are forwarded with the server's own code.
#pragma once
#include <string_view>

namespace sidepool::protocol::sqlstate {

inline constexpr std::string_view kSuccess = "00000";  // notices
// Class 08, connections.
inline constexpr std::string_view kCannotConnect = "08001";           // no server could be reached or opened
inline constexpr std::string_view kConnectionDoesNotExist = "08003";  // the server of a pinned client is gone
inline constexpr std::string_view kConnectionFailure = "08006";       // the server was lost with work on it
inline constexpr std::string_view kProtocolViolation = "08P01";       // bytes that no client may send
inline constexpr std::string_view kFeatureNotSupported =
    "0A000";  // valid, but not offered (other protocol versions)
// Class 22 and 25, values and transactions.
inline constexpr std::string_view kInvalidParameterValue = "22023";  // a startup parameter or option
inline constexpr std::string_view kInFailedTransaction =
    "25P02";  // an invented failed transaction (product.md §6)
inline constexpr std::string_view kIdleInTransactionTimeout = "25P03";  // the limit of that name
inline constexpr std::string_view kTransactionTimeout = "25P04";        // the limit of that name
// Class 26, 34, 3D and 42, names.
inline constexpr std::string_view kInvalidStatementName =
    "26000";                                                     // Bind, Describe: no such prepared statement
inline constexpr std::string_view kInvalidCursorName = "34000";  // Execute, Describe: no such portal
inline constexpr std::string_view kInvalidCatalogName = "3D000";     // no such database
inline constexpr std::string_view kSyntaxError = "42601";            // a startup option without a value
inline constexpr std::string_view kInsufficientPrivilege = "42501";  // console without the right
inline constexpr std::string_view kDuplicateStatement = "42P05";     // Parse of a name that exists
// Class 28, who you are.
inline constexpr std::string_view kInvalidAuthorization =
    "28000";  // no user name, login not allowed here, IAM refused
inline constexpr std::string_view kInvalidPassword = "28P01";  // wrong password
// Class 53, limits of ours; the message names the limit.
inline constexpr std::string_view kOutOfMemory = "53200";  // statement memory
inline constexpr std::string_view kTooManyConnections =
    "53300";  // max_client_conn, max_pools, query_wait_timeout
// Class 57, operators.
inline constexpr std::string_view kQueryCanceled = "57014";       // cancelled while it waited for a server
inline constexpr std::string_view kAdminShutdown = "57P01";       // drain, KILL, removed by a reload
inline constexpr std::string_view kCannotConnectNow = "57P03";    // starting, paused or disabled
inline constexpr std::string_view kIdleSessionTimeout = "57P05";  // client_idle_timeout
// Configuration and our own faults.
inline constexpr std::string_view kConfigFileError =
    "F0000";  // the operator's settings make this login impossible
inline constexpr std::string_view kInternalError = "XX000";  // a broken promise of our own

}  // namespace sidepool::protocol::sqlstate
