// src/worker/principal_hint.cpp -- see principal_hint.h.
#include "src/worker/principal_hint.h"

#include "src/base/log.h"
#include "src/cloudsql/principal.h"

namespace sidepool::worker {

namespace {

bool looks_like_iam(std::string_view user) { return user.find('@') != std::string_view::npos; }

// Empty unless this upstream's servers are IAM logins.
std::string principal_of(const Upstream& upstream) {
  if (!upstream.is_cloudsql() || !upstream.instance_key().iam) return {};
  return upstream.cloudsql()->principal();
}

}  // namespace

std::string principal_hint(std::string_view principal, std::string_view user, std::string_view sqlstate) {
  // Class 28, invalid authorization: the manual's appendix A.
  if (principal.empty() || !looks_like_iam(user) || !sqlstate.starts_with("28")) return {};
  const std::string role = cloudsql::role_name(principal);
  std::string out;
  if (role != user) {
    out = "The IAM principal here is \"";
    out += principal;
    out += "\": log in as \"" + role + "\".";
    return out;
  }
  out = "Give \"";
  out += principal;
  out +=
      "\" the role roles/cloudsql.instanceUser and an IAM user of the instance, and set the instance's flag "
      "cloudsql.iam_authentication=on.";
  return out;
}

std::string principal_hint(const Upstream& upstream, std::string_view user, protocol::Bytes server_error) {
  const std::string principal = principal_of(upstream);
  if (principal.empty()) return {};
  const auto error = protocol::ErrorView::decode(server_error);
  return error ? principal_hint(principal, user, error->code) : std::string{};
}

void warn_of_foreign_role(const Upstream& upstream, std::string_view user) {
  static log::Limiter limiter(std::chrono::minutes(1));
  if (!looks_like_iam(user)) return;
  const std::string principal = principal_of(upstream);
  if (principal.empty()) return;
  const std::string role = cloudsql::role_name(principal);
  if (role == user) return;
  const auto left_out = limiter.pass(steady_now());
  if (!left_out) return;
  log::warn("a client logs in as an IAM user whose credentials these are not, and is asked for a password",
            {{"upstream", upstream.name},
             {"user", user},
             {"principal", principal},
             {"role", role},
             {"left_out", *left_out}});
}

}  // namespace sidepool::worker
