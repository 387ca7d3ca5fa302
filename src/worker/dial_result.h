// src/worker/dial_result.h -- what a finished connection attempt means for servers, clients, log and metrics.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "protocol/encode.h"
#include "protocol/login.h"
#include "src/upstream/attempt.h"
#include "src/upstream/connector.h"
#include "src/worker/server.h"
#include "src/worker/upstream.h"

namespace sidepool::worker {

// The operator has this parameter of clients dropped (ignore_startup_parameters).
bool ignores(const conf::PoolConfig& conf, std::string_view parameter);
// The startup packet of our own servers: the operator's parameters, and for a sub-pool exactly one set of
// clients (product.md §5, Startup parameters).
protocol::LoginParameters login_parameters(std::string_view database, std::string_view user,
                                           const conf::PoolConfig& conf, const pool::Settings& set = nullptr);
// A server out of a successful login; not watched yet. `startup`: of its sub-pool.
std::unique_ptr<Server> make_server(pool::ServerId id, Upstream& upstream, PoolRef pool,
                                    upstream::Ready ready, std::uint64_t startup = 0);

// `waited`: for the way, in front of the dial.
void note_dial(Upstream& upstream, const upstream::Timings& timings, Duration waited);
// Also tells the Cloud SQL side, which may have to fetch addresses or a certificate anew. What failed at the
// login only was a dial all the same.
void note_dial_failure(Upstream& upstream, const upstream::Failure& failure, std::uint64_t epoch,
                       Duration waited);
// An error that repeats is logged once a minute with a count, its remedy once.
void log_upstream_error(Upstream& upstream, const Error& error);

// What a client is told of a failed attempt. It need not have logged in, so addresses, host names and files
// stay in the log; Google's own words and what may help are told (product.md §6: SQLSTATE, reason, remedy).
struct ClientError {
  std::string_view sqlstate;
  std::string message;
  std::string detail;
  std::string_view hint;
  protocol::ErrorFields fields() const { return {"FATAL", sqlstate, message, detail, hint}; }
};
ClientError for_client(const Error& error);
// Error::reason where the database refuses the password of a [[user]] entry.
inline constexpr const char* kUserPassword = "user_password";
std::string_view remedy(const Error& error) noexcept;
// An ErrorResponse with this body, as the server sent it; `hint` is added if it has none.
void raw_error(protocol::Buffer& out, protocol::Bytes body, std::string_view hint = {});

}  // namespace sidepool::worker
